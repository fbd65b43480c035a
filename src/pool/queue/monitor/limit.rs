//! The number of slots that take jobs, while it changes.

use super::{Queue, QueueState};
use crate::pool::queue::{Ask, Taken};

impl Queue {
    /// From now on, only the first `limit` slots take jobs, at least one. The others leave as soon as they
    /// have none. Returns the slots that are to be started.
    #[must_use]
    pub(crate) fn set_limit(&self, limit: usize) -> Vec<usize> {
        let mut state = self.lock();
        state.roster.set_limit(limit);
        state.wake_for_jobs()
    }
}

impl QueueState {
    /// A slot that takes no jobs asks for some: it leaves if it has none in flight.
    pub(super) fn nothing_for_surplus(&mut self, slot: usize, ask: Ask) -> Taken {
        self.roster.stop_idling(slot);
        if ask.busy { Taken::Wait } else { Taken::Leave }
    }
}
