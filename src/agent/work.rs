//! What an agent does with the jobs of its coordinator. An agent on another machine has a pool of its own for
//! them; a server has one pool for all of its callers.

use std::time::{Duration, Instant};

use crate::job::Job;
use crate::process::Stop;

/// The jobs of one coordinator. Each answer goes over the link.
pub(crate) trait Work {
    /// A job, or a bundle of jobs, has come. [`Work::feed`] follows soon. `None`: no such job may come.
    fn take(&mut self, job: Job) -> Option<()>;

    /// The jobs that have come so far can run.
    fn feed(&mut self);

    /// Nobody waits for a job any more.
    fn cancel(&mut self, seq: u64);

    /// The names of the args of the jobs that follow.
    fn name_args(&mut self, names: Vec<&[u8]>);

    /// Gives back up to `most` jobs that are not begun, those that came last.
    fn recall(&mut self, most: usize);

    /// Gives back the jobs that are not begun, and ends the others after this time by this step. The last
    /// word follows.
    fn stop(&mut self, after: Option<Duration>, means: Stop);

    /// No more jobs come. When all are over, the last message (`Bye`) follows.
    fn finish(&mut self);

    /// The coordinator is stopped.
    fn pause(&mut self);

    /// The coordinator goes on.
    fn resume(&mut self);

    /// When [`Work::look_at_clock`] is to be called.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Something is due.
    fn look_at_clock(&mut self) {}

    /// Whether it has as many jobs as it can keep. No message is read then.
    fn is_full(&self) -> bool {
        false
    }

    /// The coordinator is gone, or the agent ends: all jobs are ended, and waited for as long as it takes to
    /// kill them.
    fn end(&mut self);
}
