//! How fast the slots of a large pool are started: a few at once, and as many more as the jobs that wait are worth. The
//! start of a worker takes the time of thousands of quick jobs.

use std::time::Duration;

/// This many slots are started at once.
pub(super) const FIRST: usize = 8;

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
    pub(super) is_on: bool,
    /// Somebody takes the steps.
    pub(super) is_taken: bool,
    /// The jobs that were finished since the last step.
    finished: usize,
    /// Since the last step, a worker had read its request and did not answer it for as long as a step takes.
    pub(super) is_slow: bool,
    /// The steps since the number of slots was last raised.
    waited: u32,
}

impl Ramp {
    /// Somebody takes the steps from now on.
    pub(super) fn begun() -> Self {
        Self { is_on: true, is_taken: true, ..Self::default() }
    }

    pub(super) fn count(&mut self, jobs: usize) {
        self.finished += jobs;
    }

    /// How many slots there may be. `present`: how many there are now. `processes`: how many of them have one. `queued`: how
    /// many jobs wait.
    pub(super) fn allowed(&mut self, present: usize, processes: usize, queued: usize) -> usize {
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

/// How many further slots the `queued` jobs are worth. `finished`: how many jobs the slots finish in a step.
fn worth(queued: usize, finished: usize) -> usize {
    let steps = queued / finished;
    let steps_each = (WORTH.as_micros() / STEP.as_micros()) as usize;
    steps / steps_each
}
