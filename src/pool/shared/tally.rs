//! How calls have ended: counts by kind, and how long the jobs took.

use std::sync::Mutex;
use std::time::Duration;

use crate::job::Kind;
use crate::util::histogram::Durations;
use crate::util::lock::lock;

/// How calls have ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallCounts {
    pub(crate) succeeded: u64,
    /// By kind, each once.
    pub(crate) failed: Vec<(Kind, u64)>,
    /// How long those took that have run.
    pub(crate) durations: Durations,
}

/// The counts, which all slots add to.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<CallCounts>);

impl Tally {
    /// A call has ended. `time`: how long its job ran; `None`: it did not run.
    pub(crate) fn add(&self, failure: Option<Kind>, time: Option<Duration>) {
        let mut counts = lock(&self.0);
        match failure {
            None => counts.succeeded += 1,
            Some(kind) => match counts.failed.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => counts.failed.push((kind, 1)),
            },
        }
        if let Some(time) = time {
            counts.durations.add(time.as_secs_f64());
        }
    }

    pub(crate) fn counts(&self) -> CallCounts {
        lock(&self.0).clone()
    }
}
