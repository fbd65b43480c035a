//! The options of the heading Failures: timeouts, retries, and what ends the run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use procpool::engine::{ExitSet, Timeout};

use super::values::{self, HaltOption, RetryOn};

#[derive(Debug, Args)]
pub struct FailureOptions {
    /// End a job that takes longer, with its processes; the job fails
    ///
    /// A number of seconds, or a duration such as 500ms or 1m30s. 0: no limit. 300%: three times the
    /// median of the jobs that have succeeded, as soon as there are three of them. The time of a job
    /// begins when its worker has read the request: --start-timeout limits the start of a worker. All
    /// processes in the process group of the worker or command get TERM, and KILL after --grace.
    #[arg(long, value_name = "TIME|N%", value_parser = values::timeout)]
    pub timeout: Option<Timeout>,

    /// End a job whose worker or command prints nothing for TIME
    ///
    /// Any output on stdout or stderr counts, and so do a worker's messages about progress. The job fails with
    /// the kind timeout. 0: no limit.
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = procpool::engine::parse_duration)]
    pub silence: Option<Duration>,

    /// Kill a job whose processes use more memory than SIZE; the job fails
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). All processes in the process group of the
    /// worker or command count while it has a job, and memory that they share counts once. It is measured
    /// every 0.1 s, so a job may use more for a moment. The job fails with the kind memory.
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = values::size)]
    pub max_memory: Option<usize>,

    /// Report a job that has run for TIME, while it runs; 0 or never: don't
    ///
    /// procpool reports the job once, on stderr, with its slot and its process. The default is 60s if stderr is
    /// a terminal, and never otherwise.
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = values::slow)]
    pub slow: Option<Duration>,

    /// Try a failed job again, up to N times
    ///
    /// Any worker can take the next attempt. The result has the number of attempts. The `retries` of a
    /// job line override this.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::whole::<u32>)]
    pub retries: u32,

    /// Failures after which a job is tried again
    ///
    /// error (reply of a worker), exit (status of a command), crash, timeout, protocol, spawn (a
    /// command could not be started), memory (more than --max-memory).
    #[arg(hide_short_help = true, long, value_name = "KIND", value_delimiter = ',', default_value = "error,exit,crash,timeout,protocol", value_parser = values::kind)]
    pub retry_on: Vec<RetryOn>,

    /// Count these exit statuses of a command as a success, besides 0: 1, or 1,3-5
    ///
    /// grep exits with 1 if it finds nothing: --ok-exit 0,1.
    #[arg(hide_short_help = true, long, value_name = "LIST", conflicts_with = "worker")]
    pub ok_exit: Option<ExitSet>,

    /// Do not retry if the command ended with one of these exit statuses
    ///
    /// curl -f exits with 22 if the server has no such page: --retries 3 --no-retry-exit 22.
    #[arg(hide_short_help = true, long, value_name = "LIST", conflicts_with = "worker")]
    pub no_retry_exit: Option<ExitSet>,

    /// Wait before the second attempt of a job
    ///
    /// The wait doubles before each further attempt, up to one minute. Each wait is shorter or longer by up
    /// to a half, at random.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "0.1s", value_parser = procpool::engine::parse_duration)]
    pub retry_delay: Duration,

    /// Write the input lines of failed jobs to FILE, to run them again
    ///
    /// procpool writes the lines unchanged, and replaces FILE when the run is over. FILE may be the input:
    /// then lines that were not run stay in it, however the run ends. If FILE is not the input, it does not get
    /// lines that were not run, and lines that are longer than --max-line.
    #[arg(hide_short_help = true, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub failed: Option<PathBuf>,

    /// Time that a process has to end before it is killed
    ///
    /// After the first Ctrl-C, running jobs have this time to finish. Then they get TERM, and KILL after
    /// the same time again. If a command leaves a process running that holds stdout or stderr open, the
    /// job is over when that process has printed nothing for this time. The process continues to run.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "5s", value_parser = procpool::engine::parse_duration)]
    pub grace: Duration,

    /// End the run when jobs fail: now,fail=1 or soon,fail=10%
    ///
    /// WHEN is written as in GNU parallel: now (end running jobs) or soon (let running jobs finish);
    /// then fail, success or done; then a number of jobs, or a percentage of all jobs. A percentage has no
    /// effect before all input has been read, because the number of jobs is not known before that. Jobs that
    /// were not run have no result. Their number is printed on stderr, and the exit status is not 0.
    #[arg(long, value_name = "WHEN", value_parser = values::halt_option, allow_hyphen_values = true)]
    pub halt: Option<HaltOption>,

    /// End the run at the first failed job: --halt now,fail=1
    #[arg(long, conflicts_with = "halt")]
    pub fail_fast: bool,
}
