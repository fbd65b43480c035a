//! The end of a run as its slots see it: whether it was ordered, when running jobs are ended, and how.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::process::Stop;
use crate::util::clock::Moment;

/// When running jobs are ended, and by which step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopOrder {
    pub(crate) at: Moment,
    pub(crate) means: Stop,
}

const NO_ORDER: StopOrder = StopOrder { at: Moment::NEVER, means: Stop::Terminate };

/// Whether the run is ending.
#[derive(Debug)]
pub(crate) struct Stopping {
    order: Mutex<StopOrder>,
    /// Whether there is an order. It is read far more often than it is written.
    has_begun: AtomicBool,
}

impl Stopping {
    pub(super) fn new() -> Self {
        Self { order: Mutex::new(NO_ORDER), has_begun: AtomicBool::new(false) }
    }

    /// Whether the run is ending. No other job is started then.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// When running jobs are ended.
    pub(crate) fn at(&self) -> Moment {
        if self.has_begun() { self.lock().at } else { Moment::NEVER }
    }

    /// The first step by which running jobs are ended.
    pub(crate) fn means(&self) -> Stop {
        self.lock().means
    }

    /// Orders the end of the run. Of two orders, the earlier time and the stronger step count.
    pub(crate) fn order(&self, new: StopOrder) {
        let mut order = self.lock();
        order.at = order.at.min(new.at);
        order.means = order.means.max(new.means);
        drop(order);
        self.has_begun.store(true, Ordering::Release);
    }

    /// Forgets all orders: the pool may be used again.
    pub(super) fn reset(&self) {
        *self.lock() = NO_ORDER;
        self.has_begun.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, StopOrder> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
