//! [`Pipeline`]: many jobs at a time, queued by some tasks and their outcomes taken by others.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::job::call::OpenCall;
use crate::job::caller::CallResult;
use crate::job::{Failure, Kind};
use crate::pool::deferred::read;
use crate::pool::engine::Engine;
use crate::util::lock::lock;

/// Many jobs at a time: [`Pipeline::queue`] queues a job, [`Pipeline::next`] returns the outcome of
/// whichever job is finished next. Both may be called from several tasks at a time. After
/// [`Pipeline::close`], `next` returns `None` when all outcomes have been returned.
///
/// A single task that has all jobs in an iterator is better off with [`Pool::stream`](crate::Pool::stream).
///
/// # Cancellation
/// Dropping the pipeline cancels its jobs.
pub struct Pipeline<T> {
    engine: Arc<Engine>,
    sender: mpsc::UnboundedSender<(u64, CallResult)>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, CallResult)>>,
    /// A permit for each job that may be queued or running.
    room: Arc<Semaphore>,
    ledger: Mutex<Ledger>,
    /// Notified when the pipeline is closed.
    closing: Notify,
    result: PhantomData<fn() -> T>,
}

/// The jobs that were queued, and those that were returned.
#[derive(Debug, Default)]
struct Ledger {
    is_closed: bool,
    /// How many jobs were queued.
    tags: u64,
    /// How many outcomes have not been returned yet.
    owed: u64,
}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Pipeline<T> {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            room: Arc::new(Semaphore::new(engine.window)),
            engine,
            sender,
            receiver: tokio::sync::Mutex::new(receiver),
            ledger: Mutex::default(),
            closing: Notify::new(),
            result: PhantomData,
        }
    }

    /// Queues a job as soon as few enough jobs of this pipeline wait for a process. Returns the number,
    /// from 0, that comes with its outcome. Outcomes that nobody has asked for are kept in memory, and
    /// hold nothing up.
    ///
    /// # Errors
    /// A failure of [`Kind::Unstarted`](crate::Kind::Unstarted): the pipeline is closed.
    ///
    /// # Cancellation
    /// Dropping the future before it is done queues nothing.
    pub async fn queue(&self, cmd: &str, args: impl Serialize) -> Result<u64, Failure> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        let job = self.engine.job(cmd, &args);
        let tag = {
            let mut ledger = lock(&self.ledger);
            if ledger.is_closed {
                return Err(closed());
            }
            ledger.owed += 1;
            ledger.tags += 1;
            ledger.tags - 1
        };
        let sender = self.sender.clone();
        match job {
            Ok(job) => {
                self.engine.queue(OpenCall::of_pipeline(job, tag, sender, Some(room)));
            }
            Err(failure) => drop(sender.send((tag, Err(failure)))),
        }
        Ok(tag)
    }

    /// No more jobs will be queued: [`Pipeline::next`] does not wait for more. Calls to
    /// [`Pipeline::queue`] that wait for room fail.
    pub fn close(&self) {
        lock(&self.ledger).is_closed = true;
        self.room.close();
        self.closing.notify_waiters();
    }

    /// Waits for the next outcome of any job. `None`: the pipeline is closed, and all outcomes have been
    /// returned. Before it is closed this waits for another job.
    ///
    /// # Cancellation
    /// Dropping the future loses no outcome.
    pub async fn next(&self) -> Option<(u64, Result<T, Failure>)> {
        let mut receiver = self.receiver.lock().await;
        let mut closing = pin!(self.closing.notified());
        closing.as_mut().enable();
        let next = poll_fn(|context| {
            if let Poll::Ready(next) = receiver.poll_recv(context) {
                return Poll::Ready(next);
            }
            // It wakes this task; whether that has happened is in the ledger.
            let _ = closing.as_mut().poll(context);
            let ledger = lock(&self.ledger);
            if ledger.is_closed && ledger.owed == 0 { Poll::Ready(None) } else { Poll::Pending }
        });
        let (tag, answer) = next.await?;
        lock(&self.ledger).owed -= 1;
        Some((tag, read(answer)))
    }
}

/// The failure of a job for a pipeline that is closed.
fn closed() -> Failure {
    Failure::new(Kind::Unstarted, "the pipeline is closed")
}

impl<T> Drop for Pipeline<T> {
    fn drop(&mut self) {
        self.receiver.get_mut().close();
        if lock(&self.ledger).owed > 0 {
            self.engine.shared.queue.forget_dropped();
        }
    }
}
