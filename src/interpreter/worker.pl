# procpool's worker for Perl: perl -e SOURCE -- MODE CODE [SETUP...]
#
# MODE is `expression` (CODE is evaluated once per job) or `file` (the subs in the file CODE are the
# commands); `check-expression` and `check-file` only report whether CODE can be used. With
# `list-expression` $_ is a reference to the list of all args. With `each-` a list is always an array.
# Requests come on stdin and replies go to stdout, one line of JSON each, in the same order. A request is
# the args, or an object with `cmd` and `args`.

# These subs come first, so the code sees none of the lexicals and pragmas below.
# `package main` is the code's alone.
sub Procpool::compile { eval $_[0] }
sub Procpool::execute { do $_[0] }

package Procpool;
use strict;
use warnings;
no warnings 'surrogate';
use B ();
use Encode ();
use File::Basename ();
use File::Spec;

my ($module) = grep { eval "require $_" } qw(Cpanel::JSON::XS JSON::XS JSON::PP);
my $decoder = $module->new->utf8->allow_nonref;
my $encoder = $module->new->canonical->allow_nonref->convert_blessed;
$encoder->allow_bignum;    # a Math::BigInt is an integer
# Otherwise Cpanel::JSON::XS makes null of them. `encode` refuses them.
$encoder->stringify_infnan(2) if $encoder->can('stringify_infnan');

my $lines = '';    # the requests that have come
my @left;          # those of them that are not answered
my $are_lines;     # they are not decoded
my $function;      # the code, if it is an expression
my $command;       # a function of the name and the args of a command, if the code is a file
my $is_quick;      # it can't be slow, or end the process: its replies may wait for others
my %source;    # file name => its lines, for tracebacks
my $trace;     # the trace of the last exception
my @places;    # its frames, a file and a line each, the innermost first
my ($mode, $code, @setups) = map { Encode::decode('UTF-8', $_) } splice @ARGV;
my %how = map { $_ => 1 } split /-/, $mode;
my ($checking, $is_list, $is_each) = @how{qw(check list each)};

# The code must not get at requests and replies: its stdin is empty, its stdout is stderr.
open my $requests, '<&', \*STDIN  or die "stdin: $!\n";
open my $replies,  '>&', \*STDOUT or die "stdout: $!\n";
binmode $_ for $requests, $replies;
open STDIN,  '<',  File::Spec->devnull or die "stdin: $!\n";
open STDOUT, '>&', \*STDERR            or die "stdout: $!\n";
binmode $_, ':utf8' for *STDOUT, *STDERR;
$_->autoflush for *STDOUT, $replies;    # so no reply is lost if the code exits

sub encode { return checked($encoder->encode($_[0])) }

sub checked {
    my ($json) = @_;
    check_numbers($json) if $json =~ /[0-9]e\+/i;
    if (ord $json != 34 && $json =~ /inf|nan/i && $json =~ s/"(?:[^"\\]++|\\.)*+"//gr =~ /inf|nan/i) {
        die "infinite and not-a-number have no form in JSON\n";
    }
    # UTF-8 has no surrogates: escape them, as JSON does.
    if (utf8::is_utf8($json)) {
        $json =~ s/([\x{d800}-\x{dfff}])/sprintf '\\u%04x', ord $1/ge;
        utf8::encode($json);
    }
    return $json;
}

# A number beyond 2^53 that is no integer of Perl's may have lost digits, unless it has come so.
sub check_numbers {
    my ($json) = @_;
    my $number = qr/-?[0-9]++(?:\.[0-9]++)?[eE]\+?[0-9]++/;
    my %came;
    while ($json =~ /"(?:[^"\\]++|\\.)*+"|($number)/g) {
        next if !defined $1 || abs $1 <= 2**53;
        my $found = $1;
        if (!%came) {
            my @came = $lines =~ /-?[0-9]++(?:\.[0-9]++)?(?:[eE]\+?[0-9]++)?/g;
            %came = (none => 1, map { 0 + $_ => 1 } @came);
        }
        next if $came{ 0 + $found };
        die "$found is a number beyond 2^53, and may have lost its last digits: "
            . "use a Math::BigInt, or a string\n";
    }
}

# The code.

sub load_expression {
    my ($code) = @_;
    $source{'<expression>'} = [ split /\n/, $code ];
    $function = evaluate(qq{sub {\n#line 1 "<expression>"\n$code\n}});
    return if $checking;
    my $object = B::svref_2object($function);
    $is_quick = is_quick($object->ROOT, ($object->PADLIST->ARRAY)[1]);
}

# Operations that take a time in proportion to what they get, and run no code.
my %quick = map { $_ => 1 } qw(
    leavesub lineseq nextstate null pushmark const gv gvsv rv2sv rv2av aelem aelemfast list stub
    add subtract multiply divide modulo negate i_add i_subtract i_multiply i_divide i_modulo i_negate int abs sqrt
    concat multiconcat stringify join reverse length substr lc uc lcfirst ucfirst ord chr hex oct chomp
    lt gt le ge eq ne ncmp slt sgt sle sge seq sne scmp not and or dor xor cond_expr defined trans transr
    match subst split pushre lslice
);

# Whether an operation is quick, and those below it are. Of variables it may use only $_ and @_.
sub is_quick {
    my ($op, $pad) = @_;
    return if !$quick{ $op->name };
    if ($op->name =~ /^(?:gv|aelemfast)/) {
        my $variable = $op->isa('B::PADOP') ? ($pad->ARRAY)[ $op->padix ] : $op->gv;
        return if $$variable != ${ B::svref_2object(\*_) };
    }
    if ($op->isa('B::PMOP')) {    # a pattern that repeats or tries something may take long
        return if ($op->precomp // '') =~ /\A\z|[*+?{(|]/ && !($op->name =~ /split|pushre/ && $op->precomp eq '\s+');
        return if $op->name eq 'subst' && ${ $op->pmreplroot };
    }
    return 1 if !($op->flags & B::OPf_KIDS);
    for (my $kid = $op->first; $$kid; $kid = $kid->sibling) {
        return if !is_quick($kid, $pad);
    }
    return 1;
}

sub load_file {
    my $path = File::Spec->rel2abs(@_);
    $0 = $path;
    unshift @INC, File::Basename::dirname($path);
    open my $file, '<', $path or die "$path: $!\n";
    close $file;
    execute($path);
    die $@ if $@;
    evaluate('1');

    my %commands;
    for my $name (grep { !/^_|::|^[A-Z]+$/ } keys %main::) {
        my $sub = main->can($name) or next;
        $commands{$name} = $sub if B::svref_2object($sub)->FILE eq $path;
    }
    $command = sub {
        my ($cmd, $args) = @_;
        my @args = ref $args eq 'ARRAY' ? @$args : ref $args eq 'HASH' ? %$args
            : defined $args ? $args : ();
        return $commands{$cmd}->(@args) if $commands{$cmd};
        return $cmd->new(@args)->run    if is_task($cmd);
        my $known = join(', ', sort keys %commands) || '(none)';
        die "unknown command '$cmd', expected one of: $known\n";
    };
}

# Runs the setups, and returns the value of the code after them, which sees their `my` variables.
sub evaluate {
    my ($code) = @_;
    my $text = 'package main;';
    $text .= 'return 1;' if $checking;    # all of it has been compiled, and need not run
    for my $number (1 .. @setups) {
        my $setup = $setups[$number - 1];
        $source{"<setup $number>"} = [ split /\n/, $setup ];
        $text .= qq{\n#line 1 "<setup $number>"\n$setup\n;};
    }
    my $value = compile("$text\n$code");
    die $@ if !defined $value;
    return $value;
}

sub is_task {
    my ($class) = @_;
    return if $class !~ /^[A-Z]\w*(?:::\w+)*$/a;
    if (!$class->can('new')) {
        my $file = $class =~ s{::}{/}gr . '.pm';
        return if !grep { !ref && -e "$_/$file" } @INC;
        require $file;
    }
    return $class->can('new') && $class->can('run');
}

# Errors.

sub failure {
    my ($error) = @_;
    my $class   = ref $error;
    my $message = $class && eval { $error->can('message') } ? $error->message : "$error";
    $message =~ s/ at \S*-e line \d+\.\n\z//;    # the worker's own line
    chomp $message;
    my %failure = (message => $message, data => "$message\n" . ($trace // ''));
    my $place = place();
    $failure{at} = $place if defined $place && $message !~ / at \S+ line [0-9]/;
    forget_trace();
    if ($class) {
        $failure{class}   = $class;
        $failure{message} = "$class: $message";
    }
    return \%failure;
}

# The innermost frame: `ops.pl:3`, with the line in the code that led there.
sub place {
    return if !@places;
    my $show = sub { File::Basename::basename($_[0][0]) . ":$_[0][1]" };
    my ($called) = grep { $_->[0] eq $0 || $_->[0] =~ /^</ } @places;
    return $show->($places[0]) if !$called || $called->[0] eq $places[0][0];
    return $show->($places[0]) . ', called from ' . $show->($called);
}

sub forget_trace {
    undef $trace;
    @places = ();
}

# The handler of `die`. It keeps the frames of the code, each with its line.
sub remember_trace {
    $trace  = '';
    @places = ();
    for (my $depth = 0; my ($package, $file, $line) = caller $depth; $depth++) {
        next if $file eq __FILE__ || $file =~ /^\(eval/;
        if (!$source{$file} && open my $handle, '<:utf8', $file) {
            chomp(@{ $source{$file} } = <$handle>);
        }
        push @places, [ $file, $line ];
        my $text = $source{$file}[ $line - 1 ] // '';
        $trace .= "    at $file line $line: " . $text =~ s/^\s+//r . "\n";
        last if $depth > 50;
    }
}

# The work.

if (!eval { $how{file} ? load_file($code) : load_expression($code); 1 }) {
    print STDERR $@;
    exit 1;
}
exit if $checking;

my $process = $$;
local $SIG{__DIE__} = \&remember_trace;
# The code is called from no loop that `next` or `last` could leave.
answer_lines() while sysread $requests, $lines, 1 << 16, length $lines;

sub answer_lines {
    my $end = rindex $lines, "\n";
    return if $end < 0;
    take(substr $lines, 0, $end);
    # What is large, or an object of Math::BigInt, is not quick.
    my $are_quick = $is_quick && !$are_lines && $end < 1 << 18;
    $are_quick ? answer_some() : answer_next() while @left;
    substr($lines, 0, $end + 1) = '';
}

# Takes requests, a line each. All at once is fastest.
sub take {
    my ($lines) = @_;
    my $count = 1 + ($lines =~ tr/\n//);
    # One plain string is the most common case.
    if ($lines !~ /[^ -\[\]-~\n]/ && $lines =~ tr/"// == 2 * $count && $lines =~ /\A\["(?s:.*)"\]\z/) {
        my @strings = split /"\]\n\["/, substr($lines, 2, -2), -1;
        $are_lines = 0;
        return @left = map { [$_] } @strings if @strings == $count;
    }
    my $is_easy = $module ne 'JSON::PP' && $lines !~ /[0-9]{19}/;
    my $all = $is_easy && eval { $decoder->decode('[' . $lines =~ tr/\n/,/r . ']') };
    $are_lines = !$all;
    @left = $all ? @$all : split /\n/, $lines, -1;
}

# The result of the next request.
sub result {
    my ($args, $cmd) = shift @left;
    $args = parse($args) if $are_lines;
    ($cmd, $args) = @$args{qw(cmd args)} if ref $args eq 'HASH';
    my @values;
    if ($function) {
        $args = defined $args ? [$args] : [] if ref $args ne 'ARRAY';
        local $_ = $is_list ? $args : $args->[0];
        $@ = '';
        @values = $function->(@$args);
    } else {
        @values = $command->($cmd // '', $args);
    }
    forget_trace() if defined $trace;    # the code caught these exceptions
    return $values[0] if @values == 1 && !($is_each && ref $values[0] ne 'ARRAY');
    return @values || $is_each ? \@values : undef;
}

# Its reply is written at once: the job after it may be slow, or end the process.
sub answer_next {
    my $reply = eval {
        my $value = result();
        my $json = $encoder->encode($value);
        # A number, the most common case, ends with a digit.
        $json = checked($json) if ref $value || $json =~ /[^0-9.-]/;
        qq({"result":$json}\n);
    } // failed($@);
    reply($reply);
}

# Answers requests, if the code is quick. To encode results together takes half the time.
sub answer_some {
    my @results;
    my $failed = eval { push @results, result() while @left && @results < 100; '' } // failed($@);
    my $json = eval { encode(\@results) };
    if (defined $json && $json =~ tr/,// == $#results) {    # each comma is between two results
        $json =~ s/,/}\n{"result":/g;
        return reply('{"result":' . substr($json, 1, -1) . "}\n$failed");
    }
    forget_trace();
    reply(join '', map({ eval { '{"result":' . encode($_) . "}\n" } // failed($@) } @results), $failed);
}

# The reply to a job that failed.
sub failed {
    my ($error) = @_;
    die $error if $$ != $process;
    return '{"error":' . encode(failure($error)) . "}\n";
}

sub reply {
    exit if $$ != $process;    # in a child that the code forked: the parent answers
    my $count = syswrite $replies, $_[0];
    write_all(substr $_[0], $count // 0) if !defined $count || $count < length $_[0];
}

sub parse {
    my ($line) = @_;
    return parse_large($line) if $line =~ /[0-9]{19}/;
    # One plain string is the most common case, and JSON::PP takes ten times longer than this.
    return $line =~ /^\["([ !#-\[\]-~]*)"\]$/a ? [$1] : $decoder->decode($line);
}

# An integer that Perl has no room for is a Math::BigInt.
sub parse_large {
    my ($line) = @_;
    my $mark = sprintf 'procpool-%.15f:', rand;
    my $mark_large = sub {
        my ($number) = @_;
        return $number if $number =~ /[.eE]/ || 0 + $number eq $number;
        require Math::BigInt;
        return qq("$mark$number");
    };
    $line =~ s/("(?:[^"\\]++|\\.)*+")|(-?[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)/
        defined $1 ? $1 : $mark_large->($2)/gex;
    my $find;
    $find = sub {
        for (ref $_[0] eq 'ARRAY' ? @{ $_[0] } : ref $_[0] eq 'HASH' ? values %{ $_[0] } : $_[0]) {
            if (ref) { $find->($_) }
            elsif (defined && /^\Q$mark\E(.*)/s) { $_ = Math::BigInt->new($1) }
        }
    };
    my $request = $decoder->decode($line);
    $find->($request);
    return $request;
}

sub write_all {
    my ($text) = @_;
    while (length $text) {
        my $count = syswrite($replies, $text) // die "stdout: $!\n";
        substr($text, 0, $count) = '';
    }
}
