//! `--joblog`: GNU parallel's log of jobs, with tabs between fields and a line for each job as it finishes.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use procpool::engine::{Commands, Done, Job, Kind, Run};

use crate::descriptors::{self, Stream};
use crate::lock::lock;
use crate::outputs::WriteTarget;

/// The log of a run.
pub struct Joblog {
    log: Mutex<LogFile>,
    commands: Option<Arc<Commands>>,
}

impl Joblog {
    /// Begins the log. With `appends`, it keeps the jobs of earlier runs.
    ///
    /// # Errors
    /// It can't be written.
    pub fn open(
        target: &WriteTarget,
        appends: bool,
        commands: Option<Arc<Commands>>,
    ) -> io::Result<Self> {
        Ok(Self { log: Mutex::new(LogFile::open(target, appends)?), commands })
    }

    /// Adds a job that is over, unless it did not run.
    pub fn add(&self, done: &Done<'_>) {
        // Programs that read the log take every job in it as done. So a cancelled job is not in it.
        let is_cancelled = done.outcome.is_err_and(|failure| failure.kind == Kind::Cancelled);
        if done.job.is_recorded() || is_cancelled {
            return;
        }
        if let Some(run) = run_of(done) {
            let (command, sent) = self.command_of(done.job, run);
            lock(&self.log).add(done, run, &command, sent);
        }
    }

    /// Writes all that was added.
    pub fn flush(&self) {
        lock(&self.log).flush();
    }

    /// Writes all that was added. Returns why the log is not complete, if it is not.
    pub fn finish(&self) -> Option<String> {
        let mut log = lock(&self.log);
        log.flush();
        log.trouble.take()
    }

    /// The job as a line of a shell, or as a job line; and the number of bytes on the stdin of its command.
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

#[derive(Debug)]
struct LogFile {
    file: File,
    unwritten: Vec<u8>,
    trouble: Option<String>,
}

impl LogFile {
    fn open(target: &WriteTarget, appends: bool) -> io::Result<Self> {
        let file = match target {
            WriteTarget::Stderr => File::from(descriptors::copy(Stream::Stderr)?),
            WriteTarget::Place(place) if appends => place.append()?,
            WriteTarget::Place(place) => place.create()?,
        };
        let head: &[u8] =
            b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
        // Earlier text on stderr is no job log, so the head is written there in any case.
        let has_head = matches!(target, WriteTarget::Place(_)) && file.metadata()?.len() > 0;
        let head = if has_head { &[] } else { head };
        let mut log = Self { file, unwritten: head.to_vec(), trouble: None };
        log.flush();
        Ok(log)
    }

    fn add(&mut self, done: &Done<'_>, run: Run, command: &[u8], sent: usize) {
        let (exit, signal) = exit_of(done);
        let received = match (done.printed, done.outcome) {
            (Some(printed), _) => printed.stdout.total(),
            (None, Ok(result)) => result.size() as u64,
            (None, Err(_)) => 0,
        };
        // Writing to a Vec can't fail.
        let _ = write!(
            self.unwritten,
            "{}\t{}\t{:.3}\t{:10.3}\t{sent}\t{received}\t{exit}\t{signal}\t",
            done.job.seq,
            run.host.unwrap_or(":"),
            run.start,
            run.seconds
        );
        // As in GNU parallel, a newline in a command becomes a NUL byte, so that each job has one line.
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

/// Where and when a job ran. A job that could not be started counts as run in slot 1, now.
fn run_of(done: &Done<'_>) -> Option<Run> {
    let is_spawn = done.outcome.is_err_and(|failure| failure.kind == Kind::Spawn);
    done.run.or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = now.as_secs_f64();
        let attempt = done.job.attempt();
        is_spawn.then_some(Run { slot: 1, pid: 0, attempt, start, seconds: 0.0, host: None })
    })
}

/// The exit status and the signal of a job, as a job log has them.
fn exit_of(done: &Done<'_>) -> (i32, i32) {
    match (done.outcome, done.printed) {
        (Err(failure), Some(printed)) if failure.kind == Kind::Timeout => {
            (-1, printed.signal.unwrap_or_default())
        }
        (_, Some(printed)) => {
            (printed.exit.unwrap_or_default(), printed.signal.unwrap_or_default())
        }
        (Ok(_), None) => (0, 0),
        (Err(failure), None) if failure.kind == Kind::Timeout => (-1, 0),
        // A shell exits with 127 if it does not find a program.
        (Err(failure), None) if failure.kind == Kind::Spawn => (127, 0),
        (Err(_), None) => (1, 0),
    }
}
