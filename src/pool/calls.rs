//! Callers that wait for their jobs: [`Deferred`] for one job, [`Pipeline`] for many.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::job::caller::{CallResult, Caller};
use crate::job::{Failure, Kind};
use crate::pool::engine::Engine;
use crate::pool::shared::Shared;

/// The text of a result as a value.
fn value(answer: CallResult) -> Result<Value, Failure> {
    let text = answer?;
    serde_json::from_str(text.get())
        .map_err(|error| Failure::new(Kind::Protocol, format!("its result can't be read: {error}")))
}

/// The outcome of a job that was queued with [`crate::Pool::defer`], as a future.
#[must_use = "dropping it cancels the job"]
pub struct Deferred {
    receiver: oneshot::Receiver<CallResult>,
    /// The slot that has the job, or [`NO_SLOT`].
    slot: Arc<AtomicUsize>,
    /// The shared state, and no handle of the pool: a job that is awaited does not keep the pool alive.
    shared: Arc<Shared>,
    is_over: bool,
}

const NO_SLOT: usize = usize::MAX;

impl Deferred {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, Caller) {
        let (sender, receiver) = oneshot::channel();
        let slot = Arc::new(AtomicUsize::new(NO_SLOT));
        let caller = Caller::One { sender, slot: Arc::clone(&slot) };
        (Self { receiver, slot, shared, is_over: false }, caller)
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}

impl Future for Deferred {
    type Output = Result<Value, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|answer| {
            self.is_over = true;
            let lost = |_| Failure::new(Kind::Cancelled, "the pool ended before the job did");
            value(answer.map_err(lost).and_then(|answer| answer))
        })
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.receiver.close();
        fence(Ordering::SeqCst);
        let slot = self.slot.load(Ordering::Relaxed);
        // If the job is still queued, a slot forgets it when its turn comes.
        if slot != NO_SLOT && !self.is_over && self.receiver.try_recv().is_err() {
            self.shared.queue.calls_dropped(Some(slot));
        }
    }
}

/// Many jobs at a time: [`Pipeline::queue`] queues a job, [`Pipeline::next`] returns the outcome of
/// whichever job is finished next. Both may be called from several tasks at a time.
///
/// Dropping the pipeline cancels its jobs.
#[derive(Debug)]
pub struct Pipeline {
    engine: Arc<Engine>,
    sender: mpsc::UnboundedSender<(u64, CallResult)>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, CallResult)>>,
    /// A permit for each job that may be queued or running.
    room: Arc<Semaphore>,
    tags: AtomicU64,
    /// How many outcomes have not been returned yet.
    owed: AtomicU64,
}

impl Pipeline {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            room: Arc::new(Semaphore::new(engine.window)),
            engine,
            sender,
            receiver: tokio::sync::Mutex::new(receiver),
            tags: AtomicU64::new(0),
            owed: AtomicU64::new(0),
        }
    }

    /// Queues a job. This waits while too many jobs of this pipeline are queued or running. Returns the
    /// number of the job, from 0, which comes with its outcome. Outcomes that nobody has asked for are
    /// kept in memory, and do not delay other jobs.
    ///
    /// # Cancellation
    /// Dropping the future before it is done queues nothing.
    pub async fn queue(&self, cmd: &str, args: impl Serialize) -> u64 {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        self.owed.fetch_add(1, Ordering::AcqRel);
        if let Ok(room) = permit {
            let sender = self.sender.clone();
            self.engine.queue(cmd, args, Caller::Pipeline { tag, sender, room });
        }
        tag
    }

    /// Waits for the next outcome of any job; `None`: the outcomes of all queued jobs have been
    /// returned.
    ///
    /// # Cancellation
    /// Dropping the future loses no outcome.
    pub async fn next(&self) -> Option<(u64, Result<Value, Failure>)> {
        let mut receiver = self.receiver.lock().await;
        if self.owed.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (tag, answer) = receiver.recv().await?;
        self.owed.fetch_sub(1, Ordering::AcqRel);
        Some((tag, value(answer)))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.receiver.get_mut().close();
        if self.owed.load(Ordering::Acquire) > 0 {
            self.engine.shared.queue.calls_dropped(None);
        }
    }
}
