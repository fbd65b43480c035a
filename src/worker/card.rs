//! The facts about a worker that others than its slot can read: who it is, and what it does now.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::util::clock::Moment;

/// Which worker of a pool this is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerId {
    /// Its slot, counted from 1.
    pub(crate) slot: usize,
    /// Which worker of its slot it is.
    pub(crate) generation: u64,
}

/// The present use of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It has not answered yet.
    Starting = 0,
    /// It takes the jobs of its slot.
    Serving = 1,
    /// It waits to take the place of another.
    Spare = 2,
    /// It is being ended.
    Ending = 3,
}

/// The card of a worker. Its slot writes it, and anyone reads it.
#[derive(Debug)]
pub(crate) struct WorkerCard {
    pub(crate) id: WorkerId,
    pub(crate) pid: u32,
    pub(crate) born: Moment,
    duty: AtomicU8,
    jobs: AtomicU64,
    in_flight: AtomicUsize,
}

impl WorkerCard {
    pub(crate) fn new(id: WorkerId, pid: u32, born: Moment) -> Self {
        Self {
            id,
            pid,
            born,
            duty: AtomicU8::new(Duty::Starting as u8),
            jobs: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set_duty(&self, duty: Duty) {
        self.duty.store(duty as u8, Ordering::Relaxed);
    }

    pub(crate) fn duty(&self) -> Duty {
        match self.duty.load(Ordering::Relaxed) {
            0 => Duty::Starting,
            1 => Duty::Serving,
            2 => Duty::Spare,
            _ => Duty::Ending,
        }
    }

    /// How many jobs it has answered.
    pub(crate) fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    pub(super) fn set_jobs(&self, count: u64) {
        self.jobs.store(count, Ordering::Relaxed);
    }

    /// How many jobs it has and has not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn set_in_flight(&self, count: usize) {
        self.in_flight.store(count, Ordering::Relaxed);
    }
}
