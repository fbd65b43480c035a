//! The options of the heading Workers: how workers are started, spoken to and fed.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use procpool::Depth;
use procpool::protocol::PROTOCOLS;
use procpool::protocol::framing::FRAMINGS;

use super::values::{self};

#[derive(Debug, Args)]
pub struct WorkerOptions {
    /// The worker to start: its command line, split as a shell does
    ///
    /// The command line is split into words as a shell would split it, but no shell is run. A
    /// worker finds PROCPOOL_SLOT, PROCPOOL_GENERATION and PROCPOOL_PROTOCOL in its environment,
    /// and PYTHONUNBUFFERED=1 where that is not set. Several workers have names, -w NAME=CMDLINE: a
    /// job's cmd, or its key `worker`, says which one it is for. Each of them has up to -j
    /// processes; their slots are numbered on, 1 to 4 for two workers with -j2. A worker and its
    /// replacement have the same PROCPOOL_SLOT for a while, unless --standby is 0.
    #[arg(short, long, value_name = "CMDLINE", value_hint = ValueHint::CommandString)]
    pub worker: Vec<String>,

    /// How it is spoken to: jsonl, raw, jsonrpc or bazel
    ///
    /// jsonl: requests and replies are lines of JSON, as shown above. raw: each input line is sent as
    /// it is, and the line that comes back is its result, as of jq --unbuffered or sed -u.
    /// jsonrpc: JSON-RPC 2.0, cmd is the method and args are the params: MCP servers, and
    /// language servers with --framing content-length. bazel: Bazel's persistent workers; array args
    /// are the arguments.
    #[arg(long, value_name = "NAME", default_value = "jsonl", value_parser = PossibleValuesParser::new(PROTOCOLS.iter().map(|protocol| protocol.name)), hide_possible_values = true)]
    pub protocol: String,

    /// Where messages begin and end [default: the protocol's own]
    ///
    /// line, nul: a newline or a NUL byte ends a message. u16, u32, u32le: its length stands before it
    /// (big-endian; le: little-endian), varint: as protocol buffers write it, content-length:
    /// as of HTTP, netstring: 5:hello, and json: one JSON value after the other.
    #[arg(hide_short_help = true, long, value_name = "NAME", value_parser = PossibleValuesParser::new(FRAMINGS.iter().map(|framing| framing.name)), hide_possible_values = true)]
    pub framing: Option<String>,

    /// A reply is N messages instead of one (raw, with line or nul)
    ///
    /// For programs that print several fields or lines for each that they read, such as 3 for git
    /// check-attr -z with one attribute. They are one result, with what separates them.
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 1)]
    pub reply_messages: usize,

    /// Give the worker a terminal for its stdout
    ///
    /// Most programs hold their output back in a buffer when they write to a pipe, and so never seem
    /// to answer. To a terminal they write each line at once. TERM is dumb there, and NO_COLOR set.
    #[arg(hide_short_help = true, long)]
    pub pty: bool,

    /// Send jobs with equal KEYs to the same worker
    ///
    /// So that a cache or a session there is of use. KEY is the name of a field of the args or the
    /// number of an arg, or text with placeholders ({user}-{1}). Jobs without it are dealt out in turn.
    /// A worker that has died is replaced by one that gets the same keys.
    #[arg(hide_short_help = true, long, value_name = "KEY")]
    pub route: Option<String>,

    /// Send each fresh worker this job line first; may be repeated
    ///
    /// Handshakes, warming caches. With --protocol raw the line is sent as it is. Its reply is awaited before the first real job. A worker that
    /// replies with an error has failed to start.
    #[arg(hide_short_help = true, long, value_name = "LINE")]
    pub init: Vec<String>,

    /// The same for a message that has no reply (jsonrpc, raw)
    ///
    /// A notification, such as initialized; with raw, a command that prints nothing. It is sent where it stands among those of --init.
    #[arg(hide_short_help = true, long, value_name = "LINE")]
    pub notify: Vec<String>,

    /// At most N jobs at a time, each in a process [default: the number of CPUs]
    ///
    /// Also relative to the number of CPUs: 50%, +1, -1. 0: as many as the limits of the system for
    /// open files and processes allow. A worker is started only when a job waits and no idle worker
    /// is there to take it.
    #[arg(short = 'j', long, visible_short_alias = 'P', value_name = "N", value_parser = values::count, allow_hyphen_values = true)]
    pub max_procs: Option<usize>,

    /// Requests in flight at each worker, or auto [default: 1; for code: auto]
    ///
    /// With one, the default, a worker gets its next request when it has answered the last. More
    /// make short jobs many times faster, but not every worker can deal with two requests that
    /// arrive at once. auto keeps a few milliseconds of work waiting at each worker: thousands of
    /// short jobs, or a single long one.
    #[arg(long, value_name = "N|auto", value_parser = values::depth)]
    pub pipeline: Option<Depth>,

    /// Replace a worker after N jobs; 0: never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_reqs: u64,

    /// End the run after N failed start-ups in a row; 0: never [default: 5; for code: 1]
    ///
    /// A start-up has failed when the worker can't be started, or dies before it has read a request.
    /// No job is charged with that: the next worker gets it. The count starts again with every
    /// reply of any worker.
    #[arg(hide_short_help = true, long, value_name = "N")]
    pub start_limit: Option<u32>,

    /// How long a worker may take to start
    ///
    /// Until it has read its first request and, before that, answered --init. A start that takes
    /// longer has failed: the worker is ended and no job is charged with that. 0: no limit.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "5m", value_parser = procpool::parse_duration)]
    pub start_timeout: Duration,

    /// The longest reply that a worker may give
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). A worker that prints a longer one is
    /// replaced, and its job fails.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", value_parser = values::size)]
    pub max_reply: usize,
}
