//! [`Pool`]: the public handle of a pool, for callers and for programs that feed jobs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Depth;
use crate::job::Closed;
use crate::job::{Failure, Feed, Job};
use crate::link::to_agent::ToAgent;
use crate::pool::call::Call;
use crate::pool::deferred::Deferred;
use crate::pool::engine::{Engine, RunEnd};
use crate::pool::gates::Gate;
use crate::pool::pipeline::Pipeline;
use crate::pool::shared::Shared;
use crate::pool::shared::stopping::StopOrder;
use crate::pool::stats::Stats;
use crate::pool::stream::Outcomes;
use crate::pool::underway::Underway;
use crate::process::Stop;
use crate::util::clock::Moment;

/// A stream or a pipeline keeps twice this many jobs for each slot whose worker may have as many requests in
/// flight as its speed asks for.
const AUTO_DEPTH: usize = 512;

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
    pub(crate) fn share_with(&self, shared: Shared) -> Self {
        Self::with(shared.beside(&self.engine.shared), Arc::clone(&self.engine.family))
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self::with(shared, Arc::default())
    }

    fn with(shared: Shared, family: Arc<()>) -> Self {
        let depth = match shared.config.worker.depth {
            Depth::Fixed(depth) => depth,
            Depth::Auto => AUTO_DEPTH,
        };
        let window = shared.config.max_procs.saturating_mul(depth).saturating_mul(2).min(1 << 20);
        Self { engine: Arc::new(Engine::new(shared, window, family)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.engine.shared
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Starts the workers that are to be started before there is a job.
    pub(crate) fn prestart(&self) {
        let shared = &self.engine.shared;
        let joins_server = shared.hosts.as_ref().is_some_and(|hosts| hosts.settings.is_server());
        match shared.config.worker.prestart {
            // A server waits a while for the first words of a caller, who may wait for its input for longer.
            0 if joins_server => shared.start_slots(shared.queue.call_slots(1)),
            0 => {}
            count => shared.start_slots(shared.queue.call_slots(count)),
        }
    }

    /// How many processes have been started so far.
    #[doc(hidden)]
    pub fn started(&self) -> u64 {
        self.engine.shared.groups.started()
    }

    /// Runs one job: waits for a free process, hands it the job, and waits for the reply. `cmd` and `args`
    /// are what the worker reads; the result is read as a `T`: any type that serde can read, or a boxed
    /// [`RawValue`](serde_json::value::RawValue) for the JSON as it came.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // A worker that answers every request with the same result.
    /// let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// let pool = procpool::Pool::builder(worker).build()?;
    /// let answer: u64 = pool.process("answer", ["everything"]).await?;
    /// assert_eq!(answer, 42);
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Why the job has no result. A job whose args can't be written as JSON is [`Kind::Invalid`]; a result
    /// that is no `T` is [`Kind::Mismatch`].
    ///
    /// # Cancellation
    /// Dropping the future cancels the job. If it is queued, it leaves the queue at once, and its args are
    /// freed. If it is running, it may go on for [`Builder::cancel_grace`](crate::Builder::cancel_grace);
    /// after that its worker is ended, as after a timeout, and the next job gets a new one.
    ///
    /// [`Kind::Invalid`]: crate::Kind::Invalid
    /// [`Kind::Mismatch`]: crate::Kind::Mismatch
    pub async fn process<T: DeserializeOwned>(
        &self,
        cmd: &str,
        args: impl Serialize,
    ) -> Result<T, Failure> {
        self.call(cmd).args(args).run().await
    }

    /// As [`Pool::process`], but it does not wait for a place in a queue with a bound
    /// ([`Builder::max_queue`](crate::Builder::max_queue)).
    ///
    /// # Errors
    /// As for [`Pool::process`]. [`Kind::Full`](crate::Kind::Full): the queue is full.
    ///
    /// # Cancellation
    /// As for [`Pool::process`].
    pub async fn try_process<T: DeserializeOwned>(
        &self,
        cmd: &str,
        args: impl Serialize,
    ) -> Result<T, Failure> {
        self.call(cmd).args(args).try_send()?.await
    }

    /// Describes a call with settings of its own: a timeout, retries, a key, a limit of its wait.
    pub fn call(&self, cmd: &str) -> Call<'_> {
        Call::new(&self.engine, cmd)
    }

    /// Queues a job at once and returns a handle that is awaited later. The job is held in memory
    /// until a process takes it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let first = pool.defer::<u64>("answer", [1]);
    /// let second = pool.defer::<u64>("answer", [2]);
    /// assert_eq!(second.await? + first.await?, 84);
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the handle cancels the job, as for [`Pool::process`].
    pub fn defer<T: DeserializeOwned>(&self, cmd: &str, args: impl Serialize) -> Deferred<T> {
        self.call(cmd).args(args).send()
    }

    /// Runs the same command with each of `args`, and returns the outcomes in this order. Args are taken
    /// from the iterator as processes become free for them. All outcomes are held in memory:
    /// [`Pool::stream`] holds few.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let outcomes = pool.map::<u64, _>("answer", (0..100).map(|n| [n])).await;
    /// assert_eq!(outcomes.len(), 100);
    /// assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|value| *value == 42)));
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future cancels all of its jobs.
    pub async fn map<T: DeserializeOwned, A: Serialize>(
        &self,
        cmd: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Vec<Result<T, Failure>> {
        let mut stream = self.stream(cmd, args);
        let mut outcomes = Vec::new();
        while let Some((_, outcome)) = stream.next().await {
            outcomes.push(outcome);
        }
        outcomes
    }

    /// The outcomes of the same command with each of `args`, in this order or as they come. Args are taken
    /// from the iterator as there is room for them, so memory is bounded however many there are.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let mut outcomes = pool.stream::<u64, _, _>("answer", (0..1000).map(|n| [n])).unordered();
    /// while let Some((place, outcome)) = outcomes.next().await {
    ///     assert!(place < 1000);
    ///     assert_eq!(outcome?, 42);
    /// }
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    pub fn stream<T: DeserializeOwned, A: Serialize, I: IntoIterator<Item = A>>(
        &self,
        cmd: &str,
        args: I,
    ) -> Outcomes<I::IntoIter, T> {
        Outcomes::new(Arc::clone(&self.engine), cmd, args.into_iter())
    }

    /// Opens a pipeline: some tasks queue jobs, and others take outcomes as the jobs are finished.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let pipeline = pool.pipeline::<u64>();
    /// let feed = async {
    ///     for n in 0..100 {
    ///         pipeline.queue("answer", [n]).await?;
    ///     }
    ///     pipeline.close();
    ///     Ok::<(), procpool::Failure>(())
    /// };
    /// let take = async {
    ///     let mut sum = 0;
    ///     while let Some((tag, outcome)) = pipeline.next().await {
    ///         assert!(tag < 100);
    ///         sum += outcome?;
    ///     }
    ///     Ok::<u64, procpool::Failure>(sum)
    /// };
    /// let (fed, sum) = tokio::join!(feed, take);
    /// fed?;
    /// assert_eq!(sum?, 4200);
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    pub fn pipeline<T: DeserializeOwned>(&self) -> Pipeline<T> {
        Pipeline::new(Arc::clone(&self.engine))
    }

    /// What the pool does now, and how its calls have ended. This waits for nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// pool.process::<u64>("answer", ()).await?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.succeeded, stats.workers.len()), (1, 1));
    /// assert_eq!(stats.workers[0].jobs, 1);
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    pub fn stats(&self) -> Stats {
        Stats::of(&self.engine.shared)
    }

    /// Waits until no job is queued or running. Jobs that are queued meanwhile are waited for too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// let answer = pool.defer::<u64>("answer", [1]);
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
    /// Jobs that are running fail as [`Kind::Cancelled`](crate::Kind::Cancelled), and those that were not
    /// begun as [`Kind::Unstarted`](crate::Kind::Unstarted); call [`Pool::join`] first to let them finish. An idle worker's stdin is closed; a busy worker gets TERM. A process that has
    /// not ended after the pool's grace period gets TERM, then KILL. Jobs that are queued while the
    /// pool shuts down are cancelled too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
    /// # let pool = procpool::Pool::builder(worker).build()?;
    /// pool.process::<u64>("answer", [1]).await?;
    /// pool.shutdown().await;
    /// assert_eq!(pool.process::<u64>("answer", [2]).await?, 42); // By a new process.
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future does not stop the shutdown; it goes on in the background.
    pub async fn shutdown(&self) {
        let order = StopOrder { at: self.engine.shared.now(), means: Stop::Terminate };
        let epoch = self.engine.end(order, RunEnd { reopens: true, kills_list: true });
        self.engine.gone(epoch).await;
    }
}

impl Feed for Pool {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        Self::feed(self, batch)
    }
}

// For programs that have millions of jobs and no caller for each of them, such as the command
// `procpool`: jobs are fed in batches, and outcomes go to the sink of the pool.
impl Pool {
    /// Queues a batch of jobs and empties it. This blocks while the queue is full, so that input is read
    /// no faster than its jobs are run.
    ///
    /// # Errors
    /// The pool takes no more jobs. The batch is unchanged.
    #[doc(hidden)]
    pub fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        let slots = self.engine.shared.queue.push(batch, true)?;
        self.engine.shared.start_slots(slots);
        Ok(())
    }

    /// Closes the queue: no more jobs will be fed. Workers are retired when no job is left for them.
    #[doc(hidden)]
    pub fn finish(&self) {
        self.engine.shared.queue.close();
    }

    /// Waits until all workers are gone, after [`Pool::finish`], [`Pool::stop`] or [`Pool::kill`].
    #[doc(hidden)]
    pub async fn ended(&self) {
        let (_, epoch) = self.engine.shared.queue.presence();
        self.engine.gone(epoch).await;
    }

    /// Ends the run: queued jobs are dropped, and running jobs may go on for the pool's grace period.
    /// Jobs that are not finished then are cancelled: they get TERM, and KILL after another grace
    /// period. This does not block: another thread gives the [`Sink`](crate::Sink) the outcomes of jobs
    /// that waited to be tried again.
    #[doc(hidden)]
    pub fn stop(&self) {
        let shared = &self.engine.shared;
        self.terminate_at(shared.now().after(shared.config.grace));
    }

    /// Ends the run now, like [`Pool::cancel`]. Workers without a job get TERM too.
    #[doc(hidden)]
    pub fn terminate(&self) {
        self.terminate_at(self.engine.shared.now());
    }

    fn terminate_at(&self, at: Moment) {
        self.engine.shared.groups.terminate_at(at);
        self.engine.end(StopOrder { at, means: Stop::Terminate }, RunEnd::LAST);
    }

    /// The jobs that run now, in the order in which they were read. A slot that does not answer within
    /// `patience`, because it waits for the sink, is left out.
    #[doc(hidden)]
    pub fn underway(&self, patience: Duration) -> Vec<Underway> {
        let shared = &self.engine.shared;
        shared.roll_call.ask(patience, || shared.queue.wake_all())
    }

    /// How many workers are being warmed up by the messages of
    /// [`Builder::init`](crate::Builder::init), for jobs that wait for them.
    #[doc(hidden)]
    pub fn warming(&self) -> usize {
        self.engine.shared.start_ups.warming()
    }

    /// Runs at most this many jobs at a time from now on, between 1 and [`Builder::max_procs`](crate::Builder::max_procs).
    /// If that is less than before, running jobs are finished, and workers without a job end.
    #[doc(hidden)]
    pub fn limit(&self, count: usize) {
        let shared = &self.engine.shared;
        shared.start_slots(shared.queue.set_limit(count));
    }

    /// The gate that most of the waiting slots wait for, and how many they are.
    #[doc(hidden)]
    pub fn held_back(&self) -> Option<(Gate, usize)> {
        self.engine.shared.gates.busiest()
    }

    /// Ends the run when the running jobs are finished: queued jobs are dropped, and no other job is
    /// started. A [`Sink`](crate::Sink) may call this.
    #[doc(hidden)]
    pub fn drain(&self) {
        self.engine.end(StopOrder { at: Moment::NEVER, means: Stop::Terminate }, RunEnd::LAST);
    }

    /// Ends the run: queued jobs are dropped, and running jobs are cancelled (TERM, then KILL after the
    /// pool's grace period). A [`Sink`](crate::Sink) may call this.
    #[doc(hidden)]
    pub fn cancel(&self) {
        let at = self.engine.shared.now();
        self.engine.end(StopOrder { at, means: Stop::Terminate }, RunEnd::LAST);
    }

    /// Ends the run at once: all processes are killed, running jobs are cancelled.
    #[doc(hidden)]
    pub fn kill(&self) {
        self.engine.kill();
    }

    /// Stops all processes (STOP) and the clock that jobs are timed by.
    #[doc(hidden)]
    pub fn pause(&self) {
        if let Some(hosts) = &self.engine.shared.hosts {
            hosts.say_to_all(&ToAgent::Pause);
        }
        self.engine.shared.groups.pause();
    }

    /// Lets all processes, and the clock, go on.
    #[doc(hidden)]
    pub fn resume(&self) {
        self.engine.shared.groups.resume();
        if let Some(hosts) = &self.engine.shared.hosts {
            hosts.say_to_all(&ToAgent::Resume);
        }
    }

    /// Whether other machines, or a server, run jobs.
    #[doc(hidden)]
    pub fn has_hosts(&self) -> bool {
        self.engine.shared.hosts.is_some()
    }

    /// How many jobs were fed and never ran, because the run was ended.
    #[doc(hidden)]
    pub fn left(&self) -> usize {
        self.engine.shared.deliveries.left()
    }
}
