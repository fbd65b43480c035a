//! [`Pool`]: the public handle of a pool, for callers and for programs that feed jobs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::config::Depth;
use crate::job::Closed;
use crate::job::{Failure, Feed, Job, Kind};
use crate::pool::calls::{Deferred, Pipeline};
use crate::pool::engine::Engine;
use crate::pool::gates::Gate;
use crate::pool::shared::Shared;
use crate::pool::shared::stopping::StopOrder;
use crate::pool::underway::Underway;
use crate::process::Stop;
use crate::util::clock::Moment;

/// A pool of persistent worker processes.
///
/// A `Pool` is a handle: clones share the same processes. When the last handle is dropped, all
/// processes are killed at once; [`Pool::shutdown`] ends them in an orderly way. The pool has threads of
/// its own, so it works under both of tokio's runtimes, and under several at a time.
#[derive(Clone)]
pub struct Pool {
    engine: Arc<Engine>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.engine.shared.config).finish_non_exhaustive()
    }
}

impl Pool {
    /// Has a new pool share the processes, the clock, the gates and the spares of this one.
    pub(crate) fn share_with(&self, shared: Shared) -> Shared {
        shared.beside(&self.engine.shared)
    }

    pub(crate) fn new(shared: Shared) -> Self {
        let depth = match shared.config.worker.depth {
            Depth::Fixed(depth) => depth,
            Depth::Auto => 64,
        };
        let window = shared.config.max_procs.saturating_mul(depth).saturating_mul(2).min(1 << 20);
        Self { engine: Arc::new(Engine { shared: Arc::new(shared), window }) }
    }

    /// How many processes have been started so far.
    pub fn started(&self) -> u64 {
        self.engine.shared.groups.started()
    }

    /// Runs one job: waits for a free process, hands it the job, and waits for the reply.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// // A worker that answers every request with the same result.
    /// let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// let pool = procpool::Pool::builder(worker).build()?;
    /// assert_eq!(pool.process("answer", ["everything"]).await?, 42);
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Why the job has no result. A job whose args can't be written as JSON is [`Kind::Invalid`].
    ///
    /// # Cancellation
    /// Dropping the future cancels the job. If it is queued, it leaves the queue. If it is running, its
    /// worker is ended, as after a timeout, and the next job gets a new one.
    pub async fn process(&self, cmd: &str, args: impl Serialize) -> Result<Value, Failure> {
        self.defer(cmd, args).await
    }

    /// Queues a job at once and returns a handle that is awaited later. The job is held in memory
    /// until a process takes it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let first = pool.defer("answer", [1]);
    /// let second = pool.defer("answer", [2]);
    /// assert_eq!(second.await?, 42);
    /// assert_eq!(first.await?, 42);
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the handle cancels the job, as for [`Pool::process`].
    pub fn defer(&self, cmd: &str, args: impl Serialize) -> Deferred {
        let (deferred, caller) = Deferred::new(Arc::clone(&self.engine.shared));
        self.engine.queue(cmd, args, caller);
        deferred
    }

    /// Runs the same command with each of `args`, and returns the outcomes in this order. Args are taken
    /// from the iterator as processes become free for them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let outcomes = pool.map("answer", (0..100).map(|n| [n])).await;
    /// assert_eq!(outcomes.len(), 100);
    /// assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|value| *value == 42)));
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future cancels all of its jobs.
    pub async fn map<A: Serialize>(
        &self,
        cmd: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Vec<Result<Value, Failure>> {
        let pipeline = self.pipeline();
        let mut outcomes = Vec::new();
        for args in args {
            pipeline.queue(cmd, args).await;
            outcomes.push(Err(Failure::new(Kind::Cancelled, "it was not run")));
        }
        while let Some((tag, outcome)) = pipeline.next().await {
            if let Some(place) = usize::try_from(tag).ok().and_then(|tag| outcomes.get_mut(tag)) {
                *place = outcome;
            }
        }
        outcomes
    }

    /// Opens a pipeline: jobs go in, and outcomes come out as the jobs are finished.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let pipeline = pool.pipeline();
    /// for n in 0..100 {
    ///     pipeline.queue("answer", [n]).await;
    /// }
    /// while let Some((tag, outcome)) = pipeline.next().await {
    ///     assert!(tag < 100);
    ///     assert_eq!(outcome?, 42);
    /// }
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    pub fn pipeline(&self) -> Pipeline {
        Pipeline::new(Arc::clone(&self.engine))
    }

    /// Waits until no job is queued or running. Jobs that are queued meanwhile are waited for too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let answer = pool.defer("answer", [1]);
    /// pool.join().await;
    /// assert_eq!(answer.await?, 42); // It is there already.
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future has no effect on the jobs.
    pub async fn join(&self) {
        let queue = &self.engine.shared.queue;
        loop {
            let quiet = queue.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            if queue.is_quiet() {
                return;
            }
            quiet.await;
        }
    }

    /// Ends all processes and waits until they are gone; then the pool may be used again.
    ///
    /// Jobs that are queued or running fail as [`Kind::Cancelled`]; call [`Pool::join`] first to
    /// let them finish. An idle worker's stdin is closed; a busy worker gets TERM. A process that has
    /// not ended after the pool's grace period gets TERM, then KILL. Jobs that are queued while the
    /// pool shuts down are cancelled too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// pool.process("answer", [1]).await?;
    /// pool.shutdown().await;
    /// assert_eq!(pool.process("answer", [2]).await?, 42); // By a new process.
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future does not stop the shutdown; it goes on in the background.
    pub async fn shutdown(&self) {
        let order = StopOrder { at: self.engine.shared.now(), means: Stop::Terminate };
        let epoch = self.engine.end(order, true);
        self.engine.gone(epoch).await;
    }
}

impl Feed for Pool {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        Self::feed(self, batch)
    }
}

/// For programs that have millions of jobs and no caller for each of them, such as the command
/// `procpool`: jobs are fed in batches, and outcomes go to the [`Sink`](crate::Sink) of the pool.
impl Pool {
    /// Queues a batch of jobs and empties it. This blocks while the queue is full, so that input is read
    /// no faster than its jobs are run.
    ///
    /// # Errors
    /// The pool takes no more jobs. The batch is unchanged.
    pub fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        let slots = self.engine.shared.queue.push(batch, true)?;
        self.engine.shared.start_slots(slots);
        Ok(())
    }

    /// Closes the queue: no more jobs will be fed. Workers are retired when no job is left for them.
    pub fn finish(&self) {
        self.engine.shared.queue.close();
    }

    /// Waits until all workers are gone, after [`Pool::finish`], [`Pool::stop`] or [`Pool::kill`].
    pub async fn ended(&self) {
        let (_, epoch) = self.engine.shared.queue.presence();
        self.engine.gone(epoch).await;
    }

    /// Ends the run: queued jobs are dropped, and running jobs may go on for the pool's grace period.
    /// Jobs that are not finished then are cancelled: they get TERM, and KILL after another grace
    /// period. This does not block: another thread gives the [`Sink`](crate::Sink) the outcomes of jobs
    /// that waited to be tried again.
    pub fn stop(&self) {
        let shared = &self.engine.shared;
        self.terminate_at(shared.now().after(shared.config.grace));
    }

    /// Ends the run now, like [`Pool::cancel`]. Workers without a job get TERM too.
    pub fn terminate(&self) {
        self.terminate_at(self.engine.shared.now());
    }

    fn terminate_at(&self, at: Moment) {
        self.engine.shared.groups.terminate_at(at);
        self.engine.end(StopOrder { at, means: Stop::Terminate }, false);
    }

    /// The jobs that run now, in the order in which they were read. A slot that does not answer within
    /// `patience`, because it waits for the sink, is left out.
    pub fn underway(&self, patience: Duration) -> Vec<Underway> {
        let shared = &self.engine.shared;
        shared.roll_call.ask(patience, || shared.queue.wake_all())
    }

    /// How many workers are being warmed up by the messages of
    /// [`Builder::init`](crate::Builder::init), for jobs that wait for them.
    pub fn warming(&self) -> usize {
        self.engine.shared.start_ups.warming()
    }

    /// What holds most of the waiting slots back from starting their jobs, and how many slots wait for it.
    pub fn held_back(&self) -> Option<(Gate, usize)> {
        self.engine.shared.gates.busiest()
    }

    /// Ends the run when the running jobs are finished: queued jobs are dropped, and no other job is
    /// started. A [`Sink`](crate::Sink) may call this.
    pub fn drain(&self) {
        self.engine.end(StopOrder { at: Moment::NEVER, means: Stop::Terminate }, false);
    }

    /// Ends the run: queued jobs are dropped, and running jobs are cancelled (TERM, then KILL after the
    /// pool's grace period). A [`Sink`](crate::Sink) may call this.
    pub fn cancel(&self) {
        let at = self.engine.shared.now();
        self.engine.end(StopOrder { at, means: Stop::Terminate }, false);
    }

    /// Ends the run at once: all processes are killed, running jobs are cancelled.
    pub fn kill(&self) {
        self.engine.kill();
    }

    /// Stops all processes (STOP) and the clock that jobs are timed by.
    pub fn pause(&self) {
        self.engine.shared.groups.pause();
    }

    /// Lets all processes, and the clock, go on.
    pub fn resume(&self) {
        self.engine.shared.groups.resume();
    }

    /// How many jobs were fed and never ran, because the run was ended.
    pub fn left(&self) -> usize {
        self.engine.shared.deliveries.left()
    }
}
