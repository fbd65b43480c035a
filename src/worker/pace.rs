//! How long a job takes at a worker. From that follow the window, how many jobs are taken at once, and
//! the pauses of a slot whose worker writes its replies one at a time.

use std::time::Duration;

use super::window::Window;
use crate::config::Depth;

/// Jobs that take no longer than this together, in nanoseconds, are taken at once: sharing them out gains
/// nothing.
const PORTION: u64 = 200_000;

/// A slot takes at most this many jobs at once.
const MOST_JOBS: usize = 256;

/// A shorter pause gains nothing.
const SHORTEST_PAUSE: Duration = Duration::from_micros(150);

/// A slot pauses for no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// A worker that sends fewer replies than this per read writes them one at a time.
const FEW: usize = 16;

/// After a read with few replies, a slot makes this many pauses before it checks again how the worker
/// writes.
const PAUSES: u32 = 32;

/// With fewer jobs in flight than this a slot does not pause.
const FEWEST_IN_FLIGHT: usize = 8;

/// The speed of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// How many requests the worker may have in flight.
    pub(super) window: Window,
    /// The moving average of the time that a job takes, in nanoseconds; 0: it is not known yet.
    per_job: u64,
    /// How many pauses are left.
    pauses: u32,
}

impl Pace {
    pub(super) fn new(depth: Depth) -> Self {
        Self { window: Window::new(depth), per_job: 0, pauses: 0 }
    }

    /// The average time of a job; zero: it is not known yet.
    pub(super) fn per_job(&self) -> Duration {
        Duration::from_nanos(self.per_job)
    }

    /// How many jobs may be taken at once: as many as take [`PORTION`].
    pub(super) fn portion(&self) -> usize {
        let jobs = PORTION.checked_div(self.per_job).unwrap_or(1);
        usize::try_from(jobs).unwrap_or(1).clamp(1, MOST_JOBS)
    }

    /// How long to leave the worker alone, so that its next replies come in one read. `None`: wait for
    /// the worker as usual.
    pub(super) fn pause(&mut self, in_flight: usize) -> Option<Duration> {
        if self.pauses == 0 || in_flight < FEWEST_IN_FLIGHT {
            return None;
        }
        let queued = self.per_job().saturating_mul(u32::try_from(in_flight).unwrap_or(u32::MAX));
        let pause = queued / 4;
        let is_worth_it = (SHORTEST_PAUSE..=LONGEST_PAUSE).contains(&pause);
        self.pauses -= u32::from(is_worth_it);
        is_worth_it.then_some(pause)
    }

    /// Learns that one read brought this many replies.
    pub(super) fn learn_replies(&mut self, answered: usize) {
        if answered < FEW {
            self.pauses = PAUSES;
        }
    }

    /// Whether this many jobs took no longer than is expected. Where nothing is known, several jobs have.
    pub(super) fn is_met_by(&self, answered: usize, time: Duration) -> bool {
        match self.per_job {
            0 => answered > 1,
            each => time.as_nanos() <= u128::from(each) * answered as u128,
        }
    }

    /// Learns that `answered` jobs took `time` together.
    pub(super) fn learn_time(&mut self, answered: usize, time: Duration) {
        self.window.observe(answered, time);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let each = nanos / answered.max(1) as u64;
        self.per_job = match self.per_job {
            0 => each,
            average => average.saturating_mul(7).saturating_add(each) / 8,
        };
    }

    /// About how long the slowest recent job took.
    pub(super) fn slowest(&self) -> Duration {
        self.window.slowest()
    }

    /// Forgets how long jobs take.
    pub(super) fn forget_time(&mut self) {
        self.per_job = 0;
    }
}
