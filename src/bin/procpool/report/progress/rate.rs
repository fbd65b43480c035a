//! How many jobs are done per second, and how long the others will take. Only the recent past counts: at least 10
//! seconds, and at least 10 jobs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The shortest time that counts.
const SPAN: Duration = Duration::from_secs(10);

/// The smallest number of jobs that count.
const JOBS: u64 = 10;

/// Marks are at least this far apart.
const STEP: Duration = Duration::from_millis(250);

/// If nobody has looked for this long, the process was stopped meanwhile.
const STOPPED: Duration = Duration::from_secs(3);

/// How many jobs are done per second.
#[derive(Debug)]
pub struct Rate {
    /// How many jobs were done at a moment, the oldest first. There is at least one.
    marks: VecDeque<(Instant, u64)>,
    looked: Instant,
}

impl Rate {
    /// A rate that begins now.
    pub fn new(now: Instant) -> Self {
        Self { marks: VecDeque::from([(now, 0)]), looked: now }
    }

    /// Takes note of how many jobs are done now.
    pub fn note(&mut self, now: Instant, done: u64) {
        let gap = now.saturating_duration_since(self.looked);
        if gap > STOPPED {
            self.marks.iter_mut().for_each(|(moment, _)| *moment += gap);
        }
        self.looked = now;
        let is_later = |(moment, before): &(Instant, u64)| {
            done > *before && now.saturating_duration_since(*moment) >= STEP
        };
        if self.marks.back().is_none_or(is_later) {
            self.marks.push_back((now, done));
        }
        while let (Some(second), Some(last)) = (self.marks.get(1), self.marks.back()) {
            let is_enough = now.saturating_duration_since(second.0) >= SPAN;
            if !is_enough || last.1 - second.1 < JOBS {
                break;
            }
            self.marks.pop_front();
        }
    }

    /// Begins anew: until now there was nothing to be done.
    pub fn restart(&mut self, now: Instant, done: u64) {
        self.marks.clear();
        self.marks.push_back((now, done));
        self.looked = now;
    }

    /// Jobs per second. `None`: none was done since it began.
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        let (first, last) = (self.marks.front()?, self.marks.back()?);
        let jobs = (last.1 - first.1) as f64;
        if jobs == 0.0 {
            return None;
        }
        let span = last.0.saturating_duration_since(first.0);
        // Between two jobs the rate stays. It falls when the next job takes far longer than those before it.
        let is_late = self.idle(now) > 2.0 * span.as_secs_f64() / jobs;
        let until = if is_late { now } else { last.0 };
        Some(jobs / until.saturating_duration_since(first.0).as_secs_f64().max(0.001))
    }

    /// How long this many jobs will take.
    pub fn time_for(&self, now: Instant, jobs: u64) -> Option<Duration> {
        let per_second = self.per_second(now)?;
        let idle = self.idle(now).min(1.0 / per_second);
        Duration::try_from_secs_f64((jobs as f64 / per_second - idle).max(0.0)).ok()
    }

    /// The seconds since the last job was done.
    fn idle(&self, now: Instant) -> f64 {
        let last = self.marks.back().map_or(now, |(moment, _)| *moment);
        now.saturating_duration_since(last).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Jobs that take this long each, one after the other.
    fn jobs(count: u32, time: Duration) -> (Rate, Instant) {
        let begin = Instant::now();
        let mut rate = Rate::new(begin);
        for number in 1..=count {
            // Somebody looks between two jobs too.
            let before = begin + time * (number - 1);
            (1..10).for_each(|part| rate.note(before + time * part / 10, u64::from(number - 1)));
            rate.note(begin + time * number, u64::from(number));
        }
        (rate, begin + time * count)
    }

    #[track_caller]
    fn assert_near(found: Option<f64>, expected: f64) {
        let found = found.expect("a rate");
        assert!((found / expected - 1.0).abs() < 0.1, "{found} instead of {expected}");
    }

    #[test]
    fn slow_and_fast_jobs() {
        let now = Instant::now();
        assert_eq!(Rate::new(now).per_second(now + SECOND), None);
        for millis in [1, 100, 1_700, 20_000] {
            let (rate, now) =
                jobs(if millis < 10 { 1_000 } else { 50 }, Duration::from_millis(millis));
            assert_near(rate.per_second(now), 1_000.0 / millis as f64);
            let left = rate.time_for(now, 100).expect("a time").as_secs_f64();
            assert_near(Some(left), 0.1 * millis as f64);
        }
    }

    #[test]
    fn the_past_is_forgotten() {
        let (mut rate, mut now) = jobs(1_000, Duration::from_millis(10));
        let mut done = 1_000;
        for _ in 0..30 {
            now += SECOND;
            done += 1;
            rate.note(now, done);
        }
        assert_near(rate.per_second(now), 1.0);
        assert!(rate.marks.len() < 100, "{}", rate.marks.len());
    }

    #[test]
    fn the_time_left_runs_down_between_two_jobs_and_up_after_the_last_is_late() {
        let (mut rate, now) = jobs(20, 4 * SECOND);
        let mut left = |after: Duration| {
            // Looks that are far apart would mean that the process was stopped.
            for seconds in 1..=after.as_secs() {
                rate.note(now + SECOND * u32::try_from(seconds).expect("few"), 20);
            }
            rate.time_for(now + after, 2).expect("a time").as_secs()
        };
        assert_eq!((left(Duration::ZERO), left(3 * SECOND)), (8, 5));
        assert!(left(60 * SECOND) > 8);
    }

    #[test]
    fn a_pause_does_not_count() {
        let (mut rate, now) = jobs(20, SECOND);
        let later = now + 1_000 * SECOND;
        rate.note(later, 20);
        assert_near(rate.per_second(later), 1.0);
        rate.restart(later, 20);
        assert_eq!(rate.per_second(later), None);
    }
}
