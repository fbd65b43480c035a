//! How many requests a worker may have in flight.

use std::time::Duration;

use crate::config::Depth;

/// So much work is to wait at a worker: enough to keep it busy while its replies are dealt with.
const AMPLE: Duration = Duration::from_millis(2);

/// Jobs that take longer gain nothing from waiting at the worker.
const SLOW: Duration = Duration::from_micros(250);

/// More requests in flight than this bring nothing.
const MOST: usize = 1 << 15;

/// After so many quick jobs a slow one is forgotten.
const FADING: usize = 64;

/// The window of one worker.
#[derive(Debug)]
pub(crate) struct Window {
    is_auto: bool,
    size: usize,
    /// About the slowest job of late, in nanoseconds; old ones fade.
    slowest: u64,
}

impl Window {
    pub(crate) fn new(depth: Depth) -> Self {
        let (is_auto, size) = match depth {
            Depth::Fixed(size) => (false, size),
            Depth::Auto => (true, 1),
        };
        Self { is_auto, size, slowest: 0 }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether a job that has taken so long is to have none behind it.
    pub(crate) fn is_slow(&self, time: Duration) -> bool {
        self.is_auto && time > AMPLE
    }

    /// Learns that `answered` jobs took `time` together. The window shrinks at once and grows by
    /// doubling.
    pub(crate) fn observe(&mut self, answered: usize, time: Duration) {
        if !self.is_auto || answered == 0 {
            return;
        }
        let each = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / answered as u64;
        // Many that came together are as much evidence as many that came one by one.
        for _ in 0..answered.min(FADING) {
            self.slowest -= self.slowest / 8;
        }
        self.slowest = each.max(self.slowest);
        let slowest = Duration::from_nanos(self.slowest);
        let target = match slowest > SLOW {
            true => 1,
            false => AMPLE.as_nanos() / slowest.as_nanos().max(1),
        };
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
        window.size()
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
        assert_eq!(window.size(), 7);
    }
}
