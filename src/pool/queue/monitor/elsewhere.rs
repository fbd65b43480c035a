//! The requests of slots of other machines besides those for jobs: for more slots, and for jobs to be given back.

use super::Queue;
use crate::job::Job;

impl Queue {
    /// Takes back up to `most` jobs of a party that no slot has taken, those that came last. `None`: there is
    /// only one party.
    pub(crate) fn recall(&self, party: Option<u64>, most: usize) -> Vec<Job> {
        let mut state = self.lock();
        let jobs = state.backlog.jobs.take_last(party, most);
        if state.is_quiet() {
            self.quiet.notify_waiters();
        }
        jobs
    }

    /// There are more slots from now on. Returns the first of them.
    pub(crate) fn grow(&self, count: usize) -> usize {
        self.lock().roster.grow(count)
    }

    /// Says whether the machine of this holder has jobs that it has not begun.
    pub(crate) fn set_hoarding(&self, holder: usize, is_hoarding: bool) {
        let mut state = self.lock();
        state.hoarders.retain(|&hoarder| hoarder != holder);
        if is_hoarding {
            state.hoarders.push(holder);
        } else if state.is_over() {
            // Those that are busy will ask by themselves, and there may be thousands.
            state.roster.notify_idle();
        }
    }

    /// Whether a busy slot has room for more jobs, whose worker works on several at a time.
    #[cfg(feature = "nats")]
    pub(crate) fn has_sharing_room(&self) -> bool {
        self.lock().roster.has_sharing_room()
    }

    /// How many slots have no job and would get none: jobs that wait elsewhere are wanted back.
    pub(crate) fn wanted(&self) -> usize {
        let state = self.lock();
        if state.backlog.has_none_now() { state.roster.unoccupied() } else { 0 }
    }
}
