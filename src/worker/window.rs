//! How many requests a worker may have in flight.

use std::time::Duration;

use crate::config::Depth;

/// This much work should wait at a worker: enough to keep it busy while its replies are handled.
const AMPLE: Duration = Duration::from_millis(2);

/// Jobs that take longer gain nothing from waiting at the worker.
const SLOW: Duration = Duration::from_micros(250);

/// More requests in flight than this gain nothing.
const MOST: usize = 1 << 15;

/// While requests of this many bytes are in flight, no more are sent.
const WINDOW_BYTES: usize = 256 << 10;

/// A slow job is forgotten after this many quick ones.
const FADING: usize = 64;

/// The window of one worker.
#[derive(Debug)]
pub(super) struct Window {
    is_auto: bool,
    size: usize,
    /// About how long the slowest recent job took, in nanoseconds. Earlier jobs count less and less.
    slowest: u64,
}

impl Window {
    pub(super) fn new(depth: Depth) -> Self {
        let (is_auto, size) = match depth {
            Depth::Fixed(size) => (false, size),
            Depth::Auto => (true, 1),
        };
        Self { is_auto, size, slowest: 0 }
    }

    /// How many more jobs a worker with `in_flight` jobs may be given. The window is filled up when it
    /// is half empty, so that a write carries many requests.
    pub(super) fn room(&self, in_flight: usize) -> usize {
        if in_flight <= self.size / 2 { self.size - in_flight } else { 0 }
    }

    /// How many more bytes of requests a worker with `in_flight` bytes may be given.
    pub(super) fn room_bytes(&self, in_flight: usize) -> usize {
        WINDOW_BYTES.saturating_sub(in_flight)
    }

    /// Whether a job has taken so long that no other job should wait for it.
    pub(super) fn is_slow(&self, time: Duration) -> bool {
        self.is_auto && time > AMPLE
    }

    /// About how long the slowest recent job took.
    pub(super) fn slowest(&self) -> Duration {
        Duration::from_nanos(self.slowest)
    }

    /// Learns that `answered` jobs took `time` together. The window shrinks at once and grows by
    /// doubling.
    pub(super) fn observe(&mut self, answered: usize, time: Duration) {
        if answered == 0 {
            return;
        }
        let each = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / answered as u64;
        // N jobs that came together are as much evidence as N jobs that came one by one.
        for _ in 0..answered.min(FADING) {
            self.slowest -= self.slowest / 8;
        }
        self.slowest = each.max(self.slowest);
        if !self.is_auto {
            return;
        }
        let slowest = Duration::from_nanos(self.slowest);
        let target = if slowest > SLOW { 1 } else { AMPLE.as_nanos() / slowest.as_nanos().max(1) };
        let target = usize::try_from(target).unwrap_or(MOST).clamp(1, MOST);
        self.size = target.min(self.size * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: &[(usize, Duration)]) -> usize {
        let mut window = Window::new(Depth::Auto);
        for &(answered, time) in times {
            window.observe(answered, time);
        }
        window.size
    }

    #[test]
    fn deep_for_short_jobs_and_one_for_long_ones() {
        let micros = Duration::from_micros;
        assert_eq!(after(&[]), 1);
        assert_eq!(after(&[(1, micros(1)); 3]), 8);
        assert_eq!(after(&[(1, micros(1)); 30]), 2000);
        assert_eq!(after(&[(1, micros(100)); 30]), 20);
        assert_eq!(after(&[(1, micros(300)); 30]), 1);
    }

    #[test]
    fn one_slow_job_closes_it_for_a_while() {
        let mut times = vec![(1, Duration::from_micros(1)); 30];
        times.push((1, Duration::from_millis(50)));
        assert_eq!(after(&times), 1);
        times.extend([(1, Duration::from_micros(1)); 20]);
        assert_eq!(after(&times), 1);
        times.extend([(1, Duration::from_micros(1)); 60]);
        assert!(after(&times) > 100);
    }

    #[test]
    fn a_fixed_window_stays() {
        let mut window = Window::new(Depth::Fixed(7));
        window.observe(1, Duration::from_secs(1));
        assert_eq!(window.size, 7);
    }
}
