//! The steps in which the slots of a large pool are started.

use std::sync::atomic::Ordering;

use super::{Queue, QueueState};
use crate::pool::queue::ramp::{FIRST, Ramp};

impl Queue {
    /// The slots are started step by step.
    pub(crate) fn start_slowly(&self) {
        let mut state = self.lock();
        if state.roster.len() > FIRST {
            state.ramp.is_on = true;
            state.roster.allow(FIRST);
        }
    }

    /// Whether the caller is to take steps from now on: slots are held back, and nobody does.
    pub(crate) fn begin_steps(&self) -> bool {
        let mut state = self.lock();
        let is_wanted = state.ramp.is_on && !state.ramp.is_taken && state.lacks_slots();
        if is_wanted {
            state.ramp = Ramp::begun();
            self.is_ramping.store(true, Ordering::Relaxed);
        }
        is_wanted
    }

    /// Takes a step. `processes`: how many there are. Returns the slots that are to be started; `None`: no further step
    /// is needed.
    pub(crate) fn step(&self, processes: usize) -> Option<Vec<usize>> {
        let mut state = self.lock();
        if !state.lacks_slots() {
            state.ramp.is_taken = false;
            self.is_ramping.store(false, Ordering::Relaxed);
            return None;
        }
        let present = state.roster.expected();
        let queued = state.backlog.queued();
        let allowed = state.ramp.allowed(present, processes, queued);
        state.roster.allow(allowed);
        self.is_ramping.store(!state.ramp.is_settled(), Ordering::Relaxed);
        Some(state.wake_for_jobs())
    }

    /// Whether slots are held back until it is known how long jobs take.
    pub(crate) fn is_ramping(&self) -> bool {
        self.is_ramping.load(Ordering::Relaxed)
    }

    /// A worker had read its request, and did not answer it for as long as a step takes.
    pub(crate) fn note_slow_job(&self) {
        self.lock().ramp.is_slow = true;
    }

    /// Nobody can take steps: all slots are started now. Returns them.
    pub(crate) fn start_at_once(&self) -> Vec<usize> {
        let mut state = self.lock();
        state.ramp = Ramp::default();
        self.is_ramping.store(false, Ordering::Relaxed);
        state.roster.allow(usize::MAX);
        state.wake_for_jobs()
    }
}

impl QueueState {
    /// Finds a slot without a thread. A caller waits for its call, and a job for its next try, so their slots are never
    /// held back.
    pub(super) fn call_absent(&mut self) -> Option<usize> {
        let is_awaited = self.backlog.calls() > 0 || self.lacks_watcher();
        if self.roster.is_held_back() && is_awaited {
            self.roster.allow(self.roster.expected() + 1);
        }
        self.roster.call_absent()
    }

    /// Whether jobs wait, and slots for them are held back.
    fn lacks_slots(&self) -> bool {
        self.roster.is_held_back() && self.backlog.queued() > self.roster.woken()
    }
}
