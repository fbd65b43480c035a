//! The options of the heading Workers: how workers are started, spoken to and fed.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use procpool::engine::Depth;
use procpool::engine::protocol::PROTOCOLS;

use super::exchange::ExchangeOptions;
use super::values::{self};

#[derive(Debug, Args)]
pub struct WorkerOptions {
    /// Command line of the worker to start; no shell is run
    ///
    /// The command line is split into words as a shell splits it. The environment of a worker has
    /// PROCPOOL_SLOT, PROCPOOL_GENERATION and PROCPOOL_PROTOCOL, and PYTHONUNBUFFERED=1 if that variable
    /// is not set. Several workers need names: -w NAME=CMDLINE. A job names its worker in cmd, or in the
    /// key `worker`, and then cmd names the function. Each worker has up to -j processes. Slots are numbered
    /// across all workers: two workers with -j2 have the slots 1 to 4. A worker and its replacement have the
    /// same PROCPOOL_SLOT for a while, unless --standby is 0.
    #[arg(short, long, value_name = "CMDLINE", value_hint = ValueHint::CommandString)]
    pub worker: Vec<String>,

    /// Protocol of the worker: jsonl, raw, jsonrpc, bazel or dap
    ///
    /// jsonl: requests and replies are lines of JSON, as shown above. raw: procpool sends each input
    /// line unchanged, and the line that comes back is the result, as with jq --unbuffered or sed -u.
    /// jsonrpc: JSON-RPC 2.0, where cmd is the method and args are the params. MCP servers speak it,
    /// and language servers speak it with --framing content-length. bazel: the protocol of Bazel's
    /// persistent workers, where the elements of args are the arguments. dap: the Debug Adapter Protocol,
    /// where cmd is the command and args are its arguments.
    #[arg(long, value_name = "NAME", default_value = "jsonl", value_parser = PossibleValuesParser::new(PROTOCOLS.iter().map(|protocol| protocol.name)), hide_possible_values = true)]
    pub protocol: String,

    #[command(flatten)]
    pub exchange: ExchangeOptions,

    /// Give the worker, or each command, a pseudo-terminal to write to
    ///
    /// Most programs buffer their output when they write to a pipe. On a terminal they write each line at
    /// once. A worker writes its stdout to the pseudo-terminal, with TERM=dumb and NO_COLOR=1. A command writes
    /// its stdout and its stderr to it, so procpool prints both on stdout. The size is that of procpool's
    /// terminal, or 80x24. With --live you see the output of a command as it prints it.
    #[arg(hide_short_help = true, long)]
    pub pty: bool,

    /// Send jobs with equal KEYs to the same worker
    ///
    /// The worker can then reuse a cache or a session. KEY is the name of a field of args, the number of an
    /// argument, or a text with placeholders ({user}-{1}). Jobs without the key go to all workers in turn.
    /// The replacement of a worker gets the same keys.
    #[arg(hide_short_help = true, long, value_name = "KEY")]
    pub route: Option<String>,

    /// Send each new worker this job line first; may be repeated
    ///
    /// Use it for handshakes and to fill caches. With --protocol raw the line is sent unchanged. The
    /// first real job waits for the reply. A worker that replies with an error has failed to start.
    #[arg(hide_short_help = true, long, value_name = "LINE")]
    pub init: Vec<String>,

    /// Send each new worker this message, which has no reply (jsonrpc, raw)
    ///
    /// With jsonrpc it is a notification, such as initialized. With raw it is a command that prints
    /// nothing. --init and --notify lines are sent in the order in which you give them.
    #[arg(hide_short_help = true, long, value_name = "LINE")]
    pub notify: Vec<String>,

    /// Run at most N jobs at a time [default: the number of CPUs]
    ///
    /// Each running job has a process of its own. N may depend on the number of CPUs: 50%, +1 or -1. 0 means
    /// as many as the limits of the system for open files and processes allow. A worker is started only
    /// when a job waits and no worker is idle. With @FILE, N is the number in FILE. procpool reads FILE once a
    /// second, so that you can change N during the run. A smaller N ends no running job.
    #[arg(short = 'j', long, visible_short_alias = 'P', alias = "jobs", value_name = "N|@FILE", value_parser = values::count_or_file, allow_hyphen_values = true)]
    pub max_procs: Option<usize>,

    /// Start N workers before the first job, -j at most
    ///
    /// Otherwise a worker is started when a job waits and no worker is idle.
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 0, value_parser = values::whole::<usize>)]
    pub prestart: usize,

    /// Number of requests that a worker has at a time, or auto [default: 1; for code: auto]
    ///
    /// By default, a worker gets the next request when it has answered the last one, because many workers
    /// cannot handle two requests at once. If yours reads line by line, a larger number makes short jobs
    /// many times faster. With auto, each worker has a few milliseconds of work: thousands of short jobs, or
    /// one long job. If a worker runs several jobs at a time (async functions, promises), it
    /// has N of them, or at least 16 with auto. No worker gets a second job while another is idle.
    #[arg(long, value_name = "N|auto", value_parser = values::depth)]
    pub pipeline: Option<Depth>,

    /// Replace a worker after N jobs; 0: never
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::whole::<u64>)]
    pub max_reqs: u64,

    /// End the run after N failed starts in a row; 0: never [default: 5; for code: 1]
    ///
    /// A start has failed when the worker can't be started, or dies before it has read a request. No
    /// job fails because of it: the next worker gets the job. Any reply of any worker resets the count.
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = values::whole::<u32>)]
    pub start_limit: Option<u32>,

    /// Time limit for the start of a worker
    ///
    /// A worker has started when it has answered --init and read its first request. If that takes longer,
    /// procpool ends the worker, and the start has failed. No job fails because of it. 0: no limit.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "5m", value_parser = procpool::engine::parse_duration)]
    pub start_timeout: Duration,

    /// Size limit of a reply
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). If a worker prints a longer reply, the job
    /// fails, and procpool replaces the worker.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", value_parser = values::size)]
    pub max_reply: usize,
}
