//! The window: how many jobs an agent may have beside those that its slots run. It covers the time that
//! a message is under way and a few milliseconds of work, so that no slot there waits for its next job.

use std::time::{Duration, Instant};

/// How much work is kept at an agent beside the time that a message takes.
const AHEAD: Duration = Duration::from_millis(4);

/// The rate is measured over periods that are no shorter.
const PERIOD: Duration = Duration::from_millis(5);

/// No more jobs wait at an agent.
const MOST: usize = 1 << 16;

/// How fast an agent is, and how far away.
#[derive(Debug)]
pub(crate) struct AgentWindow {
    since: Instant,
    finished: usize,
    total: u64,
    latency: Duration,
    ahead: usize,
    /// No job is to wait there: the agent would run it at once, in a slot that is not for this coordinator.
    is_shut: bool,
    /// How many jobs each slot may have at a time, even if jobs are slow.
    at_a_time: usize,
    /// No slot may have more than one.
    is_limited: bool,
    /// The workers work on several jobs at a time.
    is_concurrent: bool,
}

impl AgentWindow {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            finished: 0,
            total: 0,
            latency: Duration::ZERO,
            ahead: 0,
            is_shut: false,
            at_a_time: 1,
            is_limited: false,
            is_concurrent: false,
        }
    }

    /// No job is to wait at the agent.
    pub(crate) fn shut(&mut self) {
        self.is_shut = true;
    }

    /// No more jobs than there are slots may be at the agent, whatever it says.
    pub(crate) fn limit(&mut self) {
        self.is_shut = true;
        self.is_limited = true;
    }

    /// Each slot may have this many jobs at a time, even if jobs are slow.
    pub(crate) fn widen(&mut self, at_a_time: usize, is_concurrent: bool) {
        self.at_a_time = self.at_a_time.max(at_a_time);
        self.is_concurrent |= is_concurrent;
    }

    /// How many of the jobs that a slot has taken it may be on.
    pub(crate) fn on_at_a_time(&self) -> usize {
        // If their jobs are quick, workers have more than they have said.
        if self.is_concurrent { usize::MAX } else { self.at_a_time }
    }

    /// How many jobs this number of slots may have at a time, even if jobs are slow.
    pub(crate) fn at_a_time(&self, slots: usize) -> usize {
        if self.is_limited { slots } else { slots.saturating_mul(self.at_a_time) }
    }

    /// A message and its answer have taken this long. The fastest of late counts: others have waited
    /// for other messages.
    pub(crate) fn learn_latency(&mut self, latency: Duration) {
        self.latency = if self.latency.is_zero() {
            latency
        } else {
            latency.min(self.latency + self.latency / 8 + Duration::from_micros(50))
        };
    }

    /// This number of jobs is over.
    pub(crate) fn finished(&mut self, count: usize, now: Instant) {
        self.finished += count;
        self.total += count as u64;
        let period = now.saturating_duration_since(self.since);
        if period < PERIOD {
            return;
        }
        let rate = self.finished as f64 / period.as_secs_f64();
        let jobs = (rate * (self.latency + AHEAD).as_secs_f64()).min(MOST as f64) as usize;
        // A pause of the input says nothing about the speed, and a long job says all at once.
        self.ahead = if jobs == 0 { 0 } else { jobs.max(self.ahead / 2) };
        self.since = now;
        self.finished = 0;
    }

    /// How many jobs are over since it was new.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many jobs may wait at the agent.
    pub(crate) fn ahead(&self) -> usize {
        if self.is_shut { 0 } else { self.ahead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has `per_period` jobs finish each period, and returns the window after that.
    fn after(latency: Duration, per_period: usize, periods: u32) -> usize {
        let begin = Instant::now();
        let mut window = AgentWindow::new(begin);
        window.learn_latency(latency);
        for nth in 1..=periods {
            window.finished(per_period, begin + PERIOD * nth);
        }
        window.ahead()
    }

    #[test]
    fn slow_jobs_do_not_wait_at_an_agent() {
        assert_eq!(after(Duration::from_millis(1), 0, 5), 0);
        // One job in 5 ms is under way for 5 ms.
        assert_eq!(after(Duration::from_millis(1), 1, 5), 1);
        let begin = Instant::now();
        let mut window = AgentWindow::new(begin);
        window.finished(5_000, begin + PERIOD);
        assert!(window.ahead() > 3_000);
        window.finished(1, begin + PERIOD + Duration::from_secs(1));
        assert_eq!(window.ahead(), 0);
    }

    #[test]
    fn short_jobs_are_sent_ahead_for_as_long_as_a_message_takes() {
        assert_eq!(after(Duration::from_millis(6), 1000, 1), 2000);
        assert_eq!(after(Duration::from_secs(10), 1000, 1), MOST);
    }
}
