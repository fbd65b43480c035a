//! How many jobs a machine finishes in a while.

use std::time::Duration;

use crate::util::clock::Moment;

/// The length of a period.
const PERIOD: Duration = Duration::from_millis(500);

/// How many jobs a machine finishes in a period.
#[derive(Debug)]
pub(super) struct JobRate {
    since: Moment,
    /// How many jobs it had finished then.
    before: u64,
}

impl JobRate {
    pub(super) fn new() -> Self {
        Self { since: Moment::ZERO, before: 0 }
    }

    /// How many jobs were finished in the last period, once it is over. `total`: how many there are so far.
    pub(super) fn measure(&mut self, total: u64, now: Moment) -> Option<u64> {
        if now.since(self.since) < PERIOD {
            return None;
        }
        let finished = total.saturating_sub(self.before);
        *self = Self { since: now, before: total };
        Some(finished)
    }

    /// A period begins now.
    pub(super) fn begin(&mut self, total: u64, now: Moment) {
        *self = Self { since: now, before: total };
    }
}
