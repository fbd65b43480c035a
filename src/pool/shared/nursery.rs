//! The door of the nursery: slots leave orders for workers there, and the thread of the nursery takes them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::process::{ForkSpec, Process, Wake};
use crate::util::clock::{AtomicMoment, Moment};
use crate::util::lock::lock;

/// Why a worker was not started.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The system could not start it.
    Io(io::Error),
    /// The process that forks workers does not start. The sentence says why.
    Parent(String),
    /// It is not wanted any more.
    Unwanted,
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The place of the door, which pools with the same workers share. `None`: there is no nursery.
pub(crate) type NurseryPlace = Arc<Mutex<Option<Arc<NurseryDoor>>>>;

/// The door of a nursery.
#[derive(Debug)]
pub(crate) struct NurseryDoor {
    state: Mutex<DoorState>,
    /// Wakes the thread of the nursery.
    pub(crate) wake: Arc<Wake>,
    /// When the process was started that forks workers; `NEVER`: none is ready.
    pub(crate) ready: AtomicMoment,
    /// When the last replacement of that process failed.
    pub(crate) failed: AtomicMoment,
}

#[derive(Default)]
struct DoorState {
    orders: VecDeque<ForkOrder>,
    /// How many slots may leave orders.
    users: usize,
    /// No more orders are taken.
    is_closed: bool,
    /// The process that forks workers is to be looked at: it may be out of date.
    is_to_be_renewed: bool,
    /// What the thread does last.
    farewell: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for DoorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DoorState").field("users", &self.users).finish_non_exhaustive()
    }
}

/// An order for a worker.
#[derive(Debug)]
pub(crate) struct ForkOrder {
    pub(crate) spec: ForkSpec,
    pub(crate) reply: ForkReply,
}

/// What a slot gets for its order, once it is there.
type Handover = Arc<Mutex<Option<Result<Process, NotStarted>>>>;

/// The way back to the slot that has left an order. If it is dropped, the slot learns that the nursery is gone.
#[derive(Debug)]
pub(crate) struct ForkReply {
    delivery: Handover,
    wake: Arc<Wake>,
}

impl ForkReply {
    /// Whether the slot still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.delivery) > 1
    }

    pub(crate) fn give(self, result: Result<Process, NotStarted>) {
        *lock(&self.delivery) = Some(result);
    }
}

impl Drop for ForkReply {
    fn drop(&mut self) {
        lock(&self.delivery).get_or_insert(Err(NotStarted::Unwanted));
        self.wake.notify();
    }
}

/// An order, as the slot has it that waits. Its worker is ended if this is dropped.
pub(crate) struct ExpectedFork(Handover);

impl ExpectedFork {
    /// What has been delivered. The slot is woken then.
    pub(crate) fn take(&self) -> Option<Result<Process, NotStarted>> {
        lock(&self.0).take()
    }
}

impl NurseryDoor {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            wake: Arc::new(Wake::new()?),
            ready: AtomicMoment::new(Moment::NEVER),
            failed: AtomicMoment::new(Moment::ZERO),
        })
    }

    /// Another slot may leave orders. Returns whether the door is open.
    pub(crate) fn enter(&self) -> bool {
        let mut state = self.lock();
        state.users += usize::from(!state.is_closed);
        !state.is_closed
    }

    /// A slot leaves no more orders. After the last one, the door is closed, and the thread does what `farewell`
    /// says when all is ended. `farewell` is called while no other slot can enter.
    pub(crate) fn leave(&self, farewell: impl FnOnce() -> Box<dyn FnOnce() + Send>) {
        let mut state = self.lock();
        state.users = state.users.saturating_sub(1);
        if state.users == 0 && !state.is_closed {
            state.is_closed = true;
            state.farewell = Some(farewell());
            drop(state);
            self.wake.notify();
        }
    }

    /// Leaves an order.
    pub(crate) fn order(&self, spec: ForkSpec) -> ExpectedFork {
        let delivery = Handover::default();
        let wake = Arc::clone(&spec.wake);
        let reply = ForkReply { delivery: Arc::clone(&delivery), wake };
        let mut state = self.lock();
        if !state.is_closed {
            state.orders.push_back(ForkOrder { spec, reply });
            drop(state);
            self.wake.notify();
        }
        ExpectedFork(delivery)
    }

    /// Has the thread replace the process that forks workers, if that is out of date.
    pub(crate) fn ask_for_renewal(&self) {
        self.lock().is_to_be_renewed = true;
        self.wake.notify();
    }

    // ---- For the thread of the nursery

    pub(crate) fn next(&self) -> Option<ForkOrder> {
        self.lock().orders.pop_front()
    }

    pub(crate) fn takes_renewal(&self) -> bool {
        std::mem::take(&mut self.lock().is_to_be_renewed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// The thread ends: whoever waits learns that.
    pub(crate) fn close(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut state = self.lock();
        state.is_closed = true;
        let orders = std::mem::take(&mut state.orders);
        let farewell = state.farewell.take();
        drop(state);
        drop(orders);
        farewell
    }

    fn lock(&self) -> MutexGuard<'_, DoorState> {
        lock(&self.state)
    }
}
