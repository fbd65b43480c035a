//! [`Outcomes`]: the outcomes of a command on each args of an iterator, in order or as they come, with a
//! bound on how many are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::iter::Fuse;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::job::Failure;
use crate::job::call::OpenCall;
use crate::job::caller::CallResult;
use crate::pool::deferred::read;
use crate::pool::engine::Engine;
use crate::util::block_on::block_on;

/// The outcomes of [`Pool::stream`](crate::Pool::stream), each with the place of its args in the iterator,
/// from 0. It is a [`Stream`]; [`Outcomes::next`] needs no trait.
///
/// It holds at most [`Outcomes::window`] jobs and outcomes in memory: args are taken from the iterator as
/// there is room for them. It makes progress only while it is polled.
///
/// # Cancellation
/// Dropping it cancels the jobs that it has begun. Dropping the future of [`Outcomes::next`] loses nothing.
pub struct Outcomes<I: Iterator, T> {
    engine: Arc<Engine>,
    cmd: String,
    args: Fuse<I>,
    window: usize,
    is_ordered: bool,
    sender: mpsc::UnboundedSender<(u64, CallResult)>,
    receiver: mpsc::UnboundedReceiver<(u64, CallResult)>,
    /// How many args were taken.
    taken: u64,
    /// How many outcomes were returned.
    returned: u64,
    /// Outcomes that wait for their turn.
    early: BTreeMap<u64, CallResult>,
    result: PhantomData<fn() -> T>,
}

impl<I: Iterator, T> fmt::Debug for Outcomes<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("taken", &self.taken)
            .field("returned", &self.returned)
            .finish_non_exhaustive()
    }
}

impl<I: Iterator, T> Unpin for Outcomes<I, T> {}

impl<I, T> Outcomes<I, T>
where
    I: Iterator<Item: Serialize>,
    T: DeserializeOwned,
{
    pub(super) fn new(engine: Arc<Engine>, cmd: &str, args: I) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            window: engine.window,
            engine,
            cmd: cmd.to_owned(),
            args: args.fuse(),
            is_ordered: true,
            sender,
            receiver,
            taken: 0,
            returned: 0,
            early: BTreeMap::new(),
            result: PhantomData,
        }
    }

    /// The outcomes come as the jobs are finished, and not in the order of the args. So a slow job delays no
    /// other outcome.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.is_ordered = false;
        self
    }

    /// How many jobs may be queued, running, or finished and not returned yet. At least 1. Default: enough
    /// to keep all workers busy.
    #[must_use]
    pub fn window(mut self, jobs: usize) -> Self {
        self.window = jobs.max(1);
        self
    }

    /// Waits for the next outcome; `None`: there are no more.
    pub async fn next(&mut self) -> Option<(u64, Result<T, Failure>)> {
        poll_fn(|context| self.poll_outcome(context)).await
    }

    /// The outcomes as an iterator, for a thread that runs no futures: it blocks until the next one is there.
    pub fn wait(mut self) -> impl Iterator<Item = (u64, Result<T, Failure>)> + use<I, T> {
        std::iter::from_fn(move || block_on(self.next()))
    }

    fn poll_outcome(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(u64, Result<T, Failure>)>> {
        loop {
            // Many at once, so that the slots are not called for each.
            if 2 * (self.taken - self.returned) <= self.window as u64 {
                self.fill();
            }
            let in_turn = self.early.remove(&self.returned);
            let next = match in_turn {
                Some(answer) => (self.returned, answer),
                None if self.returned == self.taken => return Poll::Ready(None),
                None => match self.receiver.poll_recv(context) {
                    Poll::Ready(Some(next)) => next,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {
                        self.fill();
                        return Poll::Pending;
                    }
                },
            };
            if self.is_ordered && next.0 != self.returned {
                self.early.insert(next.0, next.1);
                continue;
            }
            self.returned += 1;
            return Poll::Ready(Some((next.0, read(next.1))));
        }
    }

    /// Queues jobs as far as there is room for them.
    fn fill(&mut self) {
        let mut calls = Vec::new();
        while self.taken - self.returned < self.window as u64
            && let Some(args) = self.args.next()
        {
            let sender = self.sender.clone();
            match self.engine.job(&self.cmd, &args) {
                Ok(job) => calls.push(OpenCall::of_pipeline(job, self.taken, sender, None)),
                Err(failure) => drop(sender.send((self.taken, Err(failure)))),
            }
            self.taken += 1;
        }
        self.engine.queue_all(calls);
    }
}

impl<I, T> Stream for Outcomes<I, T>
where
    I: Iterator<Item: Serialize>,
    T: DeserializeOwned,
{
    type Item = (u64, Result<T, Failure>);

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_outcome(context)
    }
}

impl<I: Iterator, T> Drop for Outcomes<I, T> {
    fn drop(&mut self) {
        self.receiver.close();
        if self.returned < self.taken {
            self.engine.shared.queue.forget_dropped();
        }
    }
}
