//! How fast the slots of a large pool are started: a few at once, and as many more as the jobs that wait are worth. The
//! start of a worker takes the time of thousands of quick jobs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Queue, QueueState};

/// This many slots are started at once.
const FIRST: usize = 8;

/// The time between two steps. A job that takes longer is worth a slot.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// While workers start, the number of slots doubles only after this many steps.
const PATIENCE: u32 = 5;

/// A further slot is worth its start if the jobs that wait take this long.
const WORTH: Duration = Duration::from_millis(20);

/// The state of the steps.
#[derive(Debug, Default)]
pub(super) struct Ramp {
    /// The number of slots depends on what they do.
    is_on: bool,
    /// Somebody takes the steps.
    is_taken: bool,
    /// The jobs that were finished since the last step.
    finished: usize,
    /// Since the last step, a worker had read its request and did not answer it for as long as a step takes.
    is_slow: bool,
    /// The steps since the number of slots was last raised.
    waited: u32,
}

impl Ramp {
    pub(super) fn count(&mut self, jobs: usize) {
        self.finished += jobs;
    }

    /// How many slots there may be, if there are so many now. `processes`: how many of them have one. `queued`: how
    /// many jobs wait.
    fn allowed(&mut self, present: usize, processes: usize, queued: usize) -> usize {
        let finished = std::mem::take(&mut self.finished);
        let is_slow = std::mem::take(&mut self.is_slow);
        self.waited += 1;
        let has_patience = self.waited < PATIENCE;
        let allowed = if finished > 0 {
            FIRST + worth(queued, finished)
        } else if has_patience && (!is_slow || processes < present) {
            present
        } else {
            present.saturating_mul(2)
        };
        if allowed > present {
            self.waited = 0;
        }
        allowed.max(present)
    }
}

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
            state.ramp = Ramp { is_on: true, is_taken: true, ..Ramp::default() };
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

/// How many further slots the jobs that wait are worth, if so many are finished in a step.
fn worth(queued: usize, finished: usize) -> usize {
    let steps = queued / finished;
    let steps_each = (WORTH.as_micros() / STEP.as_micros()) as usize;
    steps / steps_each
}

impl QueueState {
    /// Finds a slot without a thread. A caller waits for its call, so its slot is never held back.
    pub(super) fn call_absent(&mut self) -> Option<usize> {
        if self.roster.is_held_back() && self.backlog.calls() > 0 {
            self.roster.allow(self.roster.expected() + 1);
        }
        self.roster.call_absent()
    }

    /// Whether jobs wait, and slots for them are held back.
    fn lacks_slots(&self) -> bool {
        self.roster.is_held_back() && self.backlog.queued() > self.roster.woken()
    }
}
