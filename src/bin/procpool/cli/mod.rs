//! The command line (clap) → [`Options`]. Nothing else knows clap.
//!
//! Parsing only validates: every option is resolved here, once, into plain data.

pub mod halt;
pub mod report;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::builder::styling::{AnsiColor, Styles};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum, ValueHint,
};
use procpool::protocol::PROTOCOLS;
use procpool::protocol::framing::FRAMINGS;
use procpool::{Depth, Kind, Timeout};

use halt::{Halt, parse_halt};
use report::{Report, parse_report};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default());

const ABOUT: &str = "xargs with warm workers";

const LONG_ABOUT: &str = "\
procpool runs jobs, a line of input each, several at a time, and prints what comes of them to \
stdout, in the order of the input. A job is run by a command that is started for it, or by a worker: \
a process that stays alive between jobs.

With a COMMAND, the line is its argument, put in place of {} or behind the others. No shell is run.

    find . -name '*.png' | procpool convert {} {.}.jpg

    {}  the line            {/}   without its directory     {1} {2} …  columns, or lines with -n
    {.} without extension   {//}  its directory             {name}     a column by its header
    {#} the job's number    {/.}  without both              {%}        the number of its slot

With --worker, jobs go to a worker: any program that reads a request, a line of JSON, from its stdin and prints a reply, \
a line of JSON, to its stdout:

    {\"id\":17,\"cmd\":\"resize\",\"args\":[\"a.png\"]}   the request
    {\"id\":17,\"result\":\"done\"}                   the reply, or
    {\"id\":17,\"error\":\"no such file\"}            the reply of a job that failed

It flushes its stdout after each reply, exits when its stdin ends, and keeps diagnostics on stderr.";

const EXAMPLES: &str = "\
Examples:
  seq 1000 | procpool --python 'int(x) * 2'
  find . -name '*.png' | procpool convert {} {.}.jpg
  procpool -j4 --tag --timeout 1m ping -c1 ::: alpha beta gamma
  procpool --max-procs 4 --worker ./handler < jobs.jsonl
  find . -name '*.png' | procpool --worker ./handler resize
  tail -f queue.jsonl | procpool --worker 'python3 handler.py' --timeout 30s

Jobs, when no COMMAND is given, a line each:
  {\"cmd\":\"resize\",\"args\":[\"a.png\",{\"w\":100}],\"id\":\"j1\"}
  resize [\"a.png\", {\"w\":100}]

Exit status:
  0 all jobs succeeded; 1 some failed; 2 wrong usage; 125 procpool itself failed;
  126 the worker cannot be run; 127 it is not found; 128+N ended by signal N";

/// Options of xargs and GNU parallel that have other names here, or are not needed.
const FOREIGN: [(&[&str], &str); 18] = [
    (&["-t", "--verbose", "-v"], "--dry-run prints the commands, --confirm asks before each"),
    (&["-L", "--max-lines", "-l"], "-n N makes one job of N lines; a line is one arg"),
    (&["-N", "--max-replace-args"], "-n N makes one job of N lines"),
    (&["-s", "--max-chars", "-x", "--exit"], "-n max makes jobs as long as the system allows"),
    (&["-X", "-m", "--xargs"], "-n max makes one job of as many lines as a command can take"),
    (&["-i"], "{} is known without it, and -I STR chooses another placeholder"),
    (&["-q", "--quote"], "an arg is never split, so nothing needs quotes"),
    (&["--jobs"], "it is -j, or --max-procs"),
    (&["--colsep", "-C"], "--input csv or --input tsv takes lines apart"),
    (&["--csv"], "it is --input csv"),
    (&["--pipe", "--spreadstdin"], "-n N --stdin feeds each command N lines"),
    (&["-u", "--ungroup", "--line-buffer", "--lb"], "--live --stream prints lines as they come"),
    (&["--bar", "--eta"], "a terminal shows the progress anyway, else --progress always"),
    (&["--workdir", "--wd"], "it is --cwd DIR"),
    (&["--load"], "it is --max-load N"),
    (&["--memfree"], "it is --min-free-memory SIZE"),
    (&["--resume-failed", "--retry-failed"], "--journal FILE --resume runs again what failed"),
    (&["-S", "--sshlogin"], "all jobs run on this machine"),
];

/// More workers than this no machine has room for.
pub const MOST_PROCS: usize = 65_536;

/// The command line as the user gave it.
#[derive(Debug, Parser)]
#[command(
    name = "procpool",
    version,
    about = ABOUT,
    override_usage = "procpool [OPTIONS] [COMMAND [ARG]...]",
    long_about = LONG_ABOUT,
    after_help = "'procpool --help' explains everything, with examples.",
    after_long_help = EXAMPLES,
    styles = STYLES,
    max_term_width = 100,
    args_override_self = true,
    disable_help_flag = true,
    disable_version_flag = true,
    trailing_var_arg = true
)]
pub struct Options {
    /// The command of every job: each input line is its args
    ///
    /// With a COMMAND each input line is the args of one job of it, as --input says; they go where
    /// the ARGs have placeholders ({}, {.}, {1} …) or, where there are none, behind them. With a
    /// worker they go behind them. Without a COMMAND each input line is a whole job. Options go
    /// before COMMAND: all that follows it belongs to it. COMMAND ::: A B C takes args from the
    /// command line instead of stdin; several ::: make all combinations.
    #[arg(value_name = "COMMAND", num_args = 0.., value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,

    /// The worker to start: its command line, split as a shell does
    ///
    /// The command line is split into words as a shell would split it, but no shell is run. A
    /// worker finds PROCPOOL_SLOT, PROCPOOL_GENERATION and PROCPOOL_PROTOCOL in its environment,
    /// and PYTHONUNBUFFERED=1 where that is not set. Several workers have names, -w NAME=CMDLINE: a
    /// job's cmd, or its key `worker`, says which one it is for. Each of them has up to -j
    /// processes; their slots are numbered on, 1 to 4 for two workers with -j2. A worker and its
    /// replacement have the same PROCPOOL_SLOT for a while, unless --standby is 0.
    #[arg(short, long, value_name = "CMDLINE", help_heading = "Workers", value_hint = ValueHint::CommandString)]
    pub worker: Vec<String>,

    /// How it is spoken to: jsonl, raw, jsonrpc or bazel
    ///
    /// jsonl: requests and replies are lines of JSON, as shown above. raw: each input line is sent as
    /// it is, and the line that comes back is its result, as of jq --unbuffered or sed -u.
    /// jsonrpc: JSON-RPC 2.0, cmd is the method and args are the params: MCP servers, and
    /// language servers with --framing content-length. bazel: Bazel's persistent workers; array args
    /// are the arguments.
    #[arg(long, value_name = "NAME", default_value = "jsonl", help_heading = "Workers", value_parser = PossibleValuesParser::new(PROTOCOLS.iter().map(|protocol| protocol.name)), hide_possible_values = true)]
    pub protocol: String,

    /// Where messages begin and end [default: the protocol's own]
    ///
    /// line, nul: a newline or a NUL byte ends a message. u16, u32, u32le: its length stands before it
    /// (big-endian; le: little-endian), varint: as protocol buffers write it, content-length:
    /// as of HTTP, netstring: 5:hello, and json: one JSON value after the other.
    #[arg(hide_short_help = true, long, value_name = "NAME", help_heading = "Workers", value_parser = PossibleValuesParser::new(FRAMINGS.iter().map(|framing| framing.name)), hide_possible_values = true)]
    pub framing: Option<String>,

    /// A reply is N messages instead of one (raw, with line or nul)
    ///
    /// For programs that print several fields or lines for each that they read, such as 3 for git
    /// check-attr -z with one attribute. They are one result, with what separates them.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Workers"
    )]
    pub reply_messages: usize,

    /// Give the worker a terminal for its stdout
    ///
    /// Most programs hold their output back in a buffer when they write to a pipe, and so never seem
    /// to answer. To a terminal they write each line at once. TERM is dumb there, and NO_COLOR set.
    #[arg(hide_short_help = true, long, help_heading = "Workers")]
    pub pty: bool,

    /// Send jobs with equal KEYs to the same worker
    ///
    /// So that a cache or a session there is of use. KEY is the name of a field of the args or the
    /// number of an arg, or text with placeholders ({user}-{1}). Jobs without it are dealt out in turn.
    /// A worker that has died is replaced by one that gets the same keys.
    #[arg(hide_short_help = true, long, value_name = "KEY", help_heading = "Workers")]
    pub route: Option<String>,

    /// Send each fresh worker this job line first; may be repeated
    ///
    /// Handshakes, warming caches. With --protocol raw the line is sent as it is. Its reply is awaited before the first real job. A worker that
    /// replies with an error has failed to start.
    #[arg(hide_short_help = true, long, value_name = "LINE", help_heading = "Workers")]
    pub init: Vec<String>,

    /// The same for a message that has no reply (jsonrpc, raw)
    ///
    /// A notification, such as initialized; with raw, a command that prints nothing. It is sent where it stands among those of --init.
    #[arg(hide_short_help = true, long, value_name = "LINE", help_heading = "Workers")]
    pub notify: Vec<String>,

    /// What --init and --notify say, in their order, and whether it has a reply.
    #[arg(skip)]
    pub first: Vec<(String, bool)>,

    /// The options that were given, as the definition names them.
    #[arg(skip)]
    pub given: Vec<String>,

    /// At most N jobs at a time, each in a process [default: the number of CPUs]
    ///
    /// Also relative to the number of CPUs: 50%, +1, -1. 0: as many as the limits of the system for
    /// open files and processes allow. A worker is started only when a job waits and no idle worker
    /// is there to take it.
    #[arg(short = 'j', long, visible_short_alias = 'P', value_name = "N", help_heading = "Workers", value_parser = parse_count, allow_hyphen_values = true)]
    pub max_procs: Option<usize>,

    /// Requests in flight at each worker, or auto [default: 1; for code: auto]
    ///
    /// With one, the default, a worker gets its next request when it has answered the last. More
    /// make short jobs many times faster, but not every worker can deal with two requests that
    /// arrive at once. auto keeps a few milliseconds of work waiting at each worker: thousands of
    /// short jobs, or a single long one.
    #[arg(long, value_name = "N|auto", help_heading = "Workers", value_parser = parse_depth)]
    pub pipeline: Option<Depth>,

    /// Replace a worker after N jobs; 0: never
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Workers")]
    pub max_reqs: u64,

    /// Give each worker up to N jobs more than that, at random
    ///
    /// So workers that were started together are not all replaced together.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "Recycling"
    )]
    pub max_reqs_jitter: u64,

    /// Replace a worker that has lived for TIME, once it has no job
    #[arg(hide_short_help = true, long, value_name = "TIME", help_heading = "Recycling", value_parser = procpool::parse_duration)]
    pub max_age: Option<Duration>,

    /// Replace a worker that holds more memory than SIZE, once it has no job
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). What counts is the worker's own
    /// resident memory, not that of its children. It is looked at between jobs.
    #[arg(hide_short_help = true, long, value_name = "SIZE", help_heading = "Recycling", value_parser = parse_size)]
    pub max_rss: Option<usize>,

    /// End a worker that has had no job for TIME
    #[arg(hide_short_help = true, long, value_name = "TIME", help_heading = "Recycling", value_parser = procpool::parse_duration)]
    pub idle_timeout: Option<Duration>,

    /// At most N replacements started ahead of need [default: one per worker]
    ///
    /// A worker whose time is nearly over is replaced by one that has started already, so that no
    /// job waits. With 0 it is stopped first, and the next one is started then: so no two processes
    /// have the same PROCPOOL_SLOT at the same time.
    #[arg(hide_short_help = true, long, value_name = "N", help_heading = "Recycling")]
    pub standby: Option<usize>,

    /// End the run after N failed start-ups in a row; 0: never [default: 5; for code: 1]
    ///
    /// A start-up has failed when the worker can't be started, or dies before it has read a request.
    /// No job is charged with that: the next worker gets it. The count starts again with every
    /// reply of any worker.
    #[arg(hide_short_help = true, long, value_name = "N", help_heading = "Workers")]
    pub start_limit: Option<u32>,

    /// How long a worker may take to start
    ///
    /// Until it has read its first request and, before that, answered --init. A start that takes
    /// longer has failed: the worker is ended and no job is charged with that. 0: no limit.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "5m", help_heading = "Workers", value_parser = procpool::parse_duration)]
    pub start_timeout: Duration,

    /// The longest reply that a worker may give
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). A worker that prints a longer one is
    /// replaced, and its job fails.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", help_heading = "Workers", value_parser = parse_size)]
    pub max_reply: usize,

    /// Evaluate CODE for each line (x); or --perl, --node, --ruby, --sh
    ///
    /// An expression has x (the line; the list of lines with -n; the first column of csv and tsv; the
    /// object with --header; the value with --input json), args (all of them) and cmd. Of a FILE the functions are the commands of
    /// jobs: resize ["a.png", 100] calls resize("a.png", 100), and args that are an object become
    /// keyword arguments. What code prints goes to stderr. An exception is the job's error. Several
    /// requests are in flight (--pipeline auto).
    #[arg(long, value_name = "CODE|FILE", help_heading = "Code", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub python: Option<String>,

    /// The same in Perl: @_ and $_ are the args; also a class with new and run
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", help_heading = "Code", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub perl: Option<String>,

    /// The same in Node.js: x, args, cmd; what a FILE exports
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", help_heading = "Code", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub node: Option<String>,

    /// The same in Ruby: x, args, cmd
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", help_heading = "Code", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub ruby: Option<String>,

    /// The same in sh: "$@" are the args; what it prints is the result
    ///
    /// CODE is run in a subshell of a warm shell, with its variables and functions, and without stdin.
    /// Of a FILE the functions are the commands. A status other than 0 is an error.
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", help_heading = "Code", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub sh: Option<String>,

    /// Run CODE once in each process before its first job; may be repeated
    #[arg(long, value_name = "CODE", help_heading = "Code")]
    pub setup: Vec<String>,

    /// Run COMMAND by sh -c; what {} stands for stays data, whatever it is
    ///
    /// The COMMAND and its ARGs, with spaces between them, are the text of a shell command.
    /// Placeholders become its positional parameters, quoted as they must be where they stand: no
    /// argument can break out of its place. (A second shell that the text starts, by eval, sh -c or
    /// ssh, is on its own.)
    #[arg(long, help_heading = "Commands", conflicts_with = "worker")]
    pub shell: bool,

    /// STR stands for the args in COMMAND; braces mean nothing then
    #[arg(
        hide_short_help = true,
        short = 'I',
        long,
        value_name = "STR",
        help_heading = "Commands",
        conflicts_with = "worker"
    )]
    pub replace: Option<OsString>,

    /// Feed the args to COMMAND's stdin, one a line, not to its arguments
    #[arg(hide_short_help = true, long, help_heading = "Commands", conflicts_with = "worker")]
    pub stdin: bool,

    /// Set a variable for COMMAND; VALUE may have placeholders
    #[arg(
        hide_short_help = true,
        long,
        value_name = "NAME=VALUE",
        help_heading = "Commands",
        conflicts_with = "worker"
    )]
    pub env: Vec<OsString>,

    /// Run COMMAND in DIR, which may have placeholders
    #[arg(hide_short_help = true, long, value_name = "DIR", help_heading = "Commands", conflicts_with = "worker", value_hint = ValueHint::DirPath)]
    pub cwd: Option<OsString>,

    /// Print each command instead of running it, quoted for a shell
    ///
    /// It goes with all options that say how jobs are run, and has no effect besides: it writes no
    /// --failed, --joblog or --journal.
    #[arg(long, help_heading = "Commands", conflicts_with = "worker")]
    pub dry_run: bool,

    /// Ask on the terminal before each command is run
    #[arg(
        hide_short_help = true,
        short = 'p',
        long,
        help_heading = "Commands",
        conflicts_with = "worker"
    )]
    pub confirm: bool,

    /// Wait TIME between one start of a job and the next
    #[arg(hide_short_help = true, long, value_name = "TIME", help_heading = "Gates", value_parser = procpool::parse_duration)]
    pub delay: Option<Duration>,

    /// Start at most so many jobs in a time: 10/s, 100/m, 1000/h
    #[arg(hide_short_help = true, long, value_name = "N/s", help_heading = "Gates", value_parser = parse_rate)]
    pub rate: Option<Duration>,

    /// Start no job while the load average is above N
    #[arg(hide_short_help = true, long, value_name = "N", help_heading = "Gates", value_parser = parse_load)]
    pub max_load: Option<f64>,

    /// Start no job while less memory than SIZE is free
    ///
    /// It is free on the machine and in the memory cgroup of procpool: the lower number counts.
    #[arg(hide_short_help = true, long, value_name = "SIZE", help_heading = "Gates", value_parser = parse_size)]
    pub min_free_memory: Option<usize>,

    /// Run jobs with a lower priority: 1 (a little) to 39
    #[arg(hide_short_help = true, long, value_name = "N", help_heading = "Gates", value_parser = clap::value_parser!(i32).range(1..=39))]
    pub nice: Option<i32>,

    /// Read jobs from FILE instead of stdin (-: stdin); may be repeated
    #[arg(short = 'a', long, value_name = "FILE", help_heading = "Input", value_hint = ValueHint::FilePath)]
    pub arg_file: Vec<PathBuf>,

    /// What a COMMAND's lines are
    ///
    /// With a COMMAND each line is the args of one job of it: one string, any JSON, or columns,
    /// which are an arg each.
    #[arg(long, value_name = "FORMAT", help_heading = "Input", value_enum, default_value_t = InputFormat::Lines)]
    pub input: InputFormat,

    /// The first line names the columns: {name} stands for one
    ///
    /// A worker gets the args as an object.
    #[arg(hide_short_help = true, long, help_heading = "Input")]
    pub header: bool,

    /// Make one job of N lines; max: of as many as a command can take
    #[arg(short = 'n', long, value_name = "N|max", help_heading = "Input", value_parser = parse_max_args)]
    pub max_args: Option<MaxArgs>,

    /// With no input run nothing: the default
    #[arg(hide_short_help = true, short = 'r', long, help_heading = "Input")]
    pub no_run_if_empty: bool,

    /// Lines end with CHAR instead of a newline: a byte, or \n, \r, \t, \0, \xHH
    #[arg(short = 'd', long, value_name = "CHAR", help_heading = "Input", value_parser = parse_delimiter, conflicts_with = "null")]
    pub delimiter: Option<u8>,

    /// Lines end with a NUL byte instead of a newline
    #[arg(short = '0', long, help_heading = "Input")]
    pub null: bool,

    /// The longest input line
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). A longer line is an invalid job; it
    /// is skipped without being held in memory.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", help_heading = "Input", value_parser = parse_size)]
    pub max_line: usize,

    /// How results look: record (default with a worker), value, text (otherwise)
    ///
    /// For text, what a command prints is passed on byte for byte, its stderr behind it.
    #[arg(
        long,
        value_name = "FORMAT",
        help_heading = "Output",
        value_enum,
        hide_possible_values = true
    )]
    pub format: Option<Format>,

    /// Begin each line with the args of its job and a tab
    #[arg(long, help_heading = "Output")]
    pub tag: bool,

    /// Pass on lines while a command runs, as soon as it is its turn
    ///
    /// With --stream lines of all running commands are printed as they come.
    #[arg(long, help_heading = "Output", conflicts_with = "worker")]
    pub live: bool,

    /// Add seq, cmd, args, slot, pid, attempt, start and seconds to records
    #[arg(hide_short_help = true, long, help_heading = "Output")]
    pub detail: bool,

    /// Print each result as its job finishes, not in input order
    #[arg(long, help_heading = "Output")]
    pub stream: bool,

    /// Print results in input order: the default
    #[arg(
        hide_short_help = true,
        short = 'k',
        long,
        help_heading = "Output",
        conflicts_with = "stream"
    )]
    pub keep_order: bool,

    /// Memory for results that wait for their turn
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). More results go to a temporary file,
    /// which is made in TMPDIR and has no name, so that nothing of it is left behind.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", help_heading = "Output", value_parser = parse_size)]
    pub buffer: usize,

    /// Say at the end what a run came to: jobs, failures, durations
    ///
    /// With the slowest jobs, retries, and the workers that were replaced, and why.
    #[arg(long, help_heading = "Output")]
    pub summary: bool,

    /// Write a report at the end: FILE.html, .json, .xml (JUnit), .md
    ///
    /// It may be repeated. html is a page for a browser: a timeline, failures, durations, workers; it
    /// loads nothing from elsewhere. xml is JUnit's, as CI systems read it. md is a table for the
    /// summary of a CI job. For a FILE with another name, put the format before it: json:FILE. -.json
    /// is stdout: the report is the last line, after all results. A report is written however the run
    /// ends, except after kill -9. Where GITHUB_ACTIONS is set, failures are annotations as well,
    /// without this option.
    #[arg(long, value_name = "FILE", help_heading = "Output", value_parser = parse_report, allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub report: Vec<Report>,

    /// Write when each job ran where to FILE, for Perfetto or chrome://tracing
    ///
    /// As Chrome's trace-event format has it. Events are written as jobs finish. A trace that kill -9 cut
    /// off can still be opened.
    #[arg(hide_short_help = true, long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,

    /// Keep what each job printed, and its record, in a folder of its own in DIR
    ///
    /// DIR/000007-ARGS has the files stdout, stderr and record.json; of the ARGS, letters, digits, dots
    /// and dashes are in the name. DIR must be new or empty, unless --resume is given. What a worker
    /// answers is in stdout, as text.
    #[arg(hide_short_help = true, long, value_name = "DIR", help_heading = "Output", value_hint = ValueHint::DirPath)]
    pub results: Option<PathBuf>,

    /// Log each job that is over to FILE, as GNU parallel does
    ///
    /// With --resume the log is added to, by the jobs that are run. FILE may not be the input, nor
    /// another file that the run writes.
    #[arg(hide_short_help = true, long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub joblog: Option<PathBuf>,

    /// Show a progress line
    ///
    /// It is drawn on stderr, and vanishes at the end. Where stderr is no terminal and it is asked
    /// for, a line is printed every few seconds.
    #[arg(hide_short_help = true, long, value_name = "WHEN", help_heading = "Output", value_enum, default_value_t = When::Auto)]
    pub progress: When,

    /// End a job that takes longer, and its process; it fails
    ///
    /// A number of seconds, or a duration such as 500ms or 1m30s; 0: no limit. 300%: three times the
    /// median of the jobs that have succeeded, once there are three of them. The time of a job begins
    /// when its worker has read the request: a worker's start has a limit of its own,
    /// --start-timeout. The whole process group of its worker or command is ended: TERM, then KILL
    /// after --grace.
    #[arg(long, value_name = "TIME|N%", help_heading = "Failures", value_parser = parse_timeout)]
    pub timeout: Option<Timeout>,

    /// Try a job that failed again, up to N times
    ///
    /// By whichever worker is free. The result tells the attempts. A job's own `retries` override
    /// this.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Failures")]
    pub retries: u32,

    /// The failures after which a job is tried again
    ///
    /// error (the worker's reply), exit (a command's status), crash, timeout, protocol, spawn (a
    /// command could not be started).
    #[arg(hide_short_help = true, long, value_name = "KIND", value_delimiter = ',', default_value = "error,exit,crash,timeout,protocol", help_heading = "Failures", value_parser = parse_kind)]
    pub retry_on: Vec<RetryOn>,

    /// How long a job waits for its second try
    ///
    /// Twice as long before each further one, a minute at most, and up to a half more or less at
    /// random.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "0.1s", help_heading = "Failures", value_parser = procpool::parse_duration)]
    pub retry_delay: Duration,

    /// Write the input lines of failed jobs to FILE, to be fed in again
    ///
    /// As they stood in the input. FILE is replaced when the run is over. It may be the input: then
    /// lines that were not run stay in it, however the run ends. Of other inputs, lines of a job that
    /// was not run at all, or that were longer than --max-line, are not among them.
    #[arg(hide_short_help = true, long, value_name = "FILE", help_heading = "Failures", value_hint = ValueHint::FilePath)]
    pub failed: Option<PathBuf>,

    /// How long a process may take to end before it is killed
    ///
    /// This is also how long running jobs may go on after the first Ctrl-C. Then they get TERM, and KILL
    /// after as long again. And it is how long what a command has left running may be silent while it
    /// holds stdout or stderr open: then the job is over, and that lives on.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "5s", help_heading = "Failures", value_parser = procpool::parse_duration)]
    pub grace: Duration,

    /// End the run when jobs fail: now,fail=1 or soon,fail=10%
    ///
    /// GNU parallel's words: now (running jobs are ended) or soon (they may finish), then fail,
    /// success or done, then a number of jobs or a percentage of all, which is known once all input
    /// has been read. Jobs that were not run have no result; their number is said on stderr, and the
    /// status is not 0.
    #[arg(long, value_name = "WHEN", help_heading = "Failures", value_parser = parse_halt_option, allow_hyphen_values = true)]
    pub halt: Option<HaltOption>,

    /// End the run at the first job that fails: --halt now,fail=1
    #[arg(long, help_heading = "Failures", conflicts_with = "halt")]
    pub fail_fast: bool,

    /// Record what comes of each job in FILE, so that the run can be resumed
    ///
    /// A line of JSON for each job when it finishes, whatever the order of the output, before its
    /// result is printed. FILE must be new or empty, unless --resume is given. It is made for you
    /// alone to read, and only one run can have it at a time.
    #[arg(hide_short_help = true, long, value_name = "FILE", help_heading = "Journal", conflicts_with_all = ["live", "dry_run"], value_hint = ValueHint::FilePath)]
    pub journal: Option<PathBuf>,

    /// Go on with the run that the journal is of: print what succeeded, run the rest
    ///
    /// Results of jobs that have succeeded are printed in their places as they were recorded, so that
    /// the output is that of a run that was never interrupted. A job goes by its id where the input
    /// names one (also if its args have changed), otherwise by what it is, and for equal jobs by
    /// which of them it is: lines may come, go and change places. Jobs that failed are run again.
    /// Where there is no journal yet, the run begins with one.
    #[arg(hide_short_help = true, long, help_heading = "Journal", requires = "journal")]
    pub resume: bool,

    /// Have each record on the disk before its result is printed
    ///
    /// Without it a journal survives whatever happens to procpool, but not a power cut. Records are
    /// brought to the disk many at a time, and workers do not wait for that.
    #[arg(hide_short_help = true, long, help_heading = "Journal", requires = "journal")]
    pub fsync: bool,

    /// Print help (-h: a summary; --help: everything)
    #[arg(short, long, action = ArgAction::Help, help_heading = "Help")]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Help")]
    version: Option<bool>,
}

/// What an input line is when COMMAND stands on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// The line is one string arg
    Lines,
    /// The line is a JSON value, and that is the args
    Json,
    /// Comma-separated values, an arg each
    Csv,
    /// Values with tabs between them, an arg each
    Tsv,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a job, failed jobs too
    Record,
    /// The bare result as JSON; failures go to stderr
    Value,
    /// Strings, and what commands print, as they are; failures go to stderr
    Text,
}

/// When to do something that only a person at a terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// When stderr is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The command line of this process; a wrong one ends it.
pub fn parse() -> Options {
    let matches = definition().try_get_matches().unwrap_or_else(|error| refuse(error));
    let mut options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    options.first = first_lines(&matches);
    options.given = given(&matches);
    options
}

/// Ends the process because of a wrong command line, or of --help. Of another tool's option it says
/// what it is here.
fn refuse(mut error: clap::Error) -> ! {
    let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) => option.clone(),
        _ => error.exit(),
    };
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(option) = option_before(&unknown, &words) {
        misused(&format!(
            "{option} has no value; one that begins with '-' is written {option}='…'"
        ));
    }
    if let Some((_, hint)) = FOREIGN.iter().find(|(names, _)| names.contains(&unknown.as_str())) {
        misused(&format!("there is no option '{unknown}'; {hint}"));
    }
    // Behind `--` comes the COMMAND, so what clap says of that is wrong here; and it finds options alike
    // that are not.
    error.remove(ContextKind::Suggested);
    error.remove(ContextKind::SuggestedArg);
    let definition = definition();
    let longs: Vec<String> = definition
        .get_arguments()
        .filter_map(Arg::get_long)
        .map(|long| format!("--{long}"))
        .collect();
    if let Some(similar) = procpool::similar(&unknown, longs.iter().map(String::as_str)) {
        let similar = ContextValue::String(similar.to_owned());
        error.insert(ContextKind::SuggestedArg, similar);
    }
    error.exit()
}

/// The option that takes a value and stands right before a word that begins like this one.
fn option_before(unknown: &str, words: &[String]) -> Option<String> {
    let at = words.iter().position(|word| word.starts_with(unknown))?;
    let before = words.get(at.checked_sub(1)?)?;
    let definition = definition();
    let mut options = definition.get_arguments().filter(|arg| arg.get_action().takes_values());
    let is_it = |arg: &Arg| {
        arg.get_long().is_some_and(|long| *before == format!("--{long}"))
            || arg
                .get_short_and_visible_aliases()
                .is_some_and(|shorts| shorts.iter().any(|short| *before == format!("-{short}")))
    };
    options.any(is_it).then(|| before.clone())
}

/// The lines of --init and --notify, in the order they were given.
fn first_lines(matches: &ArgMatches) -> Vec<(String, bool)> {
    let lines = |name: &str, has_reply: bool| {
        let indices = matches.indices_of(name).into_iter().flatten();
        let lines = matches.get_many::<String>(name).into_iter().flatten();
        indices.zip(lines.map(|line| (line.clone(), has_reply))).collect::<Vec<_>>()
    };
    let mut all = lines("init", true);
    all.extend(lines("notify", false));
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, line)| line).collect()
}

/// What was given on the command line, whether or not it says what is the default.
pub fn given(matches: &ArgMatches) -> Vec<String> {
    let is_given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let definition = definition();
    let ids = definition.get_arguments().map(|arg| arg.get_id().as_str());
    ids.filter(is_given).map(str::to_owned).collect()
}

/// The definition of the command line, for the man page and the completions.
pub fn definition() -> clap::Command {
    // A negative number is a wrong value of its option, not an option that does not exist.
    Options::command().mut_args(|arg| {
        let is_option = arg.get_long().is_some() && arg.get_action().takes_values();
        let names = arg.get_value_names().unwrap_or_default();
        let is_amount = names.iter().any(|name| {
            let is_number = *name == "N" || name.starts_with("N|") || name.starts_with("N/");
            is_number || name.contains("TIME") || name.contains("SIZE")
        });
        if is_option && is_amount {
            arg.allow_hyphen_values(true)
        } else if is_option {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    })
}

/// How many lines make a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxArgs {
    Lines(usize),
    /// As many as a command can take.
    Max,
}

/// A kind of failure that may pass.
#[derive(Clone, Copy, Debug)]
pub struct RetryOn(pub Kind);

fn parse_kind(text: &str) -> Result<RetryOn, String> {
    let kind = Kind::PASSING.into_iter().find(|kind| kind.name() == text).map(RetryOn);
    kind.ok_or_else(|| {
        let names: Vec<_> = Kind::PASSING.iter().map(|kind| kind.name()).collect();
        format!("expected one or more of {}", names.join(", "))
    })
}

/// What `--halt` says; never is something, too.
#[derive(Clone, Copy, Debug)]
pub struct HaltOption(pub Option<Halt>);

fn parse_halt_option(text: &str) -> Result<HaltOption, String> {
    parse_halt(text).map(HaltOption)
}

/// A number of processes, or one that depends on the number of CPUs; 0: as many as there can be.
fn parse_count(text: &str) -> Result<usize, String> {
    let cpus = num_cpus::get();
    let is_signed = |text: &str| text.starts_with('+') || text.starts_with('-');
    let count = match (text.strip_suffix('%'), text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(percent), ..) => percent
            .parse()
            .ok()
            .filter(|&percent| percent > 0)
            .map(|percent: usize| (cpus.saturating_mul(percent) / 100).max(1)),
        (_, Some(more), _) => more.parse().ok().map(|more: usize| cpus.saturating_add(more)),
        (.., Some(less)) => less.parse().ok().map(|less: usize| cpus.saturating_sub(less).max(1)),
        _ => text.parse().ok(),
    };
    let count = count.filter(|_| !text.get(1..).is_some_and(is_signed));
    count.filter(|count| *count <= MOST_PROCS).ok_or_else(|| {
        format!(
            "expected a whole number from 1 to {MOST_PROCS}, 0 (as many as the system allows), or \
             50%, +1 or -1 (of the CPUs)"
        )
    })
}

fn parse_max_args(text: &str) -> Result<MaxArgs, String> {
    match (text, text.parse()) {
        ("max", _) => Ok(MaxArgs::Max),
        (_, Ok(lines @ 1..)) => Ok(MaxArgs::Lines(lines)),
        _ => Err("expected a number of lines, 1 or more, or max".into()),
    }
}

/// A byte, or an escape that xargs knows.
fn parse_delimiter(text: &str) -> Result<u8, String> {
    let byte = match (text.as_bytes(), text.strip_prefix('\\')) {
        (&[byte], _) => Some(byte),
        (_, Some(escape)) => parse_escape(escape),
        _ => None,
    };
    byte.ok_or_else(|| {
        "expected one character (a byte), or \\n, \\r, \\t, \\0, \\\\, \\xHH or \\OOO (octal)"
            .into()
    })
}

/// What stands behind a backslash.
fn parse_escape(text: &str) -> Option<u8> {
    let number = |digits: &str, radix| {
        let is_number =
            (1..=3).contains(&digits.len()) && digits.chars().all(|c| c.is_digit(radix));
        u8::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    match (text, text.strip_prefix('x')) {
        ("a", _) => Some(0x07),
        ("b", _) => Some(0x08),
        ("t", _) => Some(b'\t'),
        ("n", _) => Some(b'\n'),
        ("v", _) => Some(0x0b),
        ("f", _) => Some(0x0c),
        ("r", _) => Some(b'\r'),
        ("\\", _) => Some(b'\\'),
        (_, Some(hex)) => number(hex, 16),
        (octal, None) => number(octal, 8),
    }
}

fn parse_timeout(text: &str) -> Result<Timeout, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return procpool::parse_duration(text).map(Timeout::Time);
    };
    let percent =
        percent.parse().ok().filter(|percent: &f64| percent.is_finite() && *percent > 0.0);
    let times = percent.map(|percent| Timeout::Median(percent / 100.0));
    times.ok_or_else(|| "expected a percentage of the median above 0, such as 300%".into())
}

/// How long must pass between two starts.
fn parse_rate(text: &str) -> Result<Duration, String> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => 0.0,
    };
    let count = count
        .parse::<f64>()
        .ok()
        .filter(|&count: &f64| count.is_finite() && count > 0.0 && seconds > 0.0);
    let interval = count.and_then(|count| Duration::try_from_secs_f64(seconds / count).ok());
    interval.ok_or_else(|| "expected so many a second, minute or hour: 10/s, 100/m, 1000/h".into())
}

fn parse_load(text: &str) -> Result<f64, String> {
    let load = text.parse().ok().filter(|load: &f64| load.is_finite() && *load > 0.0);
    load.ok_or_else(|| "expected a load average such as 4 or 2.5".into())
}

fn parse_depth(text: &str) -> Result<Depth, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Depth::Auto),
        (_, Ok(depth)) if depth > 0 => Ok(Depth::Fixed(depth)),
        _ => Err("expected a whole number, 1 or more, or auto".into()),
    }
}

/// A number of bytes, with an optional suffix K, M or G (powers of 1024).
fn parse_size(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "expected a number of bytes, 1 or more, such as 65536, 64K or 64M".into())
}

/// Says how the command line was misused, and ends the process with status 2.
pub fn misused(message: &str) -> ! {
    definition().error(ErrorKind::ArgumentConflict, message).exit()
}
