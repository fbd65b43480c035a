//! The command line (clap) → [`Options`]. Nothing else knows clap.
//!
//! Parsing only validates: every option is resolved here, once, into plain data.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, CommandFactory, Parser, ValueEnum, ValueHint};
use procpool::Depth;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default());

const ABOUT: &str = "xargs with warm workers";

const LONG_ABOUT: &str = "\
procpool reads jobs, a line each, and hands them to a pool of worker processes that stay \
alive between jobs. Results are printed to stdout, one a line, in the order of the input.

A worker is any program that reads a request, a line of JSON, from its stdin and prints a reply, \
a line of JSON, to its stdout:

    {\"id\":17,\"cmd\":\"resize\",\"args\":[\"a.png\"]}   the request
    {\"id\":17,\"result\":\"done\"}                   the reply, or
    {\"id\":17,\"error\":\"no such file\"}            the reply of a job that failed

It flushes its stdout after each reply, exits when its stdin ends, and keeps diagnostics on stderr.";

const EXAMPLES: &str = "\
Examples:
  procpool --max-procs 4 --worker ./handler < jobs.jsonl
  find . -name '*.png' | procpool --worker ./handler resize
  tail -f queue.jsonl | procpool --worker 'python3 handler.py' --timeout 30s

Jobs, when no COMMAND is given, a line each:
  {\"cmd\":\"resize\",\"args\":[\"a.png\",{\"w\":100}],\"id\":\"j1\"}
  resize [\"a.png\", {\"w\":100}]

Exit status:
  0 all jobs succeeded; 1 some failed; 2 wrong usage; 125 procpool itself failed;
  126 the worker cannot be run; 127 it is not found; 128+N ended by signal N";

/// More workers than this no machine has room for.
const MOST_PROCS: usize = 65_536;

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
    /// With a COMMAND each input line is the args of one job of it, as --input says, and the ARGs
    /// stand before them. Without one, each input line is a whole job. Options go before COMMAND:
    /// all that follows it belongs to it.
    #[arg(value_name = "COMMAND", num_args = 0.., value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,

    /// The worker to start: its command line, split as a shell does
    ///
    /// The command line is split into words as a shell would split it, but no shell is run. A
    /// worker finds PROCPOOL_SLOT, PROCPOOL_GENERATION and PROCPOOL_PROTOCOL in its environment,
    /// and PYTHONUNBUFFERED=1 where that is not set.
    #[arg(short, long, value_name = "CMDLINE", help_heading = "Workers", value_hint = ValueHint::CommandString)]
    pub worker: Option<String>,

    /// At most N workers at a time [default: the number of CPUs]
    ///
    /// A worker is started only when a job waits and no idle worker is there to take it.
    #[arg(short = 'j', long, visible_short_alias = 'P', value_name = "N", help_heading = "Workers", value_parser = parse_count)]
    pub max_procs: Option<usize>,

    /// Requests in flight at each worker: a number, or auto
    ///
    /// With one, the default, a worker gets its next request when it has answered the last. More
    /// make short jobs many times faster, but not every worker can deal with two requests that
    /// arrive at once. auto keeps a few milliseconds of work waiting at each worker: thousands of
    /// short jobs, or a single long one.
    #[arg(long, value_name = "N|auto", default_value = "1", help_heading = "Workers", value_parser = parse_depth)]
    pub pipeline: Depth,

    /// Replace a worker after N jobs; 0: never
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Recycling")]
    pub max_reqs: u64,

    /// Give each worker up to N jobs more than that, at random
    ///
    /// So workers that were started together are not all replaced together.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "max_reqs",
        help_heading = "Recycling"
    )]
    pub max_reqs_jitter: u64,

    /// Replace a worker that has lived for TIME, once it has no job
    #[arg(long, value_name = "TIME", help_heading = "Recycling", value_parser = procpool::parse_duration)]
    pub max_age: Option<Duration>,

    /// Replace a worker that holds more memory than SIZE, once it has no job
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). What counts is the worker's own
    /// resident memory, not that of its children. It is looked at between jobs.
    #[arg(long, value_name = "SIZE", help_heading = "Recycling", value_parser = parse_size)]
    pub max_rss: Option<usize>,

    /// End a worker that has had no job for TIME
    #[arg(long, value_name = "TIME", help_heading = "Recycling", value_parser = procpool::parse_duration)]
    pub idle_timeout: Option<Duration>,

    /// At most N replacements started ahead of need [default: one per worker]
    ///
    /// A worker whose time is nearly over is replaced by one that has started already, so that no
    /// job waits. With 0 it is stopped first, and the next one is started then.
    #[arg(long, value_name = "N", help_heading = "Recycling")]
    pub standby: Option<usize>,

    /// End the run after N failed start-ups in a row; 0: never
    ///
    /// A start-up has failed when the worker can't be started, or dies before it has read a request.
    /// No job is charged with that: the next worker gets it. The count starts again with every
    /// reply of any worker.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Workers")]
    pub start_limit: u32,

    /// The longest reply that a worker may give
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). A worker that prints a longer one is
    /// replaced, and its job fails.
    #[arg(long, value_name = "SIZE", default_value = "64M", help_heading = "Workers", value_parser = parse_size)]
    pub max_reply: usize,

    /// Read jobs from FILE instead of stdin; may be repeated
    #[arg(short = 'a', long, value_name = "FILE", help_heading = "Input", value_hint = ValueHint::FilePath)]
    pub arg_file: Vec<PathBuf>,

    /// What a COMMAND's lines are
    ///
    /// With a COMMAND each line is the args of one job of it: one string, or any JSON.
    #[arg(long, value_name = "FORMAT", help_heading = "Input", value_enum, default_value_t = InputFormat::Lines)]
    pub input: InputFormat,

    /// Lines end with a NUL byte instead of a newline
    #[arg(short = '0', long, help_heading = "Input")]
    pub null: bool,

    /// The longest input line
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). A longer line is an invalid job; it
    /// is skipped without being held in memory.
    #[arg(long, value_name = "SIZE", default_value = "64M", help_heading = "Input", value_parser = parse_size)]
    pub max_line: usize,

    /// How results look
    #[arg(long, value_name = "FORMAT", help_heading = "Output", value_enum, default_value_t = Format::Record)]
    pub format: Format,

    /// Add seq, cmd, args, slot, pid, attempt, start and seconds to records
    #[arg(long, help_heading = "Output")]
    pub detail: bool,

    /// Print each result as its job finishes, not in input order
    #[arg(long, help_heading = "Output")]
    pub stream: bool,

    /// Print results in input order: the default
    #[arg(short = 'k', long, help_heading = "Output", conflicts_with = "stream")]
    pub keep_order: bool,

    /// Memory for results that wait for their turn
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). More results go to a temporary file,
    /// which is made in TMPDIR and has no name, so that nothing of it is left behind.
    #[arg(long, value_name = "SIZE", default_value = "64M", help_heading = "Output", value_parser = parse_size)]
    pub buffer: usize,

    /// Show a progress line
    ///
    /// It is drawn on stderr, and vanishes at the end. Where stderr is no terminal and it is asked
    /// for, a line is printed every few seconds.
    #[arg(long, value_name = "WHEN", help_heading = "Output", value_enum, default_value_t = When::Auto)]
    pub progress: When,

    /// End a worker whose job takes longer; the job fails
    ///
    /// A number of seconds, or a duration such as 500ms or 1m30s; 0: no limit. The worker's whole
    /// process group is ended: TERM, then KILL after --grace.
    #[arg(long, value_name = "TIME", help_heading = "Failures", value_parser = procpool::parse_duration)]
    pub timeout: Option<Duration>,

    /// How long a worker may take to end before it is killed
    ///
    /// This is also how long running jobs may go on after the first Ctrl-C.
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = "Failures", value_parser = procpool::parse_duration)]
    pub grace: Duration,

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
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a job, failed jobs too
    Record,
    /// The bare result as JSON; failures go to stderr
    Value,
    /// Strings as they are, other results as JSON; failures go to stderr
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

/// The definition of the command line, for the man page and the completions.
pub fn definition() -> clap::Command {
    Options::command()
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=MOST_PROCS) => Ok(count),
        _ => Err(format!("expected a whole number from 1 to {MOST_PROCS}")),
    }
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
    definition().error(clap::error::ErrorKind::ArgumentConflict, message).exit()
}
