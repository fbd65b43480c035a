//! What a slot knows of its loans to callers: whether it may be lent, and what its last borrower has left undone.

use crate::pool::shared::Shared;
use crate::util::clock::Moment;
use crate::worker::{Received, Violation};

/// How many jobs the thread of a slot runs after a borrower had to wait too long.
const LEAST_PENALTY: u32 = 4;
const MOST_PENALTY: u32 = 1024;

/// Whether a slot is lent.
#[derive(Debug)]
pub(super) struct Lending {
    /// The pool is one whose jobs have callers, and may start at any time.
    pub(super) is_allowed: bool,
    /// How many jobs the worker was given since it was idle.
    jobs: usize,
    /// How many more jobs the slot's thread runs before the slot is lent again.
    jobs_before: u32,
    /// How many of them there were after the last reply that came too late for its borrower.
    penalty: u32,
    /// What its last borrower has left to the slot's thread.
    pub(super) unsettled: Option<Unsettled>,
}

/// Replies that have come, after which the worker may have to end.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) outcome: Result<Received, Violation>,
    pub(super) was_spent: bool,
    pub(super) now: Moment,
}

impl Lending {
    pub(super) fn of(shared: &Shared) -> Self {
        let is_allowed = shared.deliveries.sink().is_none()
            && shared.config.commands.is_none()
            && shared.hosts.is_none()
            && !shared.gates.any();
        Self { is_allowed, jobs: 0, jobs_before: 0, penalty: 0, unsettled: None }
    }

    /// Whether the slot, which is idle, may be lent now. It may not if jobs have come several at a time.
    pub(super) fn is_due(&mut self) -> bool {
        if std::mem::take(&mut self.jobs) > 1 {
            self.jobs_before = self.jobs_before.max(LEAST_PENALTY);
        }
        self.is_allowed && self.jobs_before == 0
    }

    /// The worker is given jobs.
    pub(super) fn count_jobs(&mut self, count: usize) {
        self.jobs += count;
        self.jobs_before = self.jobs_before.saturating_sub(1);
    }

    /// Nobody has borrowed the slot for a while: it is lent again after its next job.
    pub(super) fn rest(&mut self) {
        self.jobs_before = 1;
    }

    /// A borrower had its reply in time.
    pub(super) fn succeeded(&mut self) {
        self.penalty /= 2;
    }

    /// A reply came too late for its borrower. If that goes on, the slot is lent ever more rarely.
    pub(super) fn failed(&mut self) {
        self.penalty = (2 * self.penalty).clamp(LEAST_PENALTY, MOST_PENALTY);
        self.jobs_before = self.penalty;
    }
}
