#!/usr/bin/env perl
# The worker of handler.py in Perl: core modules only.
#
#     procpool --worker examples/handler.pl < examples/jobs.jsonl
use strict;
use warnings;

use Digest::SHA;
use Encode ();
use JSON::PP;

$| = 1;    # flush after each print, or procpool waits for ever

my $json = JSON::PP->new->utf8->canonical;

my %commands = (
    count => sub {
        my ($file) = @_;
        my ($lines, $words, $bytes) = (0, 0, 0);
        while (my $line = <$file>) {
            $lines++ if $line =~ /\n\z/;
            $words++ while $line =~ /[^ \t\n\r\f\x0b]+/g;
            $bytes += length $line;
        }
        return { lines => $lines, words => $words, bytes => $bytes };
    },
    hash => sub {
        my ($file) = @_;
        return Digest::SHA->new(256)->addfile($file)->hexdigest;
    },
    longest => sub {
        my ($file) = @_;
        my ($number, $longest) = (0, '');
        while (my $line = <$file>) {
            chomp $line;
            ($number, $longest) = ($., $line) if $. == 1 || length $line > length $longest;
        }
        return { line => $number, text => Encode::decode('UTF-8', $longest) };
    },
);

sub run {
    my ($cmd, $args) = @_;
    my $function = $commands{$cmd}
        or die "unknown command '$cmd', expected one of: @{[join ', ', sort keys %commands]}\n";
    my $path = ref $args eq 'ARRAY' ? $args->[0] : undef;
    die qq{$cmd needs a path, as in $cmd ["a.txt"]\n} if !defined $path || ref $path;

    # JSON strings are characters, file names and contents are bytes.
    open my $file, '<:raw', Encode::encode('UTF-8', $path) or die "$path: $!\n";
    die "$path is a directory\n" if -d $file;
    return $function->($file);
}

while (my $line = <STDIN>) {    # ends when stdin does
    my $request = $json->decode($line);
    my $reply   = { id => $request->{id} };
    if (!eval { $reply->{result} = run($request->{cmd}, $request->{args}); 1 }) {
        chomp($reply->{error} = $@);    # this job failed; the worker goes on
    }
    print $json->encode($reply), "\n";
}
