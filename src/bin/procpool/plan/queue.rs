//! The options that have an effect in a run with a queue, and how its lines are read.

use super::invocation::Invocation;
use super::misuse::Misuse;
use crate::cli::Options;
use crate::cli::queue::QueueRole;

/// Options of a queue that have no effect without a queue.
const ALONE: &[&str] = &["run", "drain", "queue_limit", "ack_wait", "replicas", "queue_timeout"];

/// Options that have no effect where jobs are only submitted: they are for the machines that run jobs.
const RUNNERS: &[&str] = &[
    "max_procs",
    "pipeline",
    "max_reqs",
    "start_limit",
    "start_timeout",
    "max_reply",
    "max_reqs_jitter",
    "max_age",
    "max_rss",
    "idle_timeout",
    "standby",
    "init",
    "notify",
    "pty",
    "route",
    "env",
    "cwd",
    "confirm",
    "dry_run",
    "live",
    "hosts",
    "launcher",
    "before",
    "slurm",
    "host_timeout",
    "no_rerun",
    "delay",
    "rate",
    "max_load",
    "min_free_memory",
    "nice",
    "slow",
    "retry_on",
    "prestart",
    "cpu_affinity",
    "tty",
    "max_memory",
    "silence",
    "ok_exit",
    "no_retry_exit",
    "reply_end",
    "keep_end",
    "before_request",
    "after_request",
    "banner",
    "fail_on",
    "retry_delay",
];

/// Options, besides [`PRINTERS`], that have no effect where jobs are run: they are for the machine that submits jobs.
const SUBMITTERS: &[&str] = &[
    "arg_file",
    "block",
    "shuf",
    "link",
    "arg_sep",
    "arg_file_sep",
    "bar",
    "eta",
    "tty",
    "header",
    "max_args",
    "delimiter",
    "null",
    "max_line",
    "no_run_if_empty",
    "live",
    "run",
    "queue_limit",
    "confirm",
    "dry_run",
    "hosts",
    "launcher",
    "before",
    "slurm",
    "host_timeout",
    "no_rerun",
    "route",
];

/// Options about results: they have an effect only where results are printed.
const PRINTERS: &[&str] = &[
    "format",
    "tag_string",
    "newline",
    "tag",
    "detail",
    "stream",
    "keep_order",
    "buffer",
    "report",
    "trace",
    "results",
    "joblog",
    "failed",
    "halt",
    "fail_fast",
    "journal",
    "resume",
    "fsync",
    "summary",
];

/// Checks that each given option has an effect with the queue, or without one.
pub fn check(invocation: &Invocation<'_>) -> Result<(), Misuse> {
    let options = invocation.options;
    let refuse = |ids: &[&str], why: &str| match first(options, ids) {
        Some(id) => Err(Misuse::new(format!("--{} {why}", id.replace('_', "-")))),
        None => Ok(()),
    };
    let Some((role, _)) = options.queue.role() else {
        return refuse(ALONE, "is for a queue: give --to, --from or --via as well");
    };
    match role {
        QueueRole::From => {
            if !invocation.lists.is_empty() {
                return Err("args after ::: are for the machine that submits jobs: leave them out with --from".into());
            }
            let why = "is for the machine that submits jobs: leave it out with --from";
            refuse(SUBMITTERS, why)?;
            refuse(PRINTERS, why)
        }
        QueueRole::To => {
            refuse(RUNNERS, "is for the machines that run the jobs: give it there, with --from")?;
            let why = "has no effect with --to, which prints no results: leave it out";
            refuse(PRINTERS, why)?;
            // The submitter has no jobs that could get time to end.
            refuse(&["grace"], why)
        }
        QueueRole::Via => {
            if options.input.header && !invocation.has_workers() && !invocation.words.is_empty() {
                return Err(
                    "--header has no effect on a COMMAND that others run: use --input json".into(),
                );
            }
            refuse(RUNNERS, "is for the machines that run the jobs: give it there, with --from")
        }
    }
}

/// The first of these options that was given.
fn first<'a>(options: &Options, ids: &[&'a str]) -> Option<&'a str> {
    ids.iter().copied().find(|id| options.line.given.iter().any(|given| given == id))
}

/// Whether the machines that run the jobs decide how a line is read, because no option here says it.
pub fn is_open(invocation: &Invocation<'_>) -> bool {
    let options = invocation.options;
    options.queue.submits() && invocation.words.is_empty() && !invocation.has_workers()
}
