//! The number of spare workers, and its limit, in all slots of a pool and of the pools beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pool::shared::renewals::Renewals;

/// The count of spare workers and its limit.
#[derive(Debug)]
pub(crate) struct Spares {
    /// The replacement of all workers.
    pub(crate) renewals: Renewals,
    count: Arc<AtomicUsize>,
    most: usize,
}

impl Spares {
    pub(super) fn new(most: usize) -> Self {
        Self { renewals: Renewals::new(), count: Arc::default(), most }
    }

    /// The same limit, with the count of another pool.
    pub(super) fn beside(self, other: &Self) -> Self {
        Self { count: Arc::clone(&other.count), ..self }
    }

    /// How many spare workers there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there may be another spare worker.
    pub(crate) fn has_room(&self) -> bool {
        self.count() < self.most
    }

    /// The right to have one more spare worker, whatever the limit is.
    pub(crate) fn always(&self) -> SparePermit {
        self.count.fetch_add(1, Ordering::AcqRel);
        SparePermit(Arc::clone(&self.count))
    }

    /// The right to have one more spare worker, unless there are as many as there may be.
    pub(crate) fn permit(&self) -> Option<SparePermit> {
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < self.most).then_some(count + 1)
            })
            .ok()
            .map(|_| SparePermit(Arc::clone(&self.count)))
    }
}

/// The right to have one spare worker, until it is dropped.
#[derive(Debug)]
pub(crate) struct SparePermit(Arc<AtomicUsize>);

impl Drop for SparePermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
