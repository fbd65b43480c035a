//! A slot on loan: its thread sleeps, and callers have the worker run their calls on their own threads. Whatever
//! a caller can't deal with at once, such as a job that takes long or a worker that ends, is left to the thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::job::call::OpenCall;
use crate::pool::queue::{Loan, Taken};
use crate::pool::shared::Shared;
use crate::pool::slot::doubt::prove_results;
use crate::pool::slot::lending::Unsettled;
use crate::pool::slot::worker_slot::{NextStep, WorkerSlot};
use crate::process::{Transfer, Wake};

/// A slot is lent if a job takes its worker no longer than this, about. Of longer jobs, a wake-up is a small part.
const QUICK: Duration = Duration::from_millis(1);

/// A slot's thread looks after its worker this often while it is lent. If nobody has borrowed it meanwhile, it is
/// not lent before its next job.
const TICK: Duration = Duration::from_millis(10);

impl WorkerSlot {
    /// Whether callers may have the worker run their calls: it is idle, quick, and may have several more jobs.
    pub(super) fn may_be_lent(&mut self) -> bool {
        let is_fit = self.worker.as_ref().is_some_and(|worker| {
            let pace = worker.pace();
            worker.flights.is_empty()
                && !worker.has_unsent()
                && worker.may_have_several()
                && !pace.is_zero()
                && pace <= QUICK
        });
        is_fit
            && self.lending.is_due()
            && self.slot.jobs.is_empty()
            && !self.slot.shared.stopping.has_begun()
    }

    /// Runs the call that was queued for this slot, on the thread of its caller. Returns whether the slot may be
    /// lent again; otherwise its thread is to go on.
    fn serve(&mut self, patience: Duration) -> bool {
        if !(self.may_be_lent() && self.is_silent()) || self.take() != Taken::Jobs {
            return false;
        }
        self.hand_over();
        if self.in_flight() > 0 && !(self.is_answered_within(patience) && self.receive_for_caller())
        {
            return false;
        }
        self.lending.succeeded();
        let taken = self.take();
        self.slot.flush();
        taken == Taken::Wait && self.may_be_lent()
    }

    /// Whether an idle worker has printed nothing that would be taken for the reply to the next request.
    fn is_silent(&mut self) -> bool {
        let Some(worker) = self.worker.as_mut().filter(|worker| worker.may_mislead()) else {
            return true;
        };
        if worker.process.may_be_read() {
            return false;
        }
        prove_results(&self.slot.shared, worker, self.slot.now());
        true
    }

    /// Sends the worker its request. Returns whether it has answered in time.
    fn is_answered_within(&mut self, patience: Duration) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        let _ = worker.send();
        let shared = &*self.slot.shared;
        if worker.has_unsent() || shared.now() >= self.spare.due(shared, worker) {
            return false;
        }
        // On the same processor, the worker may have run and answered by now.
        let mut progress = worker.read();
        if progress == Transfer::Blocked {
            if !worker.process.wait_for_stdout(patience) {
                self.lending.failed();
                return false;
            }
            progress = worker.read();
        }
        matches!(progress, Transfer::Moved(_))
    }

    /// Delivers the replies that have come. Returns whether the worker may go on.
    fn receive_for_caller(&mut self) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        let now = self.slot.now();
        let was_spent = worker.is_spent();
        let outcome = self.slot.deliver_replies(worker, now);
        self.slot.shared.start_ups.worker_answered();
        self.slot.shared.estimates.learn_pace(worker.pace());
        let may_go_on = matches!(&outcome, Ok(received) if received.stale.is_none())
            && worker.flights.is_empty()
            && !worker.has_served(&self.slot.shared.config, now);
        self.lending.unsettled = (!may_go_on).then_some(Unsettled { outcome, was_spent, now });
        may_go_on
    }

    /// The slot is back at its thread: deals with what borrowers have left, and with all that has happened.
    fn come_back(&mut self) {
        if let Some(Unsettled { outcome, was_spent, now }) = self.lending.unsettled.take() {
            self.settle(&outcome, was_spent, now);
        }
        self.look_around();
    }
}

/// A slot, as its thread and its borrowers share it. Whoever has locked it works with the worker.
struct LentSlot {
    index: usize,
    slot: Mutex<WorkerSlot>,
    wake: Arc<Wake>,
    /// The slot's thread wants it back.
    is_recalled: AtomicBool,
    /// It was borrowed since its thread last looked.
    was_used: AtomicBool,
}

/// Runs a slot until the queue is closed and empty.
pub(super) fn run(slot: WorkerSlot) {
    if !slot.lending.is_allowed {
        return slot.run();
    }
    let lent = Arc::new(LentSlot {
        index: slot.slot.index,
        wake: Arc::clone(&slot.slot.wake),
        slot: Mutex::new(slot),
        is_recalled: AtomicBool::new(true),
        was_used: AtomicBool::new(false),
    });
    let mut slot = lent.lock();
    loop {
        match slot.turn() {
            NextStep::GoOn => {}
            NextStep::Leave => break,
            NextStep::Lend => {
                let shared = Arc::clone(&slot.slot.shared);
                drop(slot);
                let was_needed = lent.lend(&shared);
                slot = lent.lock();
                if !was_needed {
                    slot.lending.rest();
                }
                slot.come_back();
            }
        }
    }
    slot.finish();
}

impl LentSlot {
    /// Locks the slot for its thread.
    ///
    /// # Panics
    /// A borrower has panicked. That is dealt with as if this thread had.
    fn lock(&self) -> MutexGuard<'_, WorkerSlot> {
        match self.slot.lock() {
            Ok(slot) => slot,
            Err(_) => std::panic::resume_unwind(Box::new("a borrower of the slot has panicked")),
        }
    }

    /// Lends the slot until its thread is woken, but not for long. Returns whether anybody needed the slot.
    fn lend(self: &Arc<Self>, shared: &Shared) -> bool {
        self.was_used.store(false, Ordering::Release);
        self.is_recalled.store(false, Ordering::Release);
        shared.queue.loans.offer(Arc::clone(self) as Arc<dyn Loan>);
        let was_woken = self.wake.comes_within(TICK);
        self.is_recalled.store(true, Ordering::Release);
        shared.queue.loans.withdraw(self.index);
        was_woken || self.was_used.load(Ordering::Acquire)
    }
}

impl Loan for LentSlot {
    fn index(&self) -> usize {
        self.index
    }

    fn serve(&self, call: &Arc<OpenCall>, patience: Duration) -> bool {
        if self.is_recalled.load(Ordering::Acquire) {
            return false;
        }
        let mut slot = match self.slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return false,
        };
        // It may have been recalled since.
        if self.is_recalled.load(Ordering::Acquire)
            || !slot.slot.shared.queue.push_call_to(self.index, call)
        {
            return false;
        }
        self.was_used.store(true, Ordering::Release);
        if !slot.serve(patience) {
            self.is_recalled.store(true, Ordering::Release);
            self.wake.notify();
        }
        true
    }
}
