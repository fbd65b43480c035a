//! Slots on loan: a slot whose worker is idle and quick is lent to callers. A caller then hands its job to the
//! worker and reads the reply on its own thread, which saves waking the slot's thread and being woken by it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::job::call::OpenCall;
use crate::util::lock::lock;

/// A caller looks at this many slots at most.
const FEW: usize = 4;

/// A slot that callers may borrow.
pub(crate) trait Loan: Send + Sync {
    /// The place of the slot in the queue, from 0.
    fn index(&self) -> usize;

    /// Queues a call for the slot, has its worker run it, and waits for the reply for no longer than `patience`.
    /// If it takes longer, the slot's thread goes on with it. Returns whether the call is queued; `false`: the
    /// slot can't be borrowed now, and nothing has happened.
    fn serve(&self, call: &Arc<OpenCall>, patience: Duration) -> bool;
}

/// The slots that callers may borrow.
#[derive(Default)]
pub(crate) struct Loans {
    offered: Mutex<Vec<Arc<dyn Loan>>>,
    /// How many there are. It is read without the lock.
    count: AtomicUsize,
}

impl Loans {
    /// A slot may be borrowed from now on.
    pub(crate) fn offer(&self, slot: Arc<dyn Loan>) {
        let mut offered = lock(&self.offered);
        offered.push(slot);
        self.count.store(offered.len(), Ordering::Release);
    }

    /// A slot is not lent any more. It may be on loan still.
    pub(crate) fn withdraw(&self, index: usize) {
        let mut offered = lock(&self.offered);
        let before = offered.len();
        offered.retain(|slot| slot.index() != index);
        debug_assert!(offered.len() < before, "it was offered");
        self.count.store(offered.len(), Ordering::Release);
    }

    /// Borrows a slot for a call, as [`Loan::serve`]. A slot that was offered last comes first. Returns whether
    /// the call is queued.
    pub(crate) fn serve(&self, call: &Arc<OpenCall>, patience: Duration) -> bool {
        let count = self.count.load(Ordering::Acquire);
        (0..count).rev().take(FEW).any(|place| {
            let slot = lock(&self.offered).get(place).cloned();
            slot.is_some_and(|slot| slot.serve(call, patience))
        })
    }
}

impl std::fmt::Debug for Loans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loans").field("count", &self.count).finish_non_exhaustive()
    }
}
