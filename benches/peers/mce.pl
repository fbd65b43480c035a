#!/usr/bin/env perl
# MCE with two workers and results in order: mce.pl CHUNKSIZE < jobs > results
use strict;
use warnings;

use MCE::Loop;
use MCE::Candy; # wants MCE to be there before it

MCE::Loop->init(
    max_workers => 2,
    chunk_size  => shift,
    gather      => MCE::Candy::out_iter_fh(\*STDOUT),
);

# The lines are taken apart without a JSON parser: that of Perl's core is slower than all the rest.
mce_loop_f {
    my ($mce, $lines, $chunk_id) = @_;
    my $out = '';
    for (@$lines) {
        /^\{"cmd":"double","args":\[(-?\d+)\]\}$/ or die "not a job: $_";
        $out .= 2 * $1 . "\n";
    }
    MCE->gather($chunk_id, $out);
} \*STDIN;
MCE::Loop->finish;
