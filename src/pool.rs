//! The public face: a pool of workers. It starts slots, and shuts them down.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::Moment;
use crate::config::Config;
use crate::job::{Done, Failure, Job, Kind, Sink, Watcher};
use crate::process::{Groups, Stop, Wake};
use crate::program::{self, ProgramError};
use crate::queue::{Closed, Queue};
use crate::slot::Slot;
use crate::window::Depth;
use crate::worker::Worker;

/// What all slots of a pool share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    pub(crate) groups: Groups,
    pub(crate) watcher: Arc<dyn Watcher>,
    sink: Option<Arc<dyn Sink>>,
    sources: Vec<String>,
    /// Start-up failures in a row.
    start_failures: AtomicU32,
    /// A worker has answered once, or its silence has been remarked on.
    heard: AtomicBool,
    stop: Mutex<Stopping>,
    /// Whether `stop` holds anything: read far more often than it is written.
    is_stopping: AtomicBool,
    /// How long a worker takes from its start to its first reply, in nanoseconds, about.
    start_time: AtomicU64,
    /// How many spare workers there are.
    spares: AtomicUsize,
    /// Jobs that were read and never run, since the run was ended.
    left: AtomicUsize,
}

/// When running jobs are to be ended, and how.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    at: Moment,
    means: Stop,
}

/// What a slot needs of stack is little, and there may be thousands.
const STACK: usize = 256 << 10;

const NOT_STOPPING: Stopping = Stopping { at: Moment::NEVER, means: Stop::Terminate };

impl Shared {
    pub(crate) fn now(&self) -> Moment {
        self.groups.clock.now()
    }

    pub(crate) fn start_failures(&self) -> u32 {
        self.start_failures.load(Ordering::Acquire)
    }

    /// Counts a start-up failure, unless it is of the same time as one that was counted: workers
    /// that were started side by side fail side by side. Returns the count.
    pub(crate) fn count_start_failure(&self, before: u32) -> u32 {
        match self.start_failures.compare_exchange(
            before,
            before + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => before + 1,
            Err(count) => count,
        }
    }

    pub(crate) fn worker_answered(&self) {
        if self.start_failures.load(Ordering::Relaxed) > 0 {
            self.start_failures.store(0, Ordering::Release);
        }
        if !self.heard.load(Ordering::Relaxed) {
            self.heard.store(true, Ordering::Release);
        }
    }

    /// Whether no worker has ever answered, and that has not been remarked on.
    pub(crate) fn is_silent(&self) -> bool {
        !self.heard.load(Ordering::Relaxed)
    }

    /// Whether the caller is the one to remark on the silence.
    pub(crate) fn remark_on_silence(&self) -> bool {
        !self.heard.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub(crate) fn stop_at(&self) -> Moment {
        match self.is_stopping() {
            true => self.lock_stop().at,
            false => Moment::NEVER,
        }
    }

    pub(crate) fn stop_means(&self) -> Stop {
        self.lock_stop().means
    }

    /// Gives the outcome of a job that no call waits for to the sink.
    pub(crate) fn deliver(&self, done: &Done<'_>) {
        if let (Some(sink), None) = (&self.sink, &done.job.caller) {
            sink.deliver(done);
        }
    }

    /// Passes on what this thread has delivered.
    pub(crate) fn flush(&self) {
        if let Some(sink) = &self.sink {
            sink.flush();
        }
    }

    /// Gives the outcome of a job to the call that waits for it, if there is one.
    pub(crate) fn tell_caller(&self, job: Job, outcome: Result<&RawValue, &Failure>) {
        if let Some(caller) = job.caller {
            caller.tell(outcome.map(ToOwned::to_owned).map_err(Clone::clone));
        }
    }

    /// What a job is called in messages.
    pub(crate) fn name(&self, job: &Job) -> String {
        crate::output::name(job, &self.sources)
    }

    /// How long before it is needed a worker must be started: half as long again as those before
    /// it took.
    pub(crate) fn start_time(&self) -> Duration {
        let nanos = self.start_time.load(Ordering::Relaxed);
        Duration::from_nanos(nanos + nanos / 2)
    }

    /// A worker gave its first reply so long after its start.
    pub(crate) fn learn_start_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4);
        // A spare that waited for its first job seems slower than it was: the first one counts.
        let _ = self.start_time.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends a worker in the background.
    pub(crate) fn retire(self: &Arc<Self>, worker: Worker) {
        self.queue.retiring();
        let retiring = Retiring { shared: Arc::clone(self), worker: Some(worker) };
        let name = "retiring".to_owned();
        // If there is no thread for it, it is ended here and now, by being dropped.
        let _ = thread::Builder::new().name(name).stack_size(STACK).spawn(move || drop(retiring));
    }

    /// Ends a worker, and waits until it is gone.
    pub(crate) fn dismiss(&self, mut worker: Worker, first: Stop, wake: Option<&Wake>) {
        let (grace, watcher) = (self.config.grace, &*self.watcher);
        let status = worker.process.stop(first, grace, &self.groups, wake, watcher);
        if status.is_none() {
            let pid = worker.process.pid();
            watcher.note(&format!("the worker (pid {pid}) could not be killed: it is left behind"));
        }
    }

    /// Too many workers in a row have died before their first reply. All jobs that wait fail; jobs
    /// for the sink are left, and the pool takes no more of them.
    pub(crate) fn give_up(&self, failure: &Failure) {
        if self.sink.is_some() {
            self.queue.close(false, || ());
        }
        self.drop_queued(failure);
        self.start_failures.store(0, Ordering::Release);
        self.watcher.start_limit_reached(failure);
    }

    /// Empties the queue. Calls are told why; jobs for the sink are counted as left.
    fn drop_queued(&self, failure: &Failure) {
        for job in self.queue.clear() {
            match job.caller {
                Some(_) => self.tell_caller(job, Err(failure)),
                None => {
                    self.left.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn lock_stop(&self) -> std::sync::MutexGuard<'_, Stopping> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_stop(&self, stopping: Stopping) {
        let mut stop = self.lock_stop();
        *stop = stopping;
        self.is_stopping.store(stopping.at != Moment::NEVER, Ordering::Release);
    }

    /// The last slot has left: the pool is as new.
    fn renew(&self) {
        self.set_stop(NOT_STOPPING);
        self.groups.spare();
    }
}

/// A worker that ends while its slot goes on.
struct Retiring {
    shared: Arc<Shared>,
    worker: Option<Worker>,
}

impl Drop for Retiring {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.shared.dismiss(worker, Stop::Retire, None);
        }
        self.shared.queue.retired(|| self.shared.renew());
    }
}

/// The right to have one spare worker.
pub(crate) struct SparePermit(Arc<Shared>);

impl SparePermit {
    pub(crate) fn get(shared: &Arc<Shared>) -> Option<Self> {
        let most = shared.config.standby;
        shared
            .spares
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < most).then_some(count + 1)
            })
            .ok()
            .map(|_| Self(Arc::clone(shared)))
    }
}

impl Drop for SparePermit {
    fn drop(&mut self) {
        self.0.spares.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A pool of persistent worker processes.
///
/// A `Pool` is a handle: clones share the same processes. When the last handle is dropped, all
/// processes are killed at once; [`Pool::shutdown`] ends them in an orderly way. The pool's threads
/// are its own, so that it works under either of tokio's runtimes, and from several at a time.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    wakes: Vec<Arc<Wake>>,
    /// Jobs that a pipeline may have queued or running.
    window: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close(false, || ());
        self.end_at(Stopping { at: self.shared.now(), means: Stop::Kill });
        self.shared.groups.kill();
        self.shared.queue.wake_all();
    }
}

impl Inner {
    fn end_at(&self, stopping: Stopping) {
        self.shared.set_stop(stopping);
        let failure = Failure::new(Kind::Cancelled, "it was waiting when the pool was shut down");
        self.shared.drop_queued(&failure);
        self.shared.queue.wake_all();
    }

    fn start_slots(&self, slots: Vec<usize>) {
        for index in slots {
            let leaving = Leaving { shared: Arc::clone(&self.shared), index };
            let slot = Slot::new(index, Arc::clone(&self.shared), Arc::clone(&self.wakes[index]));
            let started = thread::Builder::new()
                .name(format!("slot {}", index + 1))
                .stack_size(STACK)
                .spawn(move || {
                    let _leaving = leaving;
                    slot.run();
                });
            if let Err(error) = started {
                self.slot_not_started(index, &error);
            }
        }
    }

    /// A pool with fewer threads than it may have is only slower; one with none is stuck.
    fn slot_not_started(&self, index: usize, error: &io::Error) {
        let message = format!("no thread could be started for slot {}: {error}", index + 1);
        match self.shared.queue.presence() {
            (0, _) => self.shared.give_up(&Failure::new(Kind::Spawn, message)),
            _ => self.shared.watcher.note(&message),
        }
    }
}

/// Tells the queue that a slot has left, also when its thread panics or never began.
struct Leaving {
    shared: Arc<Shared>,
    index: usize,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared.queue.leave(self.index, || self.shared.renew());
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.inner.shared.config).finish_non_exhaustive()
    }
}

impl Pool {
    /// Begins a pool of workers of a command line, which is split into words as a shell does it,
    /// but run without one.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::Pool::builder("python3 handler.py").max_procs(4).max_reqs(100).build()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(command: &str) -> Builder {
        let words = shell_words::split(command).map_err(|_| BuildError::Quotes(command.into()));
        Builder {
            config: words.map(|words| Config::new(words.into_iter().map(Into::into).collect())),
            sink: None,
            watcher: Arc::new(Stderr),
            sources: Vec::new(),
        }
    }

    /// Runs one job: waits for a free process, hands it the job, waits for the reply.
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
    /// Dropping the future cancels the job: it leaves the queue or, if it is running, its worker is
    /// ended, as after a timeout, and replaced when the next job needs it.
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
        let (sender, receiver) = oneshot::channel();
        self.queue(cmd, args, Caller::One(sender));
        Deferred { receiver, pool: self.clone(), is_over: false }
    }

    /// Runs a job of the same command for each of `args` and returns the outcomes in their order.
    /// Args are taken from the iterator as processes become free for them.
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

    /// Opens a pipeline: jobs go in, outcomes come out as they are finished.
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
        let (sender, receiver) = mpsc::unbounded_channel();
        Pipeline {
            pool: self.clone(),
            sender,
            receiver: tokio::sync::Mutex::new(receiver),
            room: Arc::new(Semaphore::new(self.inner.window)),
            tags: AtomicU64::new(0),
            owed: AtomicU64::new(0),
        }
    }

    /// Waits until no job is queued or running. Jobs may be queued meanwhile, and are waited for.
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
        let queue = &self.inner.shared.queue;
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
    /// let them finish. An idle worker's stdin is closed; a busy worker gets TERM. What has not
    /// ended after the pool's grace period gets TERM, then KILL. Jobs that are queued while the
    /// pool shuts down are cancelled as well.
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
        let shared = &self.inner.shared;
        let (_, epoch) = shared.queue.presence();
        let stopping = Stopping { at: shared.now(), means: Stop::Terminate };
        shared.set_stop(stopping);
        shared.queue.close(true, || shared.renew());
        let failure = Failure::new(Kind::Cancelled, "it was waiting when the pool was shut down");
        shared.drop_queued(&failure);
        shared.queue.wake_all();
        self.gone(epoch).await;
    }

    async fn gone(&self, epoch: u64) {
        let queue = &self.inner.shared.queue;
        loop {
            let quiet = queue.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            let (present, now) = queue.presence();
            if present == 0 || now != epoch {
                return;
            }
            quiet.await;
        }
    }

    fn queue(&self, cmd: &str, args: impl Serialize, caller: Caller) {
        let text = serde_json::to_string(cmd)
            .and_then(|cmd| serde_json::to_string(&args).map(|args| (cmd, args)));
        let (cmd, args) = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the args can't be written as JSON: {error}");
                return caller.tell(Err(Failure::new(Kind::Invalid, message)));
            }
        };
        let mut job = Job::new(0, &cmd, &args, "");
        job.caller = Some(caller);
        let mut batch = vec![job];
        match self.inner.shared.queue.push(&mut batch, false) {
            Ok(slots) => self.inner.start_slots(slots),
            Err(Closed) => {
                let failure = Failure::new(Kind::Cancelled, "the pool is being shut down");
                for job in batch {
                    self.inner.shared.tell_caller(job, Err(&failure));
                }
            }
        }
    }
}

/// For programs that have jobs by the million and no call waiting for each, such as the command
/// `procpool` itself: jobs are fed in batches, outcomes go to the [`Sink`] that the pool was built
/// with.
impl Pool {
    /// Queues a batch of jobs and empties it. Blocks while the queue is full: this is how input is
    /// read only as fast as it is worked off.
    ///
    /// # Errors
    /// The pool takes no more jobs; the batch is as it was.
    pub fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        let slots = self.inner.shared.queue.push(batch, true)?;
        self.inner.start_slots(slots);
        Ok(())
    }

    /// No more jobs will be fed. Workers are retired as they run out of work.
    pub fn finish(&self) {
        self.inner.shared.queue.close(false, || ());
    }

    /// Waits until all workers are gone, after [`Pool::finish`], [`Pool::stop`] or [`Pool::kill`].
    pub async fn ended(&self) {
        let (_, epoch) = self.inner.shared.queue.presence();
        self.gone(epoch).await;
    }

    /// Ends the run: queued jobs are dropped, running ones may go on for the pool's grace period;
    /// what is not finished then is killed, and cancelled.
    pub fn stop(&self) {
        let shared = &self.inner.shared;
        shared.queue.close(false, || ());
        let at = shared.now().after(shared.config.grace);
        self.inner.end_at(Stopping { at, means: Stop::Kill });
    }

    /// Ends the run at once: all processes are killed, running jobs are cancelled.
    pub fn kill(&self) {
        let shared = &self.inner.shared;
        shared.queue.close(false, || ());
        self.inner.end_at(Stopping { at: shared.now(), means: Stop::Kill });
        shared.groups.kill();
        shared.queue.wake_all();
    }

    /// Stops all processes (STOP) and the clock that jobs are timed by.
    pub fn pause(&self) {
        self.inner.shared.groups.pause();
    }

    /// Lets all processes and the clock go on.
    pub fn resume(&self) {
        self.inner.shared.groups.resume();
    }

    /// How many jobs were fed and never run, since the run was ended before.
    pub fn left(&self) -> usize {
        self.inner.shared.left.load(Ordering::Relaxed)
    }
}

/// The other end of a call that waits for a job.
#[derive(Debug)]
pub(crate) enum Caller {
    One(oneshot::Sender<Answer>),
    Pipeline { tag: u64, sender: mpsc::UnboundedSender<(u64, Answer)>, room: OwnedSemaphorePermit },
}

type Answer = Result<Box<RawValue>, Failure>;

impl Caller {
    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Pipeline { sender, .. } => sender.is_closed(),
        }
    }

    fn tell(self, answer: Answer) {
        match self {
            Self::One(sender) => drop(sender.send(answer)),
            Self::Pipeline { tag, sender, room } => {
                drop(sender.send((tag, answer)));
                drop(room);
            }
        }
    }
}

/// The text of a result as a value.
fn value(answer: Answer) -> Result<Value, Failure> {
    let text = answer?;
    serde_json::from_str(text.get())
        .map_err(|error| Failure::new(Kind::Protocol, format!("its result can't be read: {error}")))
}

/// A job that was queued with [`Pool::defer`]: a future of its outcome.
#[derive(Debug)]
#[must_use = "dropping it cancels the job"]
pub struct Deferred {
    receiver: oneshot::Receiver<Answer>,
    pool: Pool,
    is_over: bool,
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
        if !self.is_over {
            self.pool.inner.shared.queue.wake_all();
        }
    }
}

/// Jobs go in with [`Pipeline::queue`], outcomes come out with [`Pipeline::next`], as they are
/// finished. Both may be called from several tasks at a time.
///
/// Dropping the pipeline cancels its jobs.
#[derive(Debug)]
pub struct Pipeline {
    pool: Pool,
    sender: mpsc::UnboundedSender<(u64, Answer)>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, Answer)>>,
    /// A permit for each job that may be queued or running.
    room: Arc<Semaphore>,
    tags: AtomicU64,
    /// Outcomes that have not been returned yet.
    owed: AtomicU64,
}

impl Pipeline {
    /// Queues a job, as soon as few enough jobs of this pipeline wait for a process, and returns the
    /// number, from 0, that its outcome will carry. Outcomes that nobody has asked for do not hold
    /// it up; they are kept in memory.
    ///
    /// # Cancellation
    /// Dropping the future before it is done queues nothing.
    pub async fn queue(&self, cmd: &str, args: impl Serialize) -> u64 {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let tag = self.tags.fetch_add(1, Ordering::Relaxed);
        self.owed.fetch_add(1, Ordering::AcqRel);
        if let Ok(room) = permit {
            let sender = self.sender.clone();
            self.pool.queue(cmd, args, Caller::Pipeline { tag, sender, room });
        }
        tag
    }

    /// Waits for the next outcome, of whichever job; `None`: all outcomes of the jobs queued so far
    /// have been returned.
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
            self.pool.inner.shared.queue.wake_all();
        }
    }
}

/// A pool that is being described.
pub struct Builder {
    config: Result<Config, BuildError>,
    sink: Option<Arc<dyn Sink>>,
    watcher: Arc<dyn Watcher>,
    sources: Vec<String>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// One more argument for the worker.
    #[must_use]
    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        self.set(|config| config.worker.push(arg.into()))
    }

    /// One more variable in the workers' environment.
    #[must_use]
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set(|config| config.env.push((name.into(), value.into())))
    }

    /// At most so many workers at a time, at least 1. Default: the number of CPUs.
    #[must_use]
    pub fn max_procs(self, count: usize) -> Self {
        self.set(|config| config.max_procs = count.max(1))
    }

    /// A worker is replaced after so many jobs. 0, the default: never.
    #[must_use]
    pub fn max_reqs(self, count: u64) -> Self {
        self.set(|config| config.max_reqs = count)
    }

    /// …or after up to so many more, at random for each worker, so that workers that were started
    /// together are not replaced together. Default: 0.
    #[must_use]
    pub fn max_reqs_jitter(self, count: u64) -> Self {
        self.set(|config| config.max_reqs_jitter = count)
    }

    /// A worker that has lived so long is replaced once it has no job. Default: it may grow old.
    #[must_use]
    pub fn max_age(self, age: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.max_age = age.into())
    }

    /// A worker whose resident memory is larger, in bytes, is replaced once it has no job. Only its
    /// own memory counts, not that of its children. Linux only; elsewhere it has no effect.
    /// Default: no limit.
    #[must_use]
    pub fn max_rss(self, bytes: impl Into<Option<u64>>) -> Self {
        self.set(|config| config.max_rss = bytes.into())
    }

    /// A worker that has had no job for so long is ended. Default: it may wait for ever.
    #[must_use]
    pub fn idle_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.idle_timeout = time.into())
    }

    /// So many workers may be alive, ready and waiting, to replace those whose time is nearly over,
    /// so that no job waits for a worker to start. 0: a worker is replaced by stopping it first.
    /// Default: one for each slot.
    #[must_use]
    pub fn standby(self, count: usize) -> Self {
        self.set(|config| config.standby = count)
    }

    /// How many requests a worker may have in flight. Default: one. More are faster for short jobs,
    /// but many workers can't deal with them.
    #[must_use]
    pub fn depth(self, depth: Depth) -> Self {
        self.set(|config| {
            config.depth = match depth {
                Depth::Fixed(depth) => Depth::Fixed(depth.max(1)),
                Depth::Auto => Depth::Auto,
            }
        })
    }

    /// How long a job may take. Default: as long as it likes.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.timeout = timeout.into())
    }

    /// How long a worker may take to end, once its stdin is closed and again once it has got TERM.
    /// Default: 5 seconds.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|config| config.grace = grace)
    }

    /// How many workers in a row may die before their first reply before the jobs that wait are
    /// failed; 0: any number. Default: 5.
    #[must_use]
    pub fn start_limit(self, count: u32) -> Self {
        self.set(|config| config.start_limit = count)
    }

    /// The longest reply, in bytes. Default: 64 MiB.
    #[must_use]
    pub fn max_reply(self, bytes: usize) -> Self {
        self.set(|config| config.max_reply = bytes)
    }

    /// Where the outcomes of fed jobs go. Without a sink they go nowhere.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Who is told of what is worth notice. Default: all of it is written to stderr.
    #[must_use]
    pub fn watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = watcher;
        self
    }

    /// What the sources that [`crate::Place`] counts are called in messages.
    #[must_use]
    pub fn sources(mut self, names: Vec<String>) -> Self {
        self.sources = names;
        self
    }

    /// Makes the pool. No process is started before a job waits for one.
    ///
    /// # Errors
    /// The worker can't be run, as far as can be told without running it.
    pub fn build(self) -> Result<Pool, BuildError> {
        let config = self.config?;
        let program = config.worker.first().ok_or(BuildError::Empty)?;
        program::check(program)?;
        let wakes = (0..config.max_procs)
            .map(|_| Wake::new().map(Arc::new))
            .collect::<io::Result<Vec<_>>>()
            .map_err(BuildError::Io)?;
        let depth = match config.depth {
            Depth::Fixed(depth) => depth,
            Depth::Auto => 64,
        };
        let window = config.max_procs.saturating_mul(depth).saturating_mul(2).min(1 << 20);
        Ok(Pool {
            inner: Arc::new(Inner {
                shared: Arc::new(Shared {
                    config,
                    queue: Queue::new(wakes.clone()),
                    groups: Groups::new(),
                    watcher: self.watcher,
                    sink: self.sink,
                    sources: self.sources,
                    start_failures: AtomicU32::new(0),
                    heard: AtomicBool::new(false),
                    stop: Mutex::new(NOT_STOPPING),
                    is_stopping: AtomicBool::new(false),
                    start_time: AtomicU64::new(0),
                    spares: AtomicUsize::new(0),
                    left: AtomicUsize::new(0),
                }),
                wakes,
                window,
            }),
        })
    }
}

/// Why a pool could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The command line has an opening quote without a closing one.
    Quotes(String),
    /// The command line is empty.
    Empty,
    /// The worker's program can't be run.
    Program(ProgramError),
    /// The system has no more descriptors.
    Io(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quotes(line) => {
                write!(f, "the worker's command line has an unclosed quote: {line}")
            }
            Self::Empty => f.write_str("the worker's command line is empty"),
            Self::Program(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the pool could not be made: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<ProgramError> for BuildError {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

/// Writes everything to stderr.
struct Stderr;

impl Watcher for Stderr {
    fn worker_stderr(&self, lines: &[u8]) {
        let _ = io::Write::write_all(&mut io::stderr().lock(), lines);
    }

    fn note(&self, text: &str) {
        let _ = io::Write::write_all(
            &mut io::stderr().lock(),
            format!("procpool: {text}\n").as_bytes(),
        );
    }

    fn start_limit_reached(&self, _: &Failure) {}
}
