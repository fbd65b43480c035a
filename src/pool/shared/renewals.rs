//! The renewal of all workers: since when they are out of date, and which slot replaces its own now. One slot
//! does at a time, so that the others go on.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::clock::{AtomicMoment, Moment};

/// No slot replaces its worker.
const NOBODY: usize = usize::MAX;

/// The renewal of all workers.
#[derive(Debug)]
pub(crate) struct Renewals {
    /// Workers that were started before this moment are replaced.
    since: AtomicMoment,
    /// The slot that replaces its worker.
    at: AtomicUsize,
}

impl Renewals {
    pub(super) fn new() -> Self {
        Self { since: AtomicMoment::new(Moment::ZERO), at: AtomicUsize::new(NOBODY) }
    }

    /// All workers that were started before this moment are to be replaced.
    pub(crate) fn begin(&self, now: Moment) {
        self.since.store(now);
    }

    /// Whether a worker that was started at this moment is to be replaced.
    pub(crate) fn concerns(&self, born: Moment) -> bool {
        born < self.since.load()
    }

    /// Gives a slot the turn, unless another slot has it. Returns whether it has it.
    pub(crate) fn take_turn(&self, slot: usize) -> bool {
        let taken = self.at.compare_exchange(NOBODY, slot, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok() || taken == Err(slot)
    }

    /// The turn of a slot is over, if it had it. Returns whether it had.
    pub(crate) fn end_turn(&self, slot: usize) -> bool {
        self.at.compare_exchange(slot, NOBODY, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
