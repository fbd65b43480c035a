//! How much a worker has done, when it has served its time (jobs, age, memory), and why it ends.

use std::time::Duration;

use crate::config::RecyclingConfig;
use crate::job::Why;
use crate::process::Process;
use crate::util::clock::Moment;
use crate::util::random::random;

/// The memory of a worker is measured no more often than this.
const MEMORY_TICK: Duration = Duration::from_millis(5);

/// How much a worker has done, and how much it may do.
#[derive(Debug)]
pub(super) struct Service {
    /// When the worker was started.
    born: Moment,
    /// How many jobs it has been given.
    requests: u64,
    /// How many of them it has answered.
    replies: u64,
    /// How many jobs it gets in all.
    max_reqs: u64,
    /// When its memory was last measured.
    measured: Moment,
    /// The worker gets no more jobs.
    is_spent: bool,
    /// Why the worker ends, as far as it is known yet.
    why: Why,
}

impl Service {
    pub(super) fn new(config: &RecyclingConfig, now: Moment) -> Self {
        let max_reqs = match config.max_reqs {
            0 => u64::MAX,
            max => max.saturating_add(random(config.max_reqs_jitter)),
        };
        Self {
            born: now,
            requests: 0,
            replies: 0,
            max_reqs,
            measured: now,
            is_spent: false,
            why: Why::Done,
        }
    }

    pub(super) fn born(&self) -> Moment {
        self.born
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn replies(&self) -> u64 {
        self.replies
    }

    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Gives the worker no more jobs.
    pub(super) fn spend(&mut self) {
        self.is_spent = true;
    }

    /// Gives the worker no more jobs, for this reason. The first reason counts.
    pub(super) fn spend_for(&mut self, why: Why) {
        if !self.is_spent {
            self.is_spent = true;
            self.why = why;
        }
    }

    pub(super) fn why(&self) -> Why {
        self.why
    }

    pub(super) fn set_why(&mut self, why: Why) {
        self.why = why;
    }

    pub(super) fn count_requests(&mut self, count: usize) {
        self.requests += count as u64;
    }

    pub(super) fn count_replies(&mut self, count: usize) {
        self.replies += count as u64;
    }

    /// How many more jobs the worker may be given.
    pub(super) fn left(&self) -> u64 {
        self.max_reqs.saturating_sub(self.requests)
    }

    /// The worker has been warmed up: what it did before does not count.
    pub(super) fn restart(&mut self) {
        // Request ids go on from where they are: a late reply must not be taken for the reply to
        // another request.
        self.max_reqs = self.max_reqs.saturating_add(self.requests);
        self.replies = 0;
    }

    /// Whether the worker has served its time: it has had all its jobs, is old, or holds too much
    /// memory.
    pub(super) fn has_served(
        &mut self,
        config: &RecyclingConfig,
        process: &Process,
        now: Moment,
    ) -> bool {
        if self.left() == 0 {
            self.spend_for(Why::MaxReqs);
        }
        if now >= self.end_by_age(config) {
            self.spend_for(Why::MaxAge);
        }
        if let Some(limit) = config.max_rss
            && now >= self.measured.after(MEMORY_TICK)
        {
            self.measured = now;
            if process.memory().is_some_and(|bytes| bytes > limit) {
                self.spend_for(Why::MaxRss);
            }
        }
        self.is_spent
    }

    /// When the worker will be too old.
    pub(super) fn end_by_age(&self, config: &RecyclingConfig) -> Moment {
        config.max_age.map_or(Moment::NEVER, |age| self.born.after(age))
    }

    /// How many jobs the worker will still answer: the `in_flight` jobs, and those that it may still be
    /// given. `None`: there is no limit.
    pub(super) fn until_last(&self, in_flight: usize) -> Option<u64> {
        let is_limited = self.max_reqs != u64::MAX;
        is_limited.then(|| self.max_reqs - (self.requests - in_flight as u64))
    }
}
