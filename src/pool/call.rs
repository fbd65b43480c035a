//! [`Call`]: a call with settings of its own.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::call::OpenCall;
use crate::job::{Failure, Job, Kind};
use crate::pool::deferred::Deferred;
use crate::pool::engine::Engine;
use crate::util::block_on::block_on;
use crate::util::clock::Moment;

/// A task that makes one call after the other keeps its thread for up to this long while a quick worker
/// answers. To be woken takes about as long.
const SHORT: Duration = Duration::from_micros(100);

/// The same for a thread that runs no futures. It has nothing else to do.
const LONG: Duration = Duration::from_millis(1);

/// A call with settings of its own, made by [`Pool::call`](crate::Pool::call).
///
/// ```
/// # use std::time::Duration;
/// # async fn example(pool: procpool::Pool) -> Result<(), procpool::Failure> {
/// let size: (u32, u32) = pool
///     .call("resize")
///     .args(("a.png", 100))
///     .timeout(Duration::from_secs(5)) // of the job, from when its worker has read it
///     .queue_timeout(Duration::from_millis(200)) // of the wait before that
///     .retries(2)
///     .send()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "it does nothing before it is sent"]
pub struct Call<'a> {
    engine: &'a Engine,
    cmd: String,
    job: Option<Result<Job, Failure>>,
    timeout: Option<Duration>,
    retries: Option<u32>,
    queue_timeout: Option<Duration>,
    home: Option<u32>,
}

impl<'a> Call<'a> {
    pub(super) fn new(engine: &'a Engine, cmd: &str) -> Self {
        let queue_timeout = engine.shared.config.calls.queue_timeout;
        let cmd = cmd.to_owned();
        Self { engine, cmd, job: None, timeout: None, retries: None, queue_timeout, home: None }
    }

    /// The args: anything that serde can write as JSON. Default: none.
    pub fn args(mut self, args: impl Serialize) -> Self {
        self.job = Some(self.engine.job(&self.cmd, &args));
        self
    }

    /// How long the job may take, in place of [`Builder::timeout`](crate::Builder::timeout).
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// How many times the job is tried again after a failure, in place of
    /// [`Builder::retries`](crate::Builder::retries).
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = Some(count);
        self
    }

    /// How long the call may wait in the queue for its first attempt, in place of
    /// [`Builder::queue_timeout`](crate::Builder::queue_timeout). After that it fails as [`Kind::Expired`].
    pub fn queue_timeout(mut self, time: Duration) -> Self {
        self.queue_timeout = Some(time);
        self
    }

    /// Calls with equal keys, as text, go to the same slot of the pool, in order: to the same worker and,
    /// after its end, to the one that replaces it. So a worker may keep what belongs to a key in memory.
    /// Several keys may share a slot while other slots are idle.
    pub fn key(mut self, key: impl Display) -> Self {
        // The hasher has no random start, so that equal keys are equal in all calls.
        let mut hasher = DefaultHasher::new();
        key.to_string().hash(&mut hasher);
        let slots = self.engine.shared.config.max_procs as u64;
        self.home = u32::try_from(hasher.finish() % slots).ok();
        self
    }

    /// Queues the job at once. If the queue has a bound ([`Builder::max_queue`](crate::Builder::max_queue))
    /// and is full, the outcome is a [`Kind::Full`].
    pub fn send<T: DeserializeOwned>(self) -> Deferred<T> {
        let shared = &self.engine.shared;
        let call = match shared.queue.try_place() {
            Some(has_place) => self.queue(has_place),
            None => OpenCall::answered(Err(full())),
        };
        Deferred::new(call, shared)
    }

    /// As [`Call::send`], but says at once that the queue is full.
    ///
    /// # Errors
    /// A failure of [`Kind::Full`].
    pub fn try_send<T: DeserializeOwned>(self) -> Result<Deferred<T>, Failure> {
        let shared = &self.engine.shared;
        let has_place = shared.queue.try_place().ok_or_else(full)?;
        Ok(Deferred::new(self.queue(has_place), shared))
    }

    /// Waits for a place in the queue, queues the job, and waits for its outcome.
    ///
    /// # Errors
    /// Why the job has no result.
    ///
    /// # Cancellation
    /// As for [`Pool::process`](crate::Pool::process).
    pub async fn run<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let engine = self.engine;
        let turn = engine.succession.begin().await;
        let has_place = engine.shared.queue.await_place().await;
        let patience = turn.is_one_of_many().then_some(SHORT);
        let deferred: Deferred<T> = self.begin(has_place, patience);
        deferred.await
    }

    /// As [`Call::run`], for a thread that runs no futures.
    pub(super) fn run_here<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let has_place = block_on(self.engine.shared.queue.await_place());
        self.begin(has_place, Some(LONG)).wait()
    }

    /// Queues the job. `patience`: how long this thread may wait for a worker that is idle and quick.
    fn begin<T: DeserializeOwned>(
        self,
        has_place: bool,
        patience: Option<Duration>,
    ) -> Deferred<T> {
        let engine = self.engine;
        let call = match (self.open(has_place), patience) {
            (Ok(call), Some(patience)) => engine.run(call, patience),
            (Ok(call), None) => engine.queue(call),
            (Err(call), _) => call,
        };
        Deferred::new(call, &engine.shared)
    }

    fn queue(self, has_place: bool) -> Arc<OpenCall> {
        let engine = self.engine;
        self.open(has_place).map_or_else(|answered| answered, |call| engine.queue(call))
    }

    /// Makes the call.
    ///
    /// # Errors
    /// It has failed, and is answered.
    fn open(self, has_place: bool) -> Result<Arc<OpenCall>, Arc<OpenCall>> {
        let Self { engine, cmd, job, timeout, retries, queue_timeout, home } = self;
        let mut job = match job.unwrap_or_else(|| engine.job(&cmd, &())) {
            Ok(job) => job,
            Err(failure) => {
                engine.shared.queue.free_places(usize::from(has_place));
                return Err(OpenCall::answered(Err(failure)));
            }
        };
        job.timeout = timeout;
        job.retries = retries;
        let expires = queue_timeout.map_or(Moment::NEVER, |time| engine.shared.now().after(time));
        Ok(OpenCall::new(job, expires, home, has_place))
    }
}

/// The failure of a call that finds the queue full.
fn full() -> Failure {
    Failure::new(Kind::Full, "as many calls wait in the queue as may wait")
}
