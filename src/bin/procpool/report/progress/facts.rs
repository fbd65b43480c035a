//! The facts about a run at one moment that are shown, as plain values.

use std::time::Duration;

/// The facts about a run at one moment that are shown.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Jobs that are over.
    pub done: u64,
    /// Those of them that have failed.
    pub failed: u64,
    pub total: Total,
    /// Jobs per second, lately.
    pub per_second: Option<f64>,
    /// How long the rest will take.
    pub left: Option<Duration>,
    pub state: State,
}

/// How many jobs there are in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    Exactly(u64),
    /// It is estimated.
    About(u64),
    /// This many were read so far.
    AtLeast(u64),
}

/// The activity of the run.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Jobs run, or have just been run.
    Running {
        /// The job that has run longest.
        longest: Option<RunningJob>,
    },
    /// No job can run before workers have started. `since`: how long that has been so.
    Starting { workers: usize, since: Duration },
    /// All jobs that were read are over.
    WaitingForInput,
    /// Jobs wait for this option.
    HeldBack { by: &'static str, longest: Option<RunningJob> },
    /// No more jobs are begun, and this many still run.
    Stopping { jobs: usize },
}

/// A running job.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningJob {
    /// Its names, from the long one to the short one. There is at least one.
    pub names: Vec<String>,
    /// The command or request.
    pub what: String,
    pub time: Duration,
    pub slot: usize,
    /// Its process, and the machine if it is another one.
    pub process: String,
    /// Its worker is still starting.
    pub is_starting: bool,
    /// How many more jobs wait at the same worker.
    pub waiting: usize,
}
