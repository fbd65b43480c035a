//! The jobs of a submitter whose results have not come.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::sync::Notify;

use super::pace::MessagePace;
use crate::job::Job;
use crate::util::lock::lock;

/// A submitter waits while this many of its jobs have no result.
const MOST_JOBS: usize = 1 << 16;

/// It also waits while these jobs hold this many bytes.
const MOST_BYTES: usize = 32 << 20;

/// A message has as many jobs as a machine does in this time.
const WORTH: Duration = Duration::from_millis(20);

/// It has more if the server is slow, but no more than this: machines would share it out.
const MOST_WORTH: Duration = Duration::from_millis(50);

/// The jobs whose results have not come.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    state: Mutex<OutstandingState>,
    /// Notified when results have come.
    pub(super) room: Notify,
}

/// What the thread shares with others.
#[derive(Default)]
pub(super) struct SubmitShared {
    pub(super) outstanding: Outstanding,
    pub(super) is_stopped: AtomicBool,
    pub(super) stop: Notify,
    /// How many jobs are in the queue because of this submitter.
    pub(super) submitted: AtomicU64,
    /// How many of them an earlier submission had put there.
    pub(super) before: AtomicU64,
    /// Results up to this number in their stream are delivered.
    pub(super) seen: AtomicU64,
}

#[derive(Debug, Default)]
struct OutstandingState {
    bundles: HashMap<String, OutstandingBundle>,
    jobs: usize,
    bytes: usize,
    /// How long a machine takes for a job.
    pace: MessagePace,
}

#[derive(Debug)]
struct OutstandingBundle {
    jobs: Vec<Option<Job>>,
    left: usize,
    /// Nothing in the stream of results up to this number is about it.
    since: u64,
}

impl Outstanding {
    /// Adds the jobs of a bundle. Nothing in the stream of results up to the number `since` is about them.
    pub(super) fn add(&self, bundle: String, jobs: Vec<Job>, since: u64) {
        let mut state = lock(&self.state);
        state.jobs += jobs.len();
        state.bytes += jobs.iter().map(Job::size).sum::<usize>();
        let left = jobs.len();
        let jobs = jobs.into_iter().map(Some).collect();
        state.bundles.insert(bundle, OutstandingBundle { jobs, left, since });
    }

    /// Takes a job of a bundle. `None`: its result has come already, or it is of another submitter.
    pub(super) fn take(&self, bundle: &str, index: usize) -> Option<Job> {
        let mut state = lock(&self.state);
        let found = state.bundles.get_mut(bundle)?;
        let job = found.jobs.get_mut(index)?.take()?;
        found.left -= 1;
        if found.left == 0 {
            state.bundles.remove(bundle);
        }
        state.jobs -= 1;
        state.bytes -= job.size();
        Some(job)
    }

    /// Which jobs of a bundle have no result.
    pub(super) fn left_of(&self, bundle: &str) -> Vec<usize> {
        let state = lock(&self.state);
        let jobs = state.bundles.get(bundle).map_or(&[][..], |bundle| &bundle.jobs);
        jobs.iter().enumerate().filter_map(|(index, job)| job.as_ref().map(|_| index)).collect()
    }

    /// Nothing in the stream of results up to this number is about a job without a result. `None`: all have one.
    pub(super) fn since(&self) -> Option<u64> {
        lock(&self.state).bundles.values().map(|bundle| bundle.since).min()
    }

    /// Takes all jobs of a bundle back.
    pub(super) fn take_back(&self, bundle: &str) -> Vec<Job> {
        let left = self.left_of(bundle);
        left.into_iter().filter_map(|index| self.take(bundle, index)).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.jobs >= MOST_JOBS || state.bytes >= MOST_BYTES
    }

    /// How many jobs have no result.
    pub(super) fn len(&self) -> usize {
        lock(&self.state).jobs
    }

    /// A machine took this long for this many jobs.
    pub(super) fn took(&self, time: Duration, jobs: usize) {
        lock(&self.state).pace.add(time, jobs);
    }

    /// How many jobs the next message should have, if it took this long to store the last one: one until it is known
    /// how long a job takes.
    pub(super) fn worth(&self, stored: Duration) -> usize {
        let each = lock(&self.state).pace.each();
        let worth = stored.clamp(WORTH, MOST_WORTH).as_secs_f64();
        each.map_or(1, |each| (worth / each.max(1e-7)) as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_taken_once() {
        let outstanding = Outstanding::default();
        outstanding.add("b".into(), vec![Job::message(1, b"x"), Job::message(2, b"y")], 3);
        assert_eq!(outstanding.since(), Some(3));
        assert_eq!((outstanding.len(), outstanding.worth(Duration::ZERO)), (2, 1));
        assert_eq!(outstanding.take("b", 1).map(|job| job.seq), Some(2));
        assert!(outstanding.take("b", 1).is_none() && outstanding.take("b", 2).is_none());
        assert_eq!(outstanding.left_of("b"), [0]);
        assert_eq!(outstanding.take_back("b").len(), 1);
        assert_eq!(outstanding.len(), 0);
        outstanding.took(Duration::from_millis(1), 10);
        assert_eq!(outstanding.worth(Duration::ZERO), 200);
        assert_eq!(outstanding.worth(Duration::from_secs(1)), 500);
    }
}
