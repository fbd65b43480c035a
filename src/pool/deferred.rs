//! [`Deferred`]: the outcome of one call, as a future or waited for by a thread.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;

use crate::job::call::OpenCall;
use crate::job::caller::CallResult;
use crate::job::{Failure, Kind};
use crate::pool::shared::Shared;
use crate::util::block_on::block_on;

/// Reads the result of a call as a type.
pub(super) fn read<T: DeserializeOwned>(answer: CallResult) -> Result<T, Failure> {
    let answer = answer?;
    answer.read().map_err(|error| {
        let message = format!("its result can't be read as {}: {error}", type_name::<T>());
        Failure { data: Some(answer.to_json()), ..Failure::new(Kind::Mismatch, message) }
    })
}

/// The outcome of a call that was queued with [`Pool::defer`](crate::Pool::defer) or
/// [`Call::send`](crate::Call::send): a future, or [`Deferred::wait`] for a thread. The job runs whether or
/// not it is awaited.
///
/// # Cancellation
/// Dropping it cancels the job, as it says for [`Pool::process`](crate::Pool::process).
#[must_use = "dropping it cancels the job"]
pub struct Deferred<T> {
    call: Arc<OpenCall>,
    /// This is no handle of the pool: a job that is awaited does not keep the pool alive.
    shared: Arc<Shared>,
    result: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Deferred<T> {
    pub(super) fn new(call: Arc<OpenCall>, shared: &Arc<Shared>) -> Self {
        Self { call, shared: Arc::clone(shared), result: PhantomData }
    }

    /// Blocks this thread until the job is done. Don't call it on a thread that runs futures.
    ///
    /// # Errors
    /// Why the job has no result.
    pub fn wait(self) -> Result<T, Failure> {
        block_on(self)
    }
}

impl<T> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Future for Deferred<T> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.call.poll(context));
        Poll::Ready(read(answer))
    }
}

impl<T> Drop for Deferred<T> {
    fn drop(&mut self) {
        if !self.call.is_over() {
            self.shared.queue.drop_call(&self.call);
        }
    }
}
