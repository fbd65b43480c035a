//! A call: a job that somebody waits for. It holds the job while it is queued, knows which slot has it
//! later, and keeps the answer until it is fetched.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::Answer;
use super::outcome::{Failure, Kind};
use crate::util::clock::Moment;

pub(crate) type CallResult = Result<Answer, Failure>;

/// A job that somebody waits for. The one who waits and the queue or a slot share it.
#[derive(Debug)]
pub(crate) struct CallRecord<J> {
    state: Mutex<CallState<J>>,
    /// Nobody waits any more.
    is_gone: AtomicBool,
    recipient: Recipient,
    /// Until when it may wait in the queue.
    pub(crate) expires: Moment,
    /// Which slot is to run it; `None`: any.
    pub(crate) home: Option<u32>,
}

/// Who gets the answer.
#[derive(Debug)]
enum Recipient {
    /// Whoever polls the call.
    Handle,
    /// A pipeline: the answer goes into its channel, with this number.
    Pipeline { tag: u64, sender: mpsc::UnboundedSender<(u64, CallResult)> },
}

#[derive(Debug)]
struct CallState<J> {
    stage: Stage<J>,
    waker: Option<Waker>,
    /// The place that the job takes in a pipeline.
    room: Option<OwnedSemaphorePermit>,
}

/// How far a call has come.
#[derive(Debug)]
enum Stage<J> {
    /// It waits in the queue.
    Queued {
        job: J,
        shelf: Waits,
        /// It takes a place in a queue with a bound.
        has_place: bool,
    },
    /// A slot has its job.
    AtSlot(usize),
    /// Its answer waits to be fetched.
    Answered(CallResult),
    /// Its answer was fetched, or nobody waits for it.
    Over,
}

/// Which part of the queue a call waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// It can run now.
    Now,
    /// It is to be tried again later.
    Later,
}

/// The rest of a call that was dropped. Its memory is freed with this, when the queue is not locked any
/// more: to free a waker may run code of those who wait.
#[derive(Debug)]
pub(crate) struct Dropped<J> {
    pub(crate) stage: DroppedStage,
    _held: (Option<J>, Option<Waker>),
}

/// How far a call had come when it was dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DroppedStage {
    /// It was over.
    Over,
    /// It was queued there, and had a place in a queue with a bound.
    Queued { shelf: Waits, had_place: bool },
    /// This slot has its job.
    AtSlot(usize),
}

impl<J> CallRecord<J> {
    /// A call of a handle.
    pub(crate) fn new(job: J, expires: Moment, home: Option<u32>, has_place: bool) -> Arc<Self> {
        Arc::new(Self::with(job, Recipient::Handle, (expires, home), has_place, None))
    }

    /// A call of a pipeline.
    pub(crate) fn of_pipeline(
        job: J,
        tag: u64,
        sender: mpsc::UnboundedSender<(u64, CallResult)>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Arc<Self> {
        let recipient = Recipient::Pipeline { tag, sender };
        Arc::new(Self::with(job, recipient, (Moment::NEVER, None), false, room))
    }

    fn with(
        job: J,
        recipient: Recipient,
        (expires, home): (Moment, Option<u32>),
        has_place: bool,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let stage = Stage::Queued { job, shelf: Waits::Now, has_place };
        let state = Mutex::new(CallState { stage, waker: None, room });
        Self { state, is_gone: AtomicBool::new(false), recipient, expires, home }
    }

    /// A call that is answered already.
    pub(crate) fn answered(answer: CallResult) -> Arc<Self> {
        let state = CallState { stage: Stage::Answered(answer), waker: None, room: None };
        Arc::new(Self {
            state: Mutex::new(state),
            is_gone: AtomicBool::new(false),
            recipient: Recipient::Handle,
            expires: Moment::NEVER,
            home: None,
        })
    }

    // ---- The one who waits

    /// The answer, if it has come.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<CallResult> {
        let mut state = self.lock();
        match std::mem::replace(&mut state.stage, Stage::Over) {
            Stage::Answered(answer) => Poll::Ready(answer),
            stage => {
                state.stage = stage;
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => state.waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Nobody waits any more. The caller holds the queue's lock.
    pub(crate) fn abandon(&self) -> Dropped<J> {
        let mut state = self.lock();
        self.is_gone.store(true, Ordering::Release);
        let waker = state.waker.take();
        let (stage, job) = match std::mem::replace(&mut state.stage, Stage::Over) {
            Stage::Queued { job, shelf, has_place } => {
                (DroppedStage::Queued { shelf, had_place: has_place }, Some(job))
            }
            Stage::AtSlot(slot) => (DroppedStage::AtSlot(slot), None),
            Stage::Answered(_) | Stage::Over => (DroppedStage::Over, None),
        };
        Dropped { stage, _held: (job, waker) }
    }

    /// Whether its answer was fetched, or is there.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.lock().stage, Stage::Answered(_) | Stage::Over)
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
            || match &self.recipient {
                Recipient::Handle => false,
                Recipient::Pipeline { sender, .. } => sender.is_closed(),
            }
    }

    // ---- The queue

    /// Takes the job out: it goes to this slot. `None`: the call was dropped while it was queued. Also
    /// whether it had a place in a queue with a bound.
    pub(super) fn start(&self, slot: usize) -> Option<(J, bool)> {
        let mut state = self.lock();
        match std::mem::replace(&mut state.stage, Stage::AtSlot(slot)) {
            Stage::Queued { job, has_place, .. } => Some((job, has_place)),
            stage => {
                state.stage = stage;
                None
            }
        }
    }

    /// Takes the job back: it is queued again. Returns whether anybody waits for it.
    pub(super) fn requeue(&self, job: J, shelf: Waits) -> bool {
        let mut state = self.lock();
        let is_waiting = matches!(state.stage, Stage::AtSlot(_));
        if is_waiting {
            state.stage = Stage::Queued { job, shelf, has_place: false };
        }
        is_waiting
    }

    /// Whether it waits in the queue, and somebody waits for it.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.lock().stage, Stage::Queued { .. }) && !self.is_gone()
    }

    fn finish(&self, answer: CallResult) {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::AtSlot(_)) {
            return;
        }
        let room = state.room.take();
        let waker = state.waker.take();
        match &self.recipient {
            Recipient::Handle => state.stage = Stage::Answered(answer),
            Recipient::Pipeline { tag, sender } => {
                state.stage = Stage::Over;
                drop(sender.send((*tag, answer)));
            }
        }
        drop(state);
        // What is woken may be code of the user's.
        let wake = || {
            drop(room);
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let _ = catch_unwind(AssertUnwindSafe(wake));
    }

    fn lock(&self) -> MutexGuard<'_, CallState<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The call that waits for a job, as the slot sees it. If it is dropped without a reply, as when a thread
/// panics, the call fails.
#[derive(Debug)]
pub(crate) struct Caller<J>(Option<Arc<CallRecord<J>>>);

impl<J> Caller<J> {
    pub(super) fn new(call: Arc<CallRecord<J>>) -> Self {
        Self(Some(call))
    }

    /// Tells the caller that its job is about to go to the worker of this slot. Call [`Caller::is_gone`]
    /// after this: if the caller is gone, the job must not go there.
    pub(crate) fn is_at(&self, index: usize) {
        if let Some(call) = &self.0
            && let Stage::AtSlot(slot) = &mut call.lock().stage
        {
            *slot = index;
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.as_ref().is_none_or(|call| call.is_gone())
    }

    /// Takes the call back, so that it can be queued.
    pub(super) fn into_call(mut self) -> Option<Arc<CallRecord<J>>> {
        self.0.take()
    }

    pub(crate) fn reply(mut self, answer: CallResult) {
        if let Some(call) = self.0.take() {
            call.finish(answer);
        }
    }
}

impl<J> Drop for Caller<J> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            let message = "its outcome was lost, since a thread of the pool has panicked";
            call.finish(Err(Failure::new(Kind::Cancelled, message)));
        }
    }
}
