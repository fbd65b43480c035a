//! Plain settings: what a pool is told once, when it is built.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Commands;
use crate::job::{Job, Kind};
use crate::protocol::Protocol;

/// The settings of a pool, with their defaults. Made by [`crate::Builder`].
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The worker's program and its arguments; empty where there are `commands`.
    pub(crate) worker: Vec<OsString>,
    /// How it is spoken to.
    pub(crate) protocol: Protocol,
    /// What a fresh one is asked, or told, before its first job.
    pub(crate) init: Vec<Init>,
    /// The worker is procpool's own, for code of the user's.
    pub(crate) is_code: bool,
    /// What is run for each job where there is no worker.
    pub(crate) commands: Option<Arc<Commands>>,
    /// What jobs must wait for.
    pub(crate) limits: Limits,
    /// How much nicer than procpool workers and commands are.
    pub(crate) nice: i32,
    /// The worker's stdout is a terminal.
    pub(crate) pty: bool,
    /// Additions to the worker's environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// At most so many workers at a time, at least 1.
    pub(crate) max_procs: usize,
    /// So many slots of other pools are counted before those of this one.
    pub(crate) slots_before: usize,
    /// A worker is replaced after so many jobs; 0: never…
    pub(crate) max_reqs: u64,
    /// …or up to so many more, at random.
    pub(crate) max_reqs_jitter: u64,
    /// A worker that has lived so long is replaced.
    pub(crate) max_age: Option<Duration>,
    /// A worker that holds more memory, in bytes, is replaced.
    pub(crate) max_rss: Option<u64>,
    /// A worker that had no job for so long is ended.
    pub(crate) idle_timeout: Option<Duration>,
    /// So many workers may be started ahead of those that they replace.
    pub(crate) standby: usize,
    /// How long a job may take, unless it says so itself.
    pub(crate) timeout: Option<Timeout>,
    /// How often a job may be tried again, unless it says so itself.
    pub(crate) retries: u32,
    /// The failures after which it may.
    pub(crate) retry_on: Vec<Kind>,
    /// How long it waits before its second try, about; twice as long before each further one.
    pub(crate) retry_delay: Duration,
    /// How long a worker may take to end before it is killed.
    pub(crate) grace: Duration,
    /// How long a worker may take to start: to read its first request.
    pub(crate) start_timeout: Option<Duration>,
    /// So many start-up failures in a row are one too many; 0: no limit.
    pub(crate) start_limit: u32,
    /// The longest reply, in bytes.
    pub(crate) max_reply: usize,
    /// How many requests a worker may have in flight.
    pub(crate) depth: Depth,
    /// Processes that others have left to this one are reaped.
    pub(crate) reaps_orphans: bool,
}

impl Config {
    pub(crate) fn new(worker: Vec<OsString>) -> Self {
        Self {
            worker,
            protocol: Protocol::default(),
            init: Vec::new(),
            is_code: false,
            commands: None,
            limits: Limits::default(),
            nice: 0,
            pty: false,
            env: Vec::new(),
            max_procs: num_cpus::get(),
            slots_before: 0,
            max_reqs: 0,
            max_reqs_jitter: 0,
            max_age: None,
            max_rss: None,
            idle_timeout: None,
            standby: usize::MAX,
            timeout: None,
            retries: 0,
            retry_on: vec![Kind::Error, Kind::Exit, Kind::Crash, Kind::Timeout, Kind::Protocol],
            retry_delay: Duration::from_millis(100),
            grace: Duration::from_secs(5),
            start_timeout: Some(Duration::from_secs(300)),
            start_limit: 5,
            max_reply: 64 << 20,
            depth: Depth::Fixed(1),
            reaps_orphans: false,
        }
    }
}

/// How long a job may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timeout {
    /// So long.
    Time(Duration),
    /// So many times the median of the jobs that have succeeded, once there are three.
    Median(f64),
}

/// Something that a fresh worker is asked or told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// As a person wrote it.
    pub(crate) line: String,
    /// The command and the args; `None`: the line is the message.
    pub(crate) texts: Option<(String, String)>,
    pub(crate) has_reply: bool,
}

impl Init {
    /// What the worker is sent, as a job.
    pub(crate) fn job(&self) -> Job {
        match &self.texts {
            Some((cmd, args)) => Job::new(0, cmd, args, ""),
            None => Job::message(0, self.line.as_bytes()),
        }
    }
}

/// How many requests a worker may have in flight: a fixed number, or as many as its measured speed
/// asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// So many, at least 1.
    Fixed(usize),
    /// A few milliseconds of work: many short jobs, one long one.
    Auto,
}

/// What jobs must wait for.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// So long must pass from one start to the next.
    pub interval: Option<Duration>,
    /// No job starts while the load average of the last minute is higher.
    pub max_load: Option<f64>,
    /// No job starts while fewer bytes of memory are available.
    pub min_free_memory: Option<u64>,
    /// A job takes a token of the jobserver of the `make` that procpool was started by, if there
    /// is one.
    pub jobserver: bool,
}
