//! What is told of a run besides its results: what is seen while it goes on, reports of all kinds at its
//! end, the job log; and `--halt`, which may end it.

mod annotations;
mod collector;
pub mod console;
pub mod failed;
pub mod findings;
mod html;
mod json;
mod junit;
mod longest;
mod markdown;
pub mod names;
pub mod reports;
mod results;
mod series;
mod summary;
mod totals;
mod trace;
mod track;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use procpool::output::Output;
use procpool::{Commands, Done, Job, Kind, Run, Sink};

use crate::cli::halt::{Halt, Limit, What};
use crate::descriptors::{self, Stream};
use crate::outputs::Target;
use crate::pools::Lanes;
use failed::FailedLines;
use reports::Reports;

/// Counts the outcomes on their way to the output.
pub struct Tally {
    output: Arc<Output>,
    halt: Option<Halt>,
    /// How many jobs have succeeded and failed, where the run may be halted: each counts at once.
    succeeded: AtomicU64,
    not_succeeded: AtomicU64,
    /// Told once when the run is halted.
    halted: Box<dyn Fn() + Send + Sync>,
    has_halted: AtomicBool,
    /// What is ended then.
    pool: OnceLock<Lanes>,
    /// How many jobs there are in all; 0: that is not known yet.
    total: AtomicU64,
    joblog: Option<Mutex<Joblog>>,
    reports: Option<Arc<Reports>>,
    failed: Option<FailedLines>,
    commands: Option<Arc<Commands>>,
}

/// What is to be kept count of.
#[derive(Debug, Default)]
pub struct Wanted {
    pub halt: Option<Halt>,
    pub joblog: Option<(PathBuf, Target)>,
    /// The job log has the jobs of earlier runs, and is added to.
    pub resume: bool,
    pub reports: Option<Arc<Reports>>,
    /// A file for the lines of failed jobs.
    pub failed: Option<FailedLines>,
}

impl Tally {
    /// Begins to count.
    ///
    /// # Errors
    /// The job log can't be written.
    pub fn new(
        output: Arc<Output>,
        wanted: Wanted,
        commands: Option<Arc<Commands>>,
        halted: Box<dyn Fn() + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let joblog = wanted.joblog.map(|(path, target)| {
            let context = || format!("the job log '{}' can't be written", path.display());
            Joblog::open(&target, wanted.resume).with_context(context)
        });
        Ok(Self {
            output,
            halt: wanted.halt,
            succeeded: AtomicU64::new(0),
            not_succeeded: AtomicU64::new(0),
            halted,
            has_halted: AtomicBool::new(false),
            pool: OnceLock::new(),
            total: AtomicU64::new(0),
            joblog: joblog.transpose()?.map(Mutex::new),
            failed: wanted.failed,
            reports: wanted.reports,
            commands,
        })
    }

    /// The pool that is ended where `--halt` says so.
    pub fn watch(&self, pool: &Lanes) {
        if self.halt.is_some() {
            // It is set once.
            let _ = self.pool.set(pool.clone());
        }
    }

    /// All input has been read: so many jobs there are.
    pub fn set_total(&self, jobs: u64) {
        self.total.store(jobs, Ordering::Release);
        self.halt_if_due();
    }

    /// Whether `--halt` has ended the run.
    pub fn has_halted(&self) -> bool {
        self.has_halted.load(Ordering::Acquire)
    }

    /// Why the job log or the file of failed lines is not whole, if it is not.
    pub fn trouble(&self) -> Option<String> {
        let joblog = self.joblog.as_ref().and_then(|joblog| {
            let mut joblog = lock(joblog);
            joblog.flush();
            joblog.trouble.take()
        });
        joblog.or_else(|| self.failed.as_ref()?.trouble())
    }

    /// Whether the lines of failed jobs are kept.
    pub fn keeps_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The run is over: the lines of failed jobs come to their place. `is_whole`: all of the input was
    /// read and run. Returns what is to be said of it.
    pub fn finish_failed(&self, is_whole: bool) -> Option<String> {
        self.failed.as_ref()?.finish(is_whole)
    }

    fn halt_if_due(&self) {
        let (Some(halt), Some(pool)) = (self.halt, self.pool.get()) else { return };
        let failed = self.not_succeeded.load(Ordering::Acquire);
        let succeeded = self.succeeded.load(Ordering::Acquire);
        let count = match halt.what {
            What::Fail => failed,
            What::Success => succeeded,
            What::Done => succeeded + failed,
        };
        let is_due = match (halt.limit, self.total.load(Ordering::Acquire)) {
            (Limit::Count(limit), _) => count >= limit,
            (Limit::Percent(_), 0) => false,
            // In whole numbers: 7 % of 100 would be a little more than 7.
            (Limit::Percent(percent), total) => {
                u128::from(count) * 100 >= u128::from(total) * u128::from(percent)
            }
        };
        if count == 0 || !is_due || self.has_halted.swap(true, Ordering::AcqRel) {
            return;
        }
        match halt.now {
            true => pool.cancel(),
            false => pool.drain(),
        }
        (self.halted)();
    }

    /// A job as a line of a shell, or as a job line; and how many bytes a command is given to read.
    fn command_of(&self, job: &Job, run: Run) -> (Vec<u8>, usize) {
        match &self.commands {
            Some(commands) => commands.line(job, run.slot),
            None => match job.as_message() {
                Some(message) => (message.to_vec(), 0),
                None => ([job.cmd(), b" ", job.args()].concat(), 0),
            },
        }
    }
}

impl Sink for Tally {
    fn deliver(&self, done: &Done<'_>) {
        self.output.deliver(done);
        if let Some(joblog) = &self.joblog
            && !done.job.is_recorded()
            && let Some(run) = run_of(done)
            // Who reads the log takes what stands there as done.
            && !done.outcome.is_err_and(|failure| failure.kind == Kind::Cancelled)
        {
            let (command, sent) = self.command_of(done.job, run);
            lock(joblog).add(done, run, &command, sent);
        }
        if let Some(failed) = &self.failed {
            failed.over(done.job, done.outcome.is_err());
        }
        if let Some(reports) = &self.reports {
            reports.add(done);
        }
        if self.halt.is_some() {
            let is_ok = done.outcome.is_ok();
            let count = if is_ok { &self.succeeded } else { &self.not_succeeded };
            count.fetch_add(1, Ordering::AcqRel);
            self.halt_if_due();
        }
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        self.output.texts(seq, count, texts);
    }

    fn retried(&self, done: &Done<'_>) {
        if let Some(reports) = &self.reports {
            reports.add_try(done);
        }
    }

    fn flush(&self) {
        self.output.flush();
        if let Some(joblog) = &self.joblog {
            lock(joblog).flush();
        }
    }

    fn doubt(&self, done: &Done<'_>) {
        self.output.doubt(done);
    }

    fn lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        self.output.lines(job, out, err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// GNU parallel's log of jobs: tab-separated, a line for each job as it finishes.
#[derive(Debug)]
struct Joblog {
    file: File,
    unwritten: Vec<u8>,
    trouble: Option<String>,
}

impl Joblog {
    fn open(target: &Target, goes_on: bool) -> io::Result<Self> {
        let file = match target {
            Target::Stderr => File::from(descriptors::copy(Stream::Stderr)?),
            Target::Place(place) if goes_on => place.append()?,
            Target::Place(place) => place.create()?,
        };
        let head: &[u8] =
            b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
        // On stderr, what stands there already is not a job log.
        let is_there = matches!(target, Target::Place(_)) && file.metadata()?.len() > 0;
        let head = if is_there { &[] } else { head };
        let mut joblog = Self { file, unwritten: head.to_vec(), trouble: None };
        joblog.flush();
        Ok(joblog)
    }

    fn add(&mut self, done: &Done<'_>, run: Run, command: &[u8], sent: usize) {
        let (exit, signal) = ending(done);
        let received = match (done.printed, done.outcome) {
            (Some(printed), _) => printed.stdout.total(),
            (None, Ok(result)) => result.size() as u64,
            (None, Err(_)) => 0,
        };
        let (start, seconds) = (run.start, run.seconds);
        // A Vec takes all that is written to it.
        let _ = write!(
            self.unwritten,
            "{}\t:\t{start:.3}\t{seconds:10.3}\t{sent}\t{received}\t{exit}\t{signal}\t",
            done.job.seq
        );
        // As GNU parallel does it: a line for each job.
        self.unwritten.extend(command.iter().map(|&byte| if byte == b'\n' { 0 } else { byte }));
        self.unwritten.push(b'\n');
    }

    fn flush(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        if let Err(error) = self.file.write_all(&self.unwritten) {
            let message = format!("the job log could not be written: {error}");
            self.trouble.get_or_insert(message);
        }
        self.unwritten.clear();
    }
}

/// Where and when a job ran; one that could not be started did so here and now.
fn run_of(done: &Done<'_>) -> Option<Run> {
    let is_spawn = done.outcome.is_err_and(|failure| failure.kind == Kind::Spawn);
    done.run.or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (start, attempt) = (now.as_secs_f64(), done.job.attempt());
        is_spawn.then_some(Run { slot: 1, pid: 0, attempt, start, seconds: 0.0 })
    })
}

/// The exit status and the signal of a job, as a job log has them.
fn ending(done: &Done<'_>) -> (i32, i32) {
    match (done.outcome, done.printed) {
        (Err(failure), Some(printed)) if failure.kind == Kind::Timeout => {
            (-1, printed.signal.unwrap_or_default())
        }
        (_, Some(printed)) => {
            (printed.exit.unwrap_or_default(), printed.signal.unwrap_or_default())
        }
        (Ok(_), None) => (0, 0),
        (Err(failure), None) if failure.kind == Kind::Timeout => (-1, 0),
        // As of a shell that finds no such program.
        (Err(failure), None) if failure.kind == Kind::Spawn => (127, 0),
        (Err(_), None) => (1, 0),
    }
}

/// A time as a person wants to read it.
pub struct Seconds(pub f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 0.001 => write!(f, "{:.0} µs", seconds * 1e6),
            seconds if seconds < 0.1 => write!(f, "{:.1} ms", seconds * 1e3),
            seconds if seconds < 1.0 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds if seconds < 120.0 => write!(f, "{seconds:.1} s"),
            seconds => {
                let whole = Duration::from_secs(seconds as u64);
                write!(f, "{}", humantime::format_duration(whole))
            }
        }
    }
}
