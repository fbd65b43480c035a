# prove worker.t: each test starts the worker as a process, as procpool does.
use strict;
use warnings;
use utf8;
use File::Basename ();
use File::Temp ();
use IPC::Open3;
use IO::Select;
use JSON::PP;
use Symbol 'gensym';
use Test::More;

my $source = do {
    open my $file, '<', File::Basename::dirname(__FILE__) . '/../../src/interpreter/worker.pl' or die $!;
    local $/;
    <$file>;
};
binmode Test::More->builder->$_, ':utf8' for qw(output failure_output);
my $json     = JSON::PP->new->canonical->allow_nonref;
my $deadline = 30;
alarm 5 * $deadline;

sub start {
    utf8::encode($_) for my @arguments = @_;
    # Who runs the tests may have it ignored.
    local $SIG{INT} = 'DEFAULT';
    my $pid = open3(my $in, my $out, my $err = gensym, 'perl', '-e', $source, '--', @arguments);
    $in->autoflush;
    return { pid => $pid, in => $in, out => $out, err => $err };
}

sub request {
    my ($args, $cmd) = @_;
    return JSON::PP->new->utf8->encode({ id => 1, cmd => $cmd // '', args => $args }) . "\n";
}

# One with the keys in procpool's order.
sub simple { return map {qq({"id":1,"cmd":"","args":["$_"]}\n)} @_ }

# Small requests fit into the pipe; the large one is the only one.
sub talk {
    my ($arguments, @lines) = @_;
    my $worker = start(@$arguments);
    local $SIG{PIPE} = 'IGNORE';
    print { $worker->{in} } @lines;
    close $worker->{in};
    local $/;
    my ($out, $err) = map { scalar readline($_) // '' } @$worker{qw(out err)};
    waitpid $worker->{pid}, 0;
    my $status = $?;
    utf8::decode($out);
    utf8::decode($err);
    return $out, $err, $status;
}

sub run {
    my ($out, $err, $status) = talk(@_);
    return [ map { $json->decode($_) } split /\n/, $out ], $err, $status;
}

sub results {
    my ($code, $setups, @lines) = @_;
    my ($replies, $err, $status) = run([ 'expression', $code, @$setups ], @lines);
    is($status, 0, "exit status of $code") or diag $err;
    return [ map { exists $_->{result} ? $_->{result} : $_ } @$replies ];
}

sub text {
    my ($code, $args, @setups) = @_;
    return (talk([ 'expression', $code, @setups ], request($args)))[0];
}

subtest 'values' => sub {
    for my $value (0, -1, 1.5, undef, '', "é\n\"😀", 'a', [], [ 1, [2] ], { 'ü' => { a => undef } }) {
        is(text('$_', [$value]), '{"result":' . $json->encode($value) . "}\n", $json->encode($value));
    }
    is(text('shift() * 2', ['21']), qq({"result":42}\n), 'a number');
    is(text('"$_"', [42]),          qq({"result":"42"}\n), 'a string');
    is(text('[@_, $_]', [1, 2]),    qq({"result":[1,2,1]}\n));
    is(text('scalar @_', []),       qq({"result":0}\n));
    is(text('$_->{a}', { a => 3 }), qq({"result":3}\n), 'an object');
    is(text('$_', 's'),             qq({"result":"s"}\n), 'a bare value');
    is(text('return', []),          qq({"result":null}\n));
    is(text('map { $_ * 2 } @_', [1, 2]), qq({"result":[2,4]}\n), 'a list');
    is(text('T->new', [], 'package T; sub new { bless {} } sub TO_JSON { [5] }'), qq({"result":[5]}\n));
    is(text('"\x{dc80}é"', []),     qq({"result":"\\udc80é"}\n), 'a lone surrogate');
    is(text('"inf, nan"', []),      qq({"result":"inf, nan"}\n));
    my $large = 'é' x 5_000_000;
    is(text('length', [$large]),    qq({"result":5000000}\n), 'a large argument');
    is_deeply(results('uc', [], simple('a', 'b')), [ 'A', 'B' ], 'the short cut');
};

subtest 'errors' => sub {
    my $error = results('1 / $_', [], simple(0))->[0]{error};
    is($error->{message}, 'Illegal division by zero at <expression> line 1.');
    like($error->{data}, qr/<expression> line 1: 1 \/ \$_\n/);
    unlike($error->{data}, qr/-e/);
    $error = results('f($_)', [ '', "sub f {\n  die 'no' }" ], simple(0))->[0]{error};
    like($error->{data}, qr/<setup 2> line 2: die 'no' \}\n    at <expression> line 1: f\(\$_\)\n/);
    $error = results('die bless {}, "My::Error"', [], simple(0))->[0]{error};
    is($error->{class}, 'My::Error');
    for my $case ([ '9**9**9', qr/infinite/ ], [ '[-sin 9**9**9]', qr/infinite/ ],
        [ 'sub {}', qr/CODE/ ], [ 'bless {}, "Foo"', qr/Foo/ ]) {
        my ($code, $message) = @$case;
        like(results($code, [], simple(0))->[0]{error}{message}, $message, $code);
    }
    is_deeply(results('$_ ? 5 : eval { die 1 } || 6', [], simple(1, 0)), [ 5, 6 ]);
    my ($replies) = run([ 'expression', '1 / $_' ], simple(1, 0), "rubbish\n", simple(1));
    is_deeply([ map { keys %$_ } @$replies ], [qw(result error error result)]);
};

subtest 'quick code' => sub {
    is_deeply(results('$_ * 2', [], simple(1 .. 250)), [ map { 2 * $_ } 1 .. 250 ], 'many');
    is_deeply(results('"$_,"', [], simple(1 .. 3)), [ '1,', '2,', '3,' ], 'with commas');
    is_deeply(results('@_', [], request([ 1, 2 ]), simple(3)), [ [ 1, 2 ], 3 ], 'lists');
    for my $case ([ '$_ == 100 ? 1e308 * $_ : 1', 'infinite' ], [ '1 / ($_ - 100)', 'division by zero' ], [ 'next if $_ == 100; $_', 'outside' ]) {
        my ($code, $message) = @$case;
        my $results = results($code, [], simple(1, 100, 0.5, 100, 1.5));
        is_deeply([ map { ref ? 'error' : 'result' } @$results ], [qw(result error result error result)], $code);
        like($results->[$_]{error}{message}, qr/$message/) for 1, 3;
    }
};

subtest 'stdin and stdout' => sub {
    my ($replies, $err) = run([ 'expression', 'print "pröt\n"; system "echo child"; 5' ], simple(1));
    is($replies->[0]{result}, 5);
    like($err, qr/pröt\nchild\n/);
    is_deeply(results('[scalar <STDIN>, scalar `cat`]', [], simple(1, 2)), [ [ undef, '' ], [ undef, '' ] ]);
};

subtest 'replies come at once' => sub {
    my $worker = start('expression', '$_ eq "stop" ? sleep 1000 : $_');
    for my $n (1 .. 3) {
        print { $worker->{in} } $n < 3 ? simple($n) : simple($n, 'stop');
        ok(IO::Select->new($worker->{out})->can_read($deadline), 'a reply') or last;
        is(readline $worker->{out}, qq({"result":"$n"}\n));
    }
    kill INT => $worker->{pid};
    waitpid $worker->{pid}, 0;
    is($?, 2, 'interrupted');
    is(join('', readline $worker->{err}), '', 'quietly');
};

subtest 'fork and exit' => sub {
    for my $code ('fork ? wait && $_ : 7', 'fork ? wait && $_ : exit 7') {
        is_deeply(results($code, [], simple(1, 2, 3)), [ 1, 2, 3 ], $code);
    }
    for my $case ([ 'exit 3', 3 << 8 ], [ 'kill KILL => $$', 9 ], [ 'require POSIX; POSIX::_exit(4)', 4 << 8 ]) {
        my ($code, $expected) = @$case;
        my ($replies, undef, $status) = run([ 'expression', "if (\$_) { $code } 0" ], simple(0, 0, 1, 0));
        is_deeply($replies, [ ({ result => 0 }) x 2 ], $code);
        is($status, $expected, 'its status');
    }
};

subtest 'setups and checks' => sub {
    is_deeply(results('f(++$n)', [ 'my $n = 1;', 'sub f { "f$_[0]" }' ], simple(1, 1)), [ 'f2', 'f3' ]);
    my (undef, $err, $status) = run([ 'expression', '1', 'die "no"' ], simple(1));
    like($err, qr/no at <setup 1> line 1/);
    is($status, 1 << 8);
    for my $case (
        [ 0, qr/^$/,                                       'expression', '$_ + 1', 'die "unwanted"' ],
        [ 1, qr/syntax error at <expression> line 2/,      'expression', "1;\n2 2" ],
        [ 1, qr/syntax error at <setup 2> line 1/,         'expression', '1', '2', '= 3' ],
        [ 1, qr/Can't locate Nope.pm .* at <setup 1> line/, 'expression', '1', 'use Nope' ],
        [ 1, qr/none.pl: No such file/,                    'file', '/nowhere/none.pl' ],
    ) {
        my ($expected, $message, $mode, @code) = @$case;
        my ($replies, $err, $status) = run([ "check-$mode", @code ]);
        is($status >> 8, $expected, "@code");
        like($err, $message);
        is_deeply($replies, []);
    }
};

subtest 'file' => sub {
    my $directory = File::Temp->newdir;
    my $write = sub {
        my ($name, $text) = @_;
        open my $file, '>', "$directory/$name" or die $!;
        print $file $text;
        close $file or die $!;
        return "$directory/$name";
    };
    $write->('Helper.pm', 'package Helper; sub twice { 2 * shift } 1');
    $write->('Other.pm', 'package Other; sub new { bless [ @_ ] } sub run { "ran $_[0][1]" } 1');
    my $path = $write->('tasks.pl', <<'END');
use strict; use warnings; use Helper; use File::Basename;
our $offset = 0;
sub resize { return [@_] }
sub named { my %args = @_; return $args{width} + $offset }
sub twice { return Helper::twice(@_) }
sub bad {
    die "bad thing";
}
sub where { return [__FILE__, $0] }
sub _private { }
package My::Task; sub new { my $class = shift; bless { @_ }, $class } sub run { shift->{a} }
package main;
die 'run as a program' unless caller;
0;
END
    my ($replies, $err, $status) = run([ 'file', $path, '$main::offset = 10' ],
        request([ 'a', 5 ], 'resize'), request({ width => 7 }, 'named'), request([4], 'twice'),
        request([], 'where'), request([ a => 3 ], 'My::Task'), request(['x'], 'Other'));
    is_deeply([ map { $_->{result} } @$replies ],
        [ [ 'a', 5 ], 17, 8, [ $path, $path ], 3, 'ran x' ]) or diag $err;
    ($replies) = run([ 'file', $path ], request([], 'bad'), map { request([], $_) } qw(nope _private basename No::Such));
    like(shift(@$replies)->{error}{data}, qr/^bad thing .*tasks.pl line 7.*tasks.pl line 7: die "bad thing";\n/s);
    like($_->{error}{message}, qr/^unknown command '.*', expected one of: bad, named, resize, twice, where$/)
        for @$replies;

    ($replies, $err, $status) = run([ 'check-file', $path ]);
    is_deeply([ $err, $status ], [ '', 0 ]);
    ($replies, $err, $status) = run([ 'check-file', $write->('b.pl', "use Nope;\n") ]);
    like($err, qr/Can't locate Nope.pm .* at .*b.pl line 1/);
    is($status, 1 << 8);
};

done_testing;
