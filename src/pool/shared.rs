//! What all slots of a pool share: the queue, the process groups, and what they must agree on.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::config::{Config, Timeout};
use crate::job::printed::Spool;
use crate::job::{Done, Failure, Job, Kind, Place, Sink, Value, Watcher};
use crate::pool::gates::Gates;
use crate::pool::queue::Queue;
use crate::pool::roll::{Roll, Underway};
use crate::process::lookup;
use crate::process::stops::Stopped;
use crate::process::{Groups, Process, Stop, Wake};
use crate::util::clock::Moment;
use crate::util::histogram::Durations;
use crate::util::text::{printable, quote};
use crate::worker::Worker;

/// What all slots of a pool share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    pub(crate) groups: Arc<Groups>,
    pub(crate) gates: Arc<Gates>,
    /// Where what commands print goes if it is much.
    pub(crate) spool: Arc<Spool>,
    /// The program of all commands, and where it was found.
    program: Option<(OsString, OsString)>,
    pub(crate) watcher: Arc<dyn Watcher>,
    sink: Option<Arc<dyn Sink>>,
    sources: Vec<String>,
    /// Starts slots, which stand above this.
    starter: Starter,
    /// Start-up failures in a row.
    start_failures: AtomicU32,
    /// It was told that the pool has given up…
    has_given_up: AtomicBool,
    /// …and that not all workers could be started.
    was_crowded: AtomicBool,
    /// How many processes had been started when it was last seen that there is room for more, and
    /// when.
    lull: Mutex<(u64, Moment)>,
    /// A worker has answered once, or its silence has been remarked on.
    heard: AtomicBool,
    stop: Mutex<Stopping>,
    /// Whether `stop` holds anything: read far more often than it is written.
    is_stopping: AtomicBool,
    /// How long a worker takes from its start to its first reply, in nanoseconds, about.
    start_time: AtomicU64,
    /// How long a job takes, in nanoseconds, about; 0: not known yet.
    pace: AtomicU64,
    /// How long jobs took that succeeded, where the timeout is measured by that.
    durations: Mutex<Durations>,
    /// The timeout, in nanoseconds; 0: there is none yet.
    timeout: AtomicU64,
    /// How many spare workers there are.
    spares: Arc<AtomicUsize>,
    /// Jobs that were read and never run, since the run was ended.
    left: AtomicUsize,
    pub(crate) roll: Roll,
}

pub(crate) type Starter = fn(&Arc<Shared>, Vec<usize>);

/// When running jobs are to be ended, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopping {
    pub(crate) at: Moment,
    pub(crate) means: Stop,
}

/// So much is shown of what runs, in characters.
const SHOWN: usize = 100;

/// What a slot needs of stack is little, and there may be thousands.
pub(crate) const STACK: usize = 256 << 10;

/// If no process could be started for so long, none can.
const LONGEST_LULL: Duration = Duration::from_secs(5);

/// So many jobs must have succeeded before their median means anything.
const ENOUGH_FOR_MEDIAN: u64 = 3;

const NOT_STOPPING: Stopping = Stopping { at: Moment::NEVER, means: Stop::Terminate };

impl Shared {
    pub(crate) fn new(
        config: Config,
        watcher: Arc<dyn Watcher>,
        sink: Option<Arc<dyn Sink>>,
        sources: Vec<String>,
        starter: Starter,
    ) -> Self {
        let commands = config.commands.as_ref();
        let program = commands
            .map(|commands| &commands.template)
            .and_then(|template| template.program().filter(|name| template.finds_as_we_do(name)))
            .and_then(|name| Some((name.to_owned(), lookup::locate(name)?.into_os_string())));
        Self {
            queue: Queue::new(config.max_procs),
            gates: Arc::new(Gates::new(config.limits.clone())),
            spool: Arc::default(),
            program,
            groups: Groups::new(config.reaps_orphans),
            config,
            watcher,
            sink,
            sources,
            starter,
            start_failures: AtomicU32::new(0),
            has_given_up: AtomicBool::new(false),
            was_crowded: AtomicBool::new(false),
            lull: Mutex::new((u64::MAX, Moment::NEVER)),
            heard: AtomicBool::new(false),
            stop: Mutex::new(NOT_STOPPING),
            is_stopping: AtomicBool::new(false),
            start_time: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            durations: Mutex::default(),
            timeout: AtomicU64::new(0),
            spares: Arc::default(),
            left: AtomicUsize::new(0),
            roll: Roll::default(),
        }
    }

    /// The same, with the processes, the clock and the gates of another pool: what is done to all of
    /// the one is done to all of both.
    pub(crate) fn beside(self, other: &Self) -> Self {
        let (groups, gates, spares) = (&other.groups, &other.gates, &other.spares);
        Self {
            groups: Arc::clone(groups),
            gates: Arc::clone(gates),
            spares: Arc::clone(spares),
            ..self
        }
    }

    pub(crate) fn start_slots(self: &Arc<Self>, slots: Vec<usize>) {
        (self.starter)(self, slots);
    }

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

    /// Whether jobs are fed, and come to an end: those of calls may always come.
    pub(crate) fn is_fed(&self) -> bool {
        self.sink.is_some()
    }

    /// Gives the outcome of a job that no call waits for to the sink.
    pub(crate) fn deliver(&self, done: &Done<'_>) {
        if let (Some(sink), None) = (&self.sink, &done.job.caller) {
            sink.deliver(done);
        }
    }

    /// Gives the results of successive jobs to the sink: texts with a newline behind each.
    pub(crate) fn deliver_texts(&self, seq: u64, count: u64, texts: &[u8]) {
        if let Some(sink) = &self.sink {
            sink.texts(seq, count, texts);
        }
    }

    /// Hands on lines that a command has printed to stdout and to stderr. Returns whether they were
    /// taken.
    pub(crate) fn pass_lines(&self, job: &Job, (out, err): (&[u8], &[u8])) -> bool {
        self.sink.as_ref().is_none_or(|sink| sink.lines(job, out, err))
    }

    /// Where the program of a command is, if that is known.
    pub(crate) fn program_of(&self, argv: &[OsString]) -> Option<&OsStr> {
        let (name, path) = self.program.as_ref()?;
        (argv.first() == Some(name)).then_some(path)
    }

    /// Passes on what this thread has delivered.
    pub(crate) fn flush(&self) {
        if let Some(sink) = &self.sink {
            sink.flush();
        }
    }

    /// Gives the outcome of a job to the call that waits for it, if there is one.
    pub(crate) fn tell_caller(&self, job: Job, outcome: Result<Value<'_>, &Failure>) {
        if let Some(caller) = job.caller {
            caller.reply(outcome.map(|value| value.to_json()).map_err(Clone::clone));
        }
    }

    pub(crate) fn sources(&self) -> &[String] {
        &self.sources
    }

    /// A job that runs in a slot, in this process, since then.
    pub(crate) fn underway(&self, job: &Job, slot: usize, pid: u32, since: Moment) -> Underway {
        let what = match (&self.config.commands, job.as_message()) {
            (Some(commands), _) => commands.line(job, slot).0,
            (None, Some(message)) => message.to_vec(),
            (None, None) => {
                let cmd = serde_json::from_slice::<String>(job.cmd()).unwrap_or_default();
                [cmd.as_bytes(), b" ", job.args()].concat()
            }
        };
        let what = String::from_utf8_lossy(&what[..what.len().min(4 * SHOWN)]).into_owned();
        let mut shown = printable(&what.chars().take(SHOWN).collect::<String>());
        if what.chars().count() > SHOWN {
            shown.push('…');
        }
        let (job, time) = (self.name(job), self.now().since(since));
        Underway { slot, pid, job, what: shown, time, waiting: 0 }
    }

    /// What a job is called in messages.
    pub(crate) fn name(&self, job: &Job) -> String {
        crate::job::naming::name(job, &self.sources)
    }

    /// How long a job may take that does not say so itself.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.config.timeout? {
            Timeout::Time(time) => Some(time),
            Timeout::Median(_) => match self.timeout.load(Ordering::Relaxed) {
                0 => None,
                nanos => Some(Duration::from_nanos(nanos)),
            },
        }
    }

    /// A job has succeeded after so many seconds.
    pub(crate) fn learn_duration(&self, seconds: f64) {
        let Some(Timeout::Median(times)) = self.config.timeout else { return };
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.add(seconds);
        let median = durations.quantile(0.5).filter(|_| durations.count() >= ENOUGH_FOR_MEDIAN);
        let Some(median) = median else { return };
        // In whole milliseconds: it will be told to people.
        let nanos = (median * times * 1e3).ceil().clamp(1.0, 1e12) as u64 * 1_000_000;
        if self.timeout.swap(nanos, Ordering::Relaxed) == 0 {
            // Those that wait do not know yet that they must not wait for ever.
            self.queue.wake_all();
        }
    }

    /// How long before it is needed a worker must be started: half as long again as those before
    /// it took.
    pub(crate) fn start_time(&self) -> Duration {
        let nanos = self.start_time.load(Ordering::Relaxed);
        Duration::from_nanos(nanos + nanos / 2)
    }

    /// A worker gave its first reply so long after its start.
    pub(crate) fn learn_start_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4);
        // A spare that waited for its first job seems slower than it was: the first one counts.
        let _ = self.start_time.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How long a job takes, about; nothing: not known yet.
    pub(crate) fn pace(&self) -> Duration {
        Duration::from_nanos(self.pace.load(Ordering::Relaxed))
    }

    /// Jobs take so long at one of the workers.
    pub(crate) fn learn_pace(&self, pace: Duration) {
        let nanos = u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX);
        if self.config.max_reqs > 0 && nanos > 0 {
            self.pace.store(nanos, Ordering::Relaxed);
        }
    }

    /// How many spare workers there are.
    pub(crate) fn spares(&self) -> usize {
        self.spares.load(Ordering::Relaxed)
    }

    /// Whether there may be another spare worker.
    pub(crate) fn spares_left(&self) -> bool {
        self.spares() < self.config.standby
    }

    /// A worker has printed something though it had no job, or more than its jobs asked for.
    pub(crate) fn printed_unasked(&self, worker: &mut Worker) {
        let after = match worker.unproven.last(&self.sources) {
            Some(job) => format!("after its reply to {job}, though nothing more was asked of it"),
            None => "before it was asked anything".to_owned(),
        };
        let what = format!("printed {} {after}", quote(worker.unasked()));
        if !self.doubt(worker, &what) {
            let pid = worker.process.pid();
            self.watcher.doubtful(&format!("the worker (pid {pid}) {what}"));
        }
    }

    /// The results of a worker that did `what` may be those of other jobs: that is told, and no journal
    /// is to take them for successes. Returns whether there are any.
    pub(crate) fn doubt(&self, worker: &mut Worker, what: &str) -> bool {
        let Some(doubtful) = worker.unproven.describe(&self.sources) else { return false };
        let pid = worker.process.pid();
        self.watcher.doubtful(&format!("the worker (pid {pid}) {what}: {doubtful}"));
        // The records of successes come first.
        self.flush();
        if let Some(sink) = &self.sink {
            let message =
                format!("its worker (pid {pid}) {what}: this may be another job's result");
            let failure = Failure::new(Kind::Protocol, message);
            for key in worker.unproven.take_keys() {
                let mut job = Job::unreadable(0, Place::default(), "");
                job.key = Some(key);
                sink.doubt(&Done { job: &job, outcome: Err(&failure), printed: None, run: None });
            }
        }
        worker.unproven.prove();
        true
    }

    /// Ends a worker in the background.
    pub(crate) fn retire(self: &Arc<Self>, worker: Worker) {
        self.retire_within(worker, self.config.grace);
    }

    /// The same for one that has no more than so long to end of itself.
    pub(crate) fn retire_within(self: &Arc<Self>, worker: Worker, patience: Duration) {
        if worker.unproven.is_recorded() {
            // What is found out about them there must come after their records.
            self.flush();
        }
        self.queue.retiring();
        let retiring = Retiring { shared: Arc::clone(self), worker: Some(worker), patience };
        let name = "retiring".to_owned();
        // If there is no thread for it, it is ended here and now, by being dropped.
        let _ = thread::Builder::new().name(name).stack_size(STACK).spawn(move || drop(retiring));
    }

    /// Ends a worker, and waits until it is gone.
    pub(crate) fn dismiss(&self, mut worker: Worker, mut first: Stop, wake: Option<&Wake>) {
        let (grace, watcher) = (self.config.grace, &*self.watcher);
        let (may_mislead, is_retired) = (worker.may_mislead(), first == Stop::Retire);
        if is_retired && may_mislead {
            worker.has_rested(self.now());
            worker.process.close_stdin();
            let has_ended = worker.await_exit(&self.groups, wake, grace, watcher);
            first = if has_ended { Stop::Kill } else { Stop::Terminate };
        }
        let status = worker.process.stop(first, grace, &self.groups, wake, watcher);
        if is_retired && may_mislead && !self.groups.is_killing() {
            worker.read_rest();
            // One that never had a job misleads nobody.
            if worker.replies > 0 && !worker.unasked().is_empty() {
                self.printed_unasked(&mut worker);
            }
        }
        // One that had ended before its group was killed is not one that was killed.
        let is_killed = first != Stop::Kill
            && status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw());
        if is_retired && is_killed && !self.groups.is_killing() {
            let (pid, grace) = (worker.process.pid(), humantime::format_duration(grace));
            watcher.note(&format!(
                "the worker (pid {pid}) was killed: it did not end within {grace} after the end of \
                 its stdin, nor within {grace} after TERM"
            ));
        }
        self.worker_ended(&worker);
    }

    /// A worker is gone.
    pub(crate) fn worker_ended(&self, worker: &Worker) {
        self.watcher.worker_ended(&worker.ended(&self.groups.clock));
    }

    /// A try of a job that no call waits for has failed, and it will be tried again.
    pub(crate) fn retried(&self, done: &Done<'_>) {
        if let (Some(sink), None) = (&self.sink, &done.job.caller) {
            sink.retried(done);
        }
    }

    /// Too many workers in a row have died before their first reply. All jobs that wait fail; jobs
    /// for the sink are left, and the pool takes no more of them.
    pub(crate) fn give_up(&self, failure: &Failure) {
        if self.sink.is_some() {
            self.queue.close();
        }
        self.drop_with(self.queue.clear(), failure);
        if self.sink.is_none() {
            self.start_failures.store(0, Ordering::Release);
        }
        if self.sink.is_none() || !self.has_given_up.swap(true, Ordering::AcqRel) {
            self.watcher.start_limit_reached(failure);
        }
    }

    /// The machine has no room for another process, but may have soon: the run is slower. Told once.
    pub(crate) fn is_crowded(&self, error: &io::Error) -> bool {
        let passing = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
        let is_passing = Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno));
        if !is_passing || !self.may_pass() {
            return false;
        }
        if !self.was_crowded.swap(true, Ordering::AcqRel) {
            self.watcher.note(&format!(
                "a process could not be started, and the run goes on with fewer: {error}"
            ));
        }
        true
    }

    /// Whether others are at work, or were of late: what they hold may soon be there for the next.
    fn may_pass(&self) -> bool {
        let (now, started) = (self.now(), self.groups.started());
        let mut lull = self.lull.lock().unwrap_or_else(PoisonError::into_inner);
        if self.groups.count() > 0 || lull.0 != started {
            *lull = (started, now);
        }
        now < lull.1.after(LONGEST_LULL)
    }

    /// Whether a process has been stopped since it wanted the terminal. That somebody else has stopped it
    /// is remarked on; `who` it is begins the sentence.
    pub(crate) fn stopped_for_terminal(
        &self,
        process: &Process,
        who: impl FnOnce() -> String,
    ) -> Option<Stopped> {
        let stopped = process.stopped(&self.groups)?;
        if stopped.wanted_terminal() {
            self.watcher.terminal_wanted();
            return Some(stopped);
        }
        self.watcher.note(&format!(
            "{} {stopped}. {}",
            who(),
            stopped.how_to_continue(process.pid())
        ));
        None
    }

    /// Drops jobs that will not run, since the run was ended.
    pub(crate) fn drop_jobs(&self, jobs: impl IntoIterator<Item = Job>) {
        let failure = Failure::new(Kind::Cancelled, "it was waiting when the pool was shut down");
        self.drop_with(jobs, &failure);
    }

    /// As [`Shared::drop_jobs`], but what the sink is given, which may block, it is given by another
    /// thread. To be announced to the queue as one that retires.
    pub(crate) fn drop_aside(self: &Arc<Self>, jobs: impl IntoIterator<Item = Job>) {
        let has_run = |job: &Job| job.attempt > 1 && job.caller.is_none();
        let (tried, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(has_run);
        self.drop_jobs(others);
        let dropping = Dropping { shared: Arc::clone(self), jobs: tried };
        if !dropping.jobs.is_empty() {
            let name = "dropping".to_owned();
            // If there is no thread for it, it is done here and now, by being dropped.
            let _ =
                thread::Builder::new().name(name).stack_size(STACK).spawn(move || drop(dropping));
        }
    }

    /// Drops jobs. Calls are told why; jobs for the sink are counted as left.
    fn drop_with(&self, jobs: impl IntoIterator<Item = Job>, failure: &Failure) {
        for job in jobs {
            match job.caller {
                Some(_) => self.tell_caller(job, Err(failure)),
                // It has run, and waited to be tried again.
                None if job.attempt > 1 => {
                    let message = "it was waiting to be tried again when the run was ended";
                    let failure = Failure::new(Kind::Cancelled, message);
                    self.deliver(&Done {
                        job: &job,
                        outcome: Err(&failure),
                        printed: None,
                        run: None,
                    });
                    self.flush();
                }
                None => {
                    self.left.fetch_add(job.count(), Ordering::Relaxed);
                }
            }
        }
    }

    /// How many jobs were read and never run.
    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn lock_stop(&self) -> MutexGuard<'_, Stopping> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was said before stays, where it is sooner or stronger.
    pub(crate) fn set_stop(&self, stopping: Stopping) {
        let mut stop = self.lock_stop();
        stop.at = stop.at.min(stopping.at);
        stop.means = stop.means.max(stopping.means);
        drop(stop);
        self.is_stopping.store(true, Ordering::Release);
    }

    /// The last slot has left: the pool is as new.
    pub(crate) fn renew(&self) {
        *self.lock_stop() = NOT_STOPPING;
        self.is_stopping.store(false, Ordering::Release);
        self.groups.stop_killing();
    }
}

/// A worker that ends while its slot goes on.
struct Retiring {
    shared: Arc<Shared>,
    worker: Option<Worker>,
    /// How long it may take to end of itself.
    patience: Duration,
}

impl Drop for Retiring {
    fn drop(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            let shared = &self.shared;
            if self.patience < shared.config.grace {
                worker.process.close_stdin();
                worker.await_exit(&shared.groups, None, self.patience, &*shared.watcher);
                shared.dismiss(worker, Stop::Terminate, None);
            } else {
                shared.dismiss(worker, Stop::Retire, None);
            }
        }
        self.shared.queue.retired(|| self.shared.renew());
    }
}

/// Jobs that are dropped when this is.
struct Dropping {
    shared: Arc<Shared>,
    jobs: Vec<Job>,
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.shared.drop_jobs(std::mem::take(&mut self.jobs));
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
