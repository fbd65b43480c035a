//! Plain settings: what a pool is told once, when it is built.

use std::ffi::OsString;
use std::time::Duration;

/// The settings of a pool, with their defaults. Made by [`crate::Builder`].
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The worker's program and its arguments, never empty.
    pub(crate) worker: Vec<OsString>,
    /// Additions to the worker's environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// At most so many workers at a time, at least 1.
    pub(crate) max_procs: usize,
    /// A worker is replaced after so many jobs; 0: never.
    pub(crate) max_reqs: u64,
    /// How long a job may take, unless it says so itself.
    pub(crate) timeout: Option<Duration>,
    /// How long a worker may take to end before it is killed.
    pub(crate) grace: Duration,
    /// So many start-up failures in a row are one too many; 0: no limit.
    pub(crate) start_limit: u32,
    /// The longest reply, in bytes.
    pub(crate) max_reply: usize,
    /// How many requests a worker may have in flight, at least 1.
    pub(crate) pipeline: usize,
}

impl Config {
    pub(crate) fn new(worker: Vec<OsString>) -> Self {
        Self {
            worker,
            env: Vec::new(),
            max_procs: num_cpus::get(),
            max_reqs: 0,
            timeout: None,
            grace: Duration::from_secs(5),
            start_limit: 5,
            max_reply: 64 << 20,
            pipeline: 1,
        }
    }
}

/// Reads a duration as the command line and job lines write it: seconds as a plain number (`2`,
/// `0.5`), or a number with units (`500ms`, `1m30s`).
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed.ok_or_else(|| "expected seconds (2, 0.5) or a duration such as 500ms or 1m30s".into())
}
