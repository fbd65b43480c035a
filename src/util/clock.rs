//! The clock by which jobs are timed. It is stopped while the run is stopped (Ctrl-Z), so that a pause
//! does not count towards a timeout.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use std::sync::atomic::{AtomicU64, Ordering};

/// A moment on a [`Clock`]: nanoseconds of running time since the clock was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// When the clock was made.
    pub(crate) const ZERO: Self = Self(0);

    /// Later than every moment that a clock will show.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn after(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Earlier by this duration, but not before the clock was made.
    pub(crate) fn before(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if self == Self::NEVER { self } else { Self(self.0.saturating_sub(nanos)) }
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment if it is after another one, else [`Moment::NEVER`].
    pub(crate) fn if_after(self, other: Self) -> Self {
        if self > other { self } else { Self::NEVER }
    }

    /// The time until this moment. `None` for [`Moment::NEVER`].
    pub(crate) fn until(self, now: Self) -> Option<Duration> {
        (self != Self::NEVER).then(|| self.since(now))
    }
}

/// A moment that several threads share.
#[derive(Debug)]
pub(crate) struct AtomicMoment(AtomicU64);

impl AtomicMoment {
    pub(crate) fn new(moment: Moment) -> Self {
        Self(AtomicU64::new(moment.0))
    }

    pub(crate) fn store(&self, moment: Moment) {
        self.0.store(moment.0, Ordering::Release);
    }

    pub(crate) fn load(&self) -> Moment {
        Moment(self.0.load(Ordering::Acquire))
    }
}

/// A monotonic clock that can be stopped.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The time of day of the origin, in seconds since 1970.
    origin_unix: f64,
    /// The length of all pauses that are over, in nanoseconds.
    paused: AtomicU64,
    /// The time that the clock shows while it is stopped; `u64::MAX` while it runs.
    frozen: AtomicU64,
    /// Serialises pause and resume.
    switch: Mutex<()>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            origin_unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
            paused: AtomicU64::new(0),
            frozen: AtomicU64::new(u64::MAX),
            switch: Mutex::new(()),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        match self.frozen.load(Ordering::Acquire) {
            // A pause may begin and end between the two loads, and be longer than the running time.
            u64::MAX => Moment(self.elapsed().saturating_sub(self.paused.load(Ordering::Acquire))),
            shown => Moment(shown),
        }
    }

    /// The time of day at a moment, in seconds since 1970. All pauses so far count as before the moment.
    pub(crate) fn unix_seconds(&self, moment: Moment) -> f64 {
        let nanos = moment.0.saturating_add(self.paused.load(Ordering::Relaxed));
        self.origin_unix + nanos as f64 / 1e9
    }

    pub(crate) fn pause(&self) {
        let _switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        if self.frozen.load(Ordering::Relaxed) == u64::MAX {
            let shown = self.elapsed() - self.paused.load(Ordering::Relaxed);
            self.frozen.store(shown, Ordering::Release);
        }
    }

    pub(crate) fn resume(&self) {
        let _switch = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.frozen.load(Ordering::Relaxed);
        if shown != u64::MAX {
            self.paused.store(self.elapsed() - shown, Ordering::Release);
            self.frozen.store(u64::MAX, Ordering::Release);
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_does_not_count() {
        let clock = Clock::new();
        clock.pause();
        let shown = clock.now();
        let before = Instant::now();
        while before.elapsed() < Duration::from_millis(2) {
            assert_eq!(clock.now(), shown);
        }
        clock.resume();
        assert!(clock.now().since(shown) < before.elapsed() + Duration::from_millis(1));
        assert!(clock.now() >= shown);
    }

    #[test]
    fn never_has_no_end() {
        let now = Clock::new().now();
        assert_eq!(Moment::NEVER.until(now), None);
        assert_eq!(now.after(Duration::MAX).until(now), None);
        assert_eq!(now.after(Duration::from_secs(2)).until(now), Some(Duration::from_secs(2)));
    }
}
