//! How fast the slots of a large pool are started: a few at once, and as many more as the jobs that wait are worth. The
//! start of a worker takes the time of thousands of quick jobs.

use std::time::Duration;

/// This many slots are started at once.
pub(super) const FIRST: usize = 8;

/// The time between two steps. A job that takes longer is worth a slot.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// While workers start, the number of slots doubles only after this many steps.
const PATIENCE: u32 = 5;

/// No more slots are started for this many steps after the last ones have brought too little.
const LONG: u32 = 40;

/// A further slot is worth its start if the jobs that wait take this long.
const WORTH: Duration = Duration::from_millis(20);

/// Jobs are quick if each slot finishes more than this many in a step.
const QUICK: usize = 5;

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
    growth: Growth,
}

/// What the last slots have brought, while jobs are quick. Slots that wait for the same processors bring nothing.
#[derive(Debug, Default)]
struct Growth {
    /// The jobs per step before the last slots were started, if jobs were quick then.
    before: usize,
    /// The jobs since the last look, and the steps in which they were finished.
    finished: usize,
    steps: usize,
    /// The last slots have brought too little: no more are started.
    is_over: bool,
}

impl Growth {
    /// How many slots there may be. `worth`: how many the jobs that wait are worth.
    fn allowed(&mut self, present: usize, finished: usize, worth: usize) -> usize {
        self.finished += finished;
        self.steps += 1;
        // A pause of the machine may have hidden what the last slots bring, so the verdict is looked at again.
        let enough = if self.is_over { LONG } else { PATIENCE };
        if self.steps < enough as usize {
            return present;
        }
        let Self { before, is_over, .. } = *self;
        let rate = self.finished / self.steps;
        *self = Self { before, is_over: rate < before + before / 4, ..Self::default() };
        if self.is_over {
            if is_over && rate < before / 2 {
                // Jobs have become slower.
                *self = Self::default();
            }
            return present;
        }
        let is_quick = rate / QUICK > present;
        self.before = if is_quick { rate } else { 0 };
        if is_quick { worth.min(present.saturating_mul(2)) } else { worth }
    }
}

impl Ramp {
    /// Somebody takes the steps from now on.
    pub(super) fn begun() -> Self {
        Self { is_on: true, is_taken: true, ..Self::default() }
    }

    /// Whether no more slots are started while jobs are as quick as now.
    pub(super) fn is_settled(&self) -> bool {
        self.growth.is_over
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
            let worth = FIRST + worth(queued, finished);
            if worth <= present || is_slow && finished / QUICK <= present {
                worth
            } else {
                self.growth.allowed(present, finished, worth)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of slots after 200 steps, if so many jobs are finished in each by this many slots.
    fn slots_after(mut finished: impl FnMut(usize) -> usize) -> usize {
        let mut ramp = Ramp::begun();
        (0..200).fold(FIRST, |slots, _| {
            ramp.count(finished(slots));
            ramp.allowed(slots, slots, 10_000_000)
        })
    }

    #[test]
    fn slots_that_bring_nothing_are_not_started() {
        assert_eq!(slots_after(|slots| 500 + slots), 2 * FIRST);
        assert_eq!(slots_after(|slots| 100 * slots.min(36)), 8 * FIRST);
        assert!(slots_after(|slots| 100 * slots) > 16 * FIRST);
        assert!(slots_after(|slots| slots) > 1000);
        assert!(slots_after(|slots| if slots < 2 * FIRST { 500 } else { 10 }) > 1000);
    }

    #[test]
    fn a_pause_of_the_machine_does_not_hold_back_slots_for_long() {
        let mut steps = 0;
        let paused = |slots| {
            steps += 1;
            if (6..12).contains(&steps) { 1 } else { 100 * slots }
        };
        assert!(slots_after(paused) > 16 * FIRST);
    }
}
