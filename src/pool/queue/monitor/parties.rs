//! The parties of a server at the queue: a party that reads no results gets none of its jobs begun, and a party
//! that is gone leaves no job behind.

use super::Queue;
use crate::job::Job;

impl Queue {
    /// Begins no job of a party from now on, or does so again. Returns the slots to be started.
    #[must_use]
    pub(crate) fn set_held(&self, party: u64, is_held: bool) -> Vec<usize> {
        let mut state = self.lock();
        let is_new = state.backlog.jobs.set_held(party, is_held);
        if is_new && !is_held { state.wake_for_jobs() } else { Vec::new() }
    }

    /// How many jobs of a party wait, and how many bytes they have.
    pub(crate) fn waiting_of(&self, party: u64) -> (usize, usize) {
        self.lock().backlog.jobs.waiting(party)
    }

    /// Whether a job waits for a slot. Those of parties that read no results do not count.
    pub(crate) fn has_ready_jobs(&self) -> bool {
        !self.lock().backlog.jobs.is_empty()
    }

    /// A party is gone. Returns its jobs that no slot has taken.
    pub(crate) fn forget_party(&self, party: u64) -> impl Iterator<Item = Job> {
        let mut state = self.lock();
        let jobs = state.backlog.jobs.forget(party);
        if state.is_quiet() {
            self.quiet.notify_waiters();
        }
        jobs.into_iter()
    }
}
