#!/usr/bin/env perl
# A worker for procpool. Save it as worker.pl and try it:
#
#     printf 'greet ["Ada"]\ngreet ["Grace"]\n' | procpool --worker 'perl worker.pl'
use strict;
use warnings;

use JSON::PP;

$| = 1;    # Each reply is written at once.

# What takes long to load or to open is loaded here, once: modules, models, connections.

# The cmd of a job, and its function.
my %commands = (
    greet => sub {
        my ($name) = @_;
        return "hello, $name";
    },
);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

while (my $line = <STDIN>) {    # It ends when procpool closes stdin.
    my $request = $json->decode($line);
    my $reply   = { id => $request->{id} };
    my $done    = eval {
        my $function = $commands{ $request->{cmd} } or die "there is no command '$request->{cmd}'\n";
        my $args = $request->{args};    # a reference to a hash, as with --header, if they have names
        $reply->{result} = $function->(ref $args eq 'ARRAY' ? @$args : $args);
        1;
    };
    chomp($reply->{error} = "$@") if !$done;    # This job fails, and the worker goes on.

    # stdout is for replies. Print everything else to STDERR.
    print $json->encode($reply), "\n";
}
