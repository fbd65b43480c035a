//! What slots learn from each other about time: how long jobs and start-ups take, and the timeout
//! that follows from the median.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Config, Timeout};
use crate::util::histogram::Durations;

/// The median of fewer jobs than this means nothing.
const ENOUGH_FOR_MEDIAN: u64 = 3;

#[derive(Debug)]
pub(crate) struct Estimates {
    /// The setting for how long a job may take.
    limit: Option<Timeout>,
    /// Workers are replaced after a number of jobs, so the time of a job matters.
    wants_pace: bool,
    /// How long a worker takes from its start to its first reply, in nanoseconds.
    start_time: AtomicU64,
    /// How long a job takes, in nanoseconds; 0: not known yet.
    pace: AtomicU64,
    /// How long successful jobs took, if the timeout follows from that.
    durations: Mutex<Durations>,
    /// The timeout that follows from the median, in nanoseconds; 0: there is none yet.
    timeout: AtomicU64,
}

impl Estimates {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            limit: config.failures.timeout,
            wants_pace: config.recycling.max_reqs > 0,
            start_time: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            durations: Mutex::default(),
            timeout: AtomicU64::new(0),
        }
    }

    /// How long a job may take, unless the job sets that itself.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.limit? {
            Timeout::Never => None,
            Timeout::Time(time) => Some(time),
            Timeout::Median(_) => match self.timeout.load(Ordering::Relaxed) {
                0 => None,
                nanos => Some(Duration::from_nanos(nanos)),
            },
        }
    }

    /// These jobs have succeeded, and each took this long. Returns whether there is a timeout from now
    /// on: slots that wait must then be woken, since they wait without one.
    #[must_use]
    pub(crate) fn learn_durations(&self, time: Duration, jobs: usize) -> bool {
        let Some(Timeout::Median(times)) = self.limit else { return false };
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..jobs {
            durations.add(time.as_secs_f64());
        }
        let median = durations.quantile(0.5).filter(|_| durations.count() >= ENOUGH_FOR_MEDIAN);
        let Some(median) = median else { return false };
        // In whole milliseconds, since messages show it to people.
        let nanos = (median * times * 1e3).ceil().clamp(1.0, 1e12) as u64 * 1_000_000;
        self.timeout.swap(nanos, Ordering::Relaxed) == 0
    }

    /// How early a worker must be started: one and a half times its start-up before it is needed.
    pub(crate) fn start_time(&self) -> Duration {
        let nanos = self.start_time.load(Ordering::Relaxed);
        Duration::from_nanos(nanos + nanos / 2)
    }

    /// A worker gave its first reply this long after its start. Only the first such time counts: a
    /// spare that waited for its first job seems slower than it was.
    pub(crate) fn learn_start_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4);
        let _ = self.start_time.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How long a job takes; zero: not known yet.
    pub(crate) fn pace(&self) -> Duration {
        Duration::from_nanos(self.pace.load(Ordering::Relaxed))
    }

    /// A job takes this long at one of the workers.
    pub(crate) fn learn_pace(&self, pace: Duration) {
        let nanos = u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX);
        if self.wants_pace && nanos > 0 {
            self.pace.store(nanos, Ordering::Relaxed);
        }
    }
}
