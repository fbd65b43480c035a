//! The slots that are called for the jobs that wait: which are woken, and which are to be started.

use super::QueueState;
use crate::util::clock::Moment;

impl QueueState {
    /// Calls slots for the jobs that no slot was woken for. Returns those that are to be started.
    pub(super) fn wake_for_jobs(&mut self) -> Vec<usize> {
        let fresh = self.call_others();
        if self.backlog.calls() > self.roster.woken() {
            self.roster.interrupt_roomy();
        } else if self.backlog.queued() > self.roster.woken() {
            self.roster.interrupt_sharing();
        }
        fresh
    }

    /// Wakes a slot for each job that no slot was woken for: first warm ones, then idle ones without a
    /// worker. If jobs are to be tried again, one slot watches the clock for them. Returns the slots that
    /// are to be started for the jobs that are left.
    pub(super) fn call_others(&mut self) -> Vec<usize> {
        let mut fresh = Vec::new();
        while self.backlog.queued() > self.roster.woken() || self.lacks_watcher() {
            if self.roster.wake_idle() {
                continue;
            }
            let Some(slot) = self.call_absent() else { break };
            fresh.push(slot);
        }
        fresh
    }

    /// Whether jobs are to be tried again, and no slot is idle that knows when. A slot that was woken
    /// learns it.
    pub(super) fn lacks_watcher(&self) -> bool {
        let is_watched = |slot| self.roster.is_idle(slot);
        !self.backlog.has_none_later()
            && self.roster.woken() == 0
            && !self.watcher.is_some_and(is_watched)
    }

    /// Moves the jobs that are due to the head of the queue.
    pub(super) fn requeue_due(&mut self, now: Moment) {
        if self.backlog.requeue_due(now) > 0 {
            self.let_leave();
        }
    }
}
