//! The public face: a pool of workers. It starts slots, and shuts them down.

pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod gates;
pub(crate) mod queue;
pub(crate) mod shared;
pub(crate) mod slot;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use serde::Serialize;
use serde_json::Value;

use crate::command::Commands;
use crate::config::Depth;
use crate::interpreter::Code;
use crate::job::Closed;
use crate::job::caller::Caller;
use crate::job::{Failure, Feed, Job, Kind};
use crate::pool::builder::Builder;
use crate::pool::calls::{Deferred, Pipeline};
use crate::pool::shared::{STACK, Shared, Stopping};
use crate::pool::slot::Slot;
use crate::process::{Stop, Wake};
use crate::util::clock::Moment;

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
    /// Jobs that a pipeline may have queued or running.
    window: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Inner {
    /// Closes the queue and drops what is in it; running jobs are ended as `stopping` says. Returns
    /// what [`Pool::gone`] goes by.
    fn end(&self, stopping: Stopping, reopens: bool) -> u64 {
        let shared = &self.shared;
        // What stands still would not end.
        if shared.groups.is_paused() {
            shared.groups.resume();
        }
        let begin = || {
            shared.set_stop(stopping);
            if stopping.means == Stop::Kill && stopping.at <= shared.now() {
                shared.groups.kill();
            }
        };
        let (jobs, epoch) = shared.queue.end(reopens, begin, || shared.renew());
        shared.drop_jobs(jobs);
        epoch
    }

    fn kill(&self) {
        self.end(Stopping { at: self.shared.now(), means: Stop::Kill }, false);
    }

    fn start_slots(&self, slots: Vec<usize>) {
        let mut slots = slots.into_iter();
        let failed = slots.find_map(|index| self.start_slot(index).err());
        if let Some(error) = failed {
            // The others would fare no better. They are tried again with the next jobs.
            for index in slots {
                self.shared.queue.leave(index, || self.shared.renew());
            }
            self.slot_not_started(&error);
        }
    }

    fn start_slot(&self, index: usize) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let leaving = Leaving { shared: Arc::clone(&shared), index };
        let wake = Arc::new(Wake::new()?);
        shared.queue.enter(index, &wake);
        thread::Builder::new()
            .name(format!("slot {}", index + 1))
            .stack_size(STACK)
            .spawn(move || {
                let _leaving = leaving;
                be_nice(shared.config.nice);
                let run = || Slot::new(index, Arc::clone(&shared), Arc::clone(&wake)).run();
                // A sink that panics costs the jobs that the slot had, and no others.
                while catch_unwind(AssertUnwindSafe(run)).is_err() {
                    shared.queue.give_up_on(index);
                    shared.watcher.output_lost(
                        "outcomes of jobs were lost, since what was to take them has panicked",
                    );
                }
            })
            .map(drop)
    }

    /// A pool with fewer threads than it may have is only slower; one with none is stuck.
    fn slot_not_started(&self, error: &io::Error) {
        let (present, _) = self.shared.queue.presence();
        if present == 0 {
            let message = format!("no thread could be started for a worker: {error}");
            self.shared.give_up(&Failure::new(Kind::Spawn, message));
        } else {
            self.shared.is_crowded(error);
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
    /// A pool that shares what this one shares with it.
    pub(crate) fn stand_beside(&self, shared: Shared) -> Shared {
        shared.beside(&self.inner.shared)
    }

    pub(crate) fn new(shared: Shared) -> Self {
        let depth = match shared.config.depth {
            Depth::Fixed(depth) => depth,
            Depth::Auto => 64,
        };
        let window = shared.config.max_procs.saturating_mul(depth).saturating_mul(2).min(1 << 20);
        Self { inner: Arc::new(Inner { shared: Arc::new(shared), window }) }
    }

    /// Wakes all slots: a call was dropped.
    pub(crate) fn wake_all(&self) {
        self.inner.shared.queue.wake_all();
    }

    /// Begins a pool of workers of a command line, which is split into words as a shell does it,
    /// but run without one.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::Pool::builder("python3 handler.py").max_procs(4).max_reqs(100).build()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(command: &str) -> Builder {
        Builder::new(command)
    }

    /// Begins a pool that runs a command for each job, in a process of its own.
    pub fn commands(commands: Commands) -> Builder {
        Builder::of_commands(commands)
    }

    /// Begins a pool of warm interpreters that run code for each job. The code is looked at now: an
    /// interpreter is started for that, and waited for. A window of requests is open at each
    /// ([`Depth::Auto`]).
    pub fn code(code: &Code) -> Builder {
        Builder::of_code(code)
    }

    /// How many processes have been started so far.
    pub fn started(&self) -> u64 {
        self.inner.shared.groups.started()
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
        let (deferred, caller) = Deferred::new(Arc::clone(&self.inner.shared));
        self.queue(cmd, args, caller);
        deferred
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
        Pipeline::new(self.clone(), self.inner.window)
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
        let stopping = Stopping { at: self.inner.shared.now(), means: Stop::Terminate };
        let epoch = self.inner.end(stopping, true);
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

    pub(crate) fn queue(&self, cmd: &str, args: impl Serialize, caller: Caller) {
        let text = serde_json::to_string(cmd)
            .and_then(|cmd| serde_json::to_string(&args).map(|args| (cmd, args)));
        let (cmd, args) = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the args can't be written as JSON: {error}");
                return caller.tell(Err(Failure::new(Kind::Invalid, message)));
            }
        };
        // Only raw values have line breaks, and only between their parts; a request is one line.
        let args = match args.contains(['\n', '\r']) {
            true => args.replace(['\n', '\r'], " "),
            false => args,
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

/// Lowers the priority of this thread, which what it starts will inherit.
fn be_nice(more: i32) {
    if more > 0
        && let Ok(now) = rustix::process::getpriority_process(None)
    {
        let _ = rustix::process::setpriority_process(None, (now + more).min(19));
    }
}

impl Feed for Pool {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        Self::feed(self, batch)
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
        self.inner.shared.queue.close();
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
        let at = shared.now().after(shared.config.grace);
        self.inner.end(Stopping { at, means: Stop::Kill }, false);
    }

    /// Ends the run once the jobs are done that are running: queued jobs are dropped, and no other
    /// is started. May be called by a [`Sink`](crate::Sink).
    pub fn drain(&self) {
        self.inner.end(Stopping { at: Moment::NEVER, means: Stop::Terminate }, false);
    }

    /// Ends the run: queued jobs are dropped, running ones are ended (TERM, KILL after the pool's
    /// grace period) and cancelled. May be called by a [`Sink`](crate::Sink).
    pub fn cancel(&self) {
        let at = self.inner.shared.now();
        self.inner.end(Stopping { at, means: Stop::Terminate }, false);
    }

    /// Ends the run at once: all processes are killed, running jobs are cancelled.
    pub fn kill(&self) {
        self.inner.kill();
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
        self.inner.shared.left()
    }
}
