//! How many requests a worker may have in flight.

use std::time::Duration;

use crate::config::Depth;

/// This much work should wait at a worker: enough to keep it busy while its replies are handled.
const AMPLE: Duration = Duration::from_millis(2);

/// Jobs that take longer gain nothing from waiting at the worker.
const SLOW: Duration = Duration::from_micros(250);

/// A worker that answers nothing for this long gets the rest of its window: it may wait for more requests.
const LULL: Duration = Duration::from_millis(1);

/// More requests in flight than this gain nothing.
const MOST: usize = 1 << 15;

/// A worker that works on several jobs at a time has at least this many.
pub(crate) const AT_A_TIME: usize = 16;

/// While requests of this many bytes are in flight, no more are sent.
const WINDOW_BYTES: usize = 256 << 10;

/// The same for a worker that works on several jobs at a time: their requests may be large.
const WIDE_BYTES: usize = 16 << 20;

/// A slow job is forgotten after this many quick ones.
const FADING: usize = 64;

/// The window of one worker.
#[derive(Clone, Debug)]
pub(super) struct Window {
    is_auto: bool,
    /// The worker has said that it works on several jobs at a time.
    is_concurrent: bool,
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
        Self { is_auto, is_concurrent: false, size, slowest: 0 }
    }

    /// How many more jobs a worker with `in_flight` jobs may be given, which has answered nothing for the time
    /// `quiet`. The window is filled up when it is half empty, so that a write carries many requests.
    pub(super) fn room(&self, in_flight: usize, quiet: Duration) -> usize {
        if !self.is_filled_by_halves() || (!self.is_auto && quiet >= LULL) {
            return self.size.saturating_sub(in_flight);
        }
        if in_flight <= self.size / 2 { self.size - in_flight } else { 0 }
    }

    /// After how long without an answer a worker with `in_flight` jobs gets the rest of a window that is not half empty.
    pub(super) fn lull(&self, in_flight: usize) -> Option<Duration> {
        let is_kept_back = self.size / 2 < in_flight && in_flight < self.size;
        (is_kept_back && !self.is_auto && self.is_filled_by_halves()).then_some(LULL)
    }

    /// The jobs of a fixed window may run at a time: only if they are quick, many are sent with one write.
    fn is_filled_by_halves(&self) -> bool {
        let is_slow = self.slowest == 0 || Duration::from_nanos(self.slowest) > SLOW;
        !self.is_concurrent && (self.is_auto || !is_slow)
    }

    /// How many more bytes of requests a worker with `in_flight` bytes may be given.
    pub(super) fn room_bytes(&self, in_flight: usize) -> usize {
        let window = if self.is_concurrent { WIDE_BYTES } else { WINDOW_BYTES };
        window.saturating_sub(in_flight)
    }

    /// Whether a job has taken so long that no other job should wait for it.
    pub(super) fn is_slow(&self, time: Duration) -> bool {
        self.is_auto && !self.is_concurrent && time > AMPLE
    }

    /// The worker works on several jobs at a time.
    pub(super) fn become_concurrent(&mut self) {
        self.is_concurrent = true;
        if self.is_auto {
            self.size = self.size.max(AT_A_TIME);
        }
    }

    pub(super) fn is_concurrent(&self) -> bool {
        self.is_concurrent
    }

    /// How many jobs the worker may have even if they are slow: it works on them at a time, or the user asks for it.
    pub(super) fn at_a_time(&self) -> usize {
        match (self.is_auto, self.is_concurrent) {
            (false, _) => self.size,
            (true, true) => AT_A_TIME,
            (true, false) => 1,
        }
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
        let least = if self.is_concurrent { AT_A_TIME } else { 1 };
        let target = usize::try_from(target).unwrap_or(MOST).clamp(least, MOST);
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
    fn a_worker_that_works_on_several_jobs_has_several() {
        let mut window = Window::new(Depth::Auto);
        assert_eq!(window.at_a_time(), 1);
        window.become_concurrent();
        window.observe(1, Duration::from_secs(1));
        let room = |window: &Window, in_flight| window.room(in_flight, Duration::ZERO);
        assert_eq!((room(&window, 0), room(&window, 15), room(&window, 16)), (16, 1, 0));
        assert!(window.at_a_time() == 16 && !window.is_slow(Duration::from_secs(1)));
        let mut window = Window::new(Depth::Fixed(7));
        assert_eq!((window.at_a_time(), room(&window, 4), window.lull(4)), (7, 3, None));
        window.observe(1, Duration::from_micros(1));
        assert_eq!((room(&window, 4), window.lull(4)), (0, Some(LULL)));
        assert_eq!((window.room(4, LULL), window.lull(3), window.lull(7)), (3, None, None));
        window.become_concurrent();
        assert_eq!((room(&window, 4), window.lull(4)), (3, None));
    }

    #[test]
    fn a_fixed_window_stays() {
        let mut window = Window::new(Depth::Fixed(7));
        window.observe(1, Duration::from_secs(1));
        assert_eq!(window.size, 7);
    }
}
