//! The options of the heading Failures: timeouts, retries, and what ends the run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use procpool::Timeout;

use super::values::{self, HaltOption, RetryOn};

#[derive(Debug, Args)]
pub struct FailureOptions {
    /// End a job that takes longer, and its process; it fails
    ///
    /// A number of seconds, or a duration such as 500ms or 1m30s; 0: no limit. 300%: three times the
    /// median of the jobs that have succeeded, once there are three of them. The time of a job begins
    /// when its worker has read the request: a worker's start has a limit of its own,
    /// --start-timeout. The whole process group of its worker or command is ended: TERM, then KILL
    /// after --grace.
    #[arg(long, value_name = "TIME|N%", value_parser = values::timeout)]
    pub timeout: Option<Timeout>,

    /// Try a job that failed again, up to N times
    ///
    /// By whichever worker is free. The result tells the attempts. A job's own `retries` override
    /// this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,

    /// The failures after which a job is tried again
    ///
    /// error (the worker's reply), exit (a command's status), crash, timeout, protocol, spawn (a
    /// command could not be started).
    #[arg(hide_short_help = true, long, value_name = "KIND", value_delimiter = ',', default_value = "error,exit,crash,timeout,protocol", value_parser = values::kind)]
    pub retry_on: Vec<RetryOn>,

    /// How long a job waits for its second try
    ///
    /// Twice as long before each further one, a minute at most, and up to a half more or less at
    /// random.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "0.1s", value_parser = procpool::parse_duration)]
    pub retry_delay: Duration,

    /// Write the input lines of failed jobs to FILE, to be fed in again
    ///
    /// As they stood in the input. FILE is replaced when the run is over. It may be the input: then
    /// lines that were not run stay in it, however the run ends. Of other inputs, lines of a job that
    /// was not run at all, or that were longer than --max-line, are not among them.
    #[arg(hide_short_help = true, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub failed: Option<PathBuf>,

    /// How long a process may take to end before it is killed
    ///
    /// This is also how long running jobs may go on after the first Ctrl-C. Then they get TERM, and KILL
    /// after as long again. And it is how long what a command has left running may be silent while it
    /// holds stdout or stderr open: then the job is over, and that lives on.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "5s", value_parser = procpool::parse_duration)]
    pub grace: Duration,

    /// End the run when jobs fail: now,fail=1 or soon,fail=10%
    ///
    /// GNU parallel's words: now (running jobs are ended) or soon (they may finish), then fail,
    /// success or done, then a number of jobs or a percentage of all, which is known once all input
    /// has been read. Jobs that were not run have no result; their number is said on stderr, and the
    /// status is not 0.
    #[arg(long, value_name = "WHEN", value_parser = values::halt_option, allow_hyphen_values = true)]
    pub halt: Option<HaltOption>,

    /// End the run at the first job that fails: --halt now,fail=1
    #[arg(long, conflicts_with = "halt")]
    pub fail_fast: bool,
}

impl FailureOptions {
    /// Whether something that these options ask for needs each job by itself. (All options are listed here:
    /// a new one does not compile before it says so.)
    pub fn wants_each_job(&self) -> bool {
        let Self {
            timeout,
            retries,
            failed,
            halt,
            fail_fast,
            retry_on: _,
            retry_delay: _,
            grace: _,
        } = self;
        timeout.is_some() || *retries > 0 || failed.is_some() || halt.is_some() || *fail_fast
    }
}
