//! A slot that runs a command for each job: it takes a job, starts its command, attends to it, and
//! delivers the outcome.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::command::command_line;
use crate::command::{Command, Commands};
use crate::job::printed::Printed;
use crate::job::{Failure, Job, Kind, Value};
use crate::pool::queue::{Ask, Taken};
use crate::pool::slot::command::{CutShort, Ended, Running};
use crate::pool::slot::deliver::{Attempt, running_at_end};
use crate::pool::slot::late::{quiet, too_much};
use crate::pool::slot::start::CROWDED_PAUSE;
use crate::pool::slot::steps::Slot;
use crate::process::lookup::{self, Runner};
use crate::process::stops::Stopped;
use crate::process::{describe, end_of_command};

/// A signal to this process ends the run within this time.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(1);

/// A slot that runs a command for each job.
pub(super) struct CommandSlot {
    slot: Slot,
    commands: Arc<Commands>,
    /// The last command took almost no time.
    is_quick: bool,
}

impl CommandSlot {
    pub(super) fn new(slot: Slot, commands: Arc<Commands>) -> Self {
        Self { slot, commands, is_quick: true }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while self.turn() {}
        self.slot.flush();
    }

    /// One round: take a job and run its command, or wait for a job. Returns whether there is anything
    /// left to do.
    fn turn(&mut self) -> bool {
        self.slot.answer_roll_call(1, |_, _| Vec::new());
        match self.take() {
            Taken::Leave => return false,
            Taken::Wait => {
                self.slot.flush();
                self.slot.pause_until_due();
            }
            Taken::Jobs => {
                if self.slot.pass_gates()
                    && let Some(job) = self.slot.jobs.pop_front()
                {
                    self.run_job(job);
                }
            }
        }
        true
    }

    fn take(&mut self) -> Taken {
        self.slot.give_token_back();
        let ask = Ask {
            warm: false,
            busy: false,
            finished: std::mem::take(&mut self.slot.finished),
            now: self.slot.now(),
            max: 1,
            max_bytes: 1,
            portion: 1,
            shares: 0,
            holder: self.slot.index,
        };
        self.slot.take(ask)
    }

    /// Runs the command of a job, unless the job is not to be run any more.
    fn run_job(&mut self, job: Job) {
        if let Some(caller) = &job.caller {
            caller.is_at(self.slot.index);
        }
        if job.is_abandoned() {
            self.slot.finished += 1;
        } else if self.slot.shared.stopping.has_begun() {
            self.slot.finished += 1;
            self.slot.shared.drop_jobs([job]);
        } else {
            self.run_command(job);
        }
    }

    /// Makes the command of a job, and shows, confirms or runs it.
    fn run_command(&mut self, job: Job) {
        let commands = Arc::clone(&self.commands);
        let (command, input) = match commands.of(&job, self.slot.number()) {
            Ok(command) => command,
            Err(error) => {
                let message = self.slot.shared.deliveries.with_place(&job, error.to_string());
                return self.never_ran(job, Kind::Invalid, message);
            }
        };
        if commands.dry_run {
            let line = commands.typed(&job, &command, &input);
            let printed = Arc::new(Printed::line(&self.slot.shared.files.spool, &line));
            let attempt = Attempt::at_once(0, self.slot.now());
            return self.slot.deliver(attempt, job, Ok(Value::NULL), Some(&printed));
        }
        self.slot.flush();
        let watcher = &*self.slot.shared.watcher;
        if commands.confirm && !watcher.confirms(&command_line(&command)) {
            return self.never_ran(job, Kind::Cancelled, "it was not confirmed".to_owned());
        }
        if commands.tty {
            // The job must find the terminal as it is.
            self.slot.shared.deliveries.settle();
        }
        self.attend(job, &command, input);
    }

    /// Runs a command from its start to its end.
    fn attend(&mut self, job: Job, command: &Command, input: Vec<u8>) {
        let shared = Arc::clone(&self.slot.shared);
        let start = shared.now();
        let wake = &self.slot.wake;
        let at = (self.slot.number(), wake);
        let running = match Running::start(&shared, &self.commands, &job, command, input, at) {
            Ok(running) => running,
            Err(error) => return self.not_started(job, command, &error),
        };
        let pid = running.pid();
        let ended = running.attend(wake, &mut self.is_quick, &mut self.slot.responder);
        if ended.cut == Some(CutShort::Abandoned) {
            if ended.is_left_behind {
                let name = shared.deliveries.name(&job);
                shared.watcher.note(&format!("{name}: it {} (pid {pid})", describe(None)));
            }
            self.slot.finished += 1;
            return;
        }
        if self.commands.tty {
            self.pass_interrupt_on(&ended);
        }
        let timeout = job.timeout.or_else(|| shared.estimates.timeout());
        let mut failure = self.why_failed(&ended, timeout);
        if let Some(failure) = failure.as_mut().filter(|_| ended.is_left_behind) {
            failure.message.push_str(&format!("; it {} (pid {pid})", describe(None)));
        }
        let outcome = failure.as_ref().map_or(Ok(Value::NULL), Err);
        let printed = Some(&ended.printed).filter(|_| ended.cut != Some(CutShort::NotKept));
        let attempt = Attempt { pid, start, clock: start, now: shared.now(), unproven: None };
        self.slot.deliver(attempt, job, outcome, printed);
    }

    /// Ctrl-C at a job that has the terminal ends the run too. No further job begins.
    fn pass_interrupt_on(&self, ended: &Ended) {
        let signal = ended.status.and_then(|status| status.signal());
        let is_key =
            |signal: &i32| [Signal::INT, Signal::QUIT].iter().any(|key| key.as_raw() == *signal);
        if let Some(signal) = signal.filter(is_key).filter(|_| ended.cut.is_none()) {
            self.slot.shared.watcher.interrupted(signal);
            self.slot.pause(INTERRUPT_PATIENCE);
        }
    }

    /// The command of a job could not be started.
    fn not_started(&mut self, job: Job, command: &Command, error: &io::Error) {
        if self.slot.shared.is_crowded(error) {
            self.slot.put_back([job].into_iter());
            return self.slot.pause(CROWDED_PAUSE);
        }
        let runner = if self.commands.in_jobs { Runner::Job } else { Runner::Command };
        self.never_ran(job, Kind::Spawn, lookup::not_started(command, runner, error));
    }

    /// A job fails whose command never ran.
    fn never_ran(&mut self, job: Job, kind: Kind, message: String) {
        let failure = Failure::new(kind, message);
        self.slot.deliver(Attempt::at_once(0, self.slot.now()), job, Err(&failure), None);
    }

    fn is_success(&self, status: ExitStatus) -> bool {
        let is_ok = |code| self.commands.ok_exit.has(code);
        status.success() || status.code().is_some_and(is_ok)
    }

    /// Why a command that was started has failed, if it has.
    fn why_failed(&self, ended: &Ended, timeout: Option<Duration>) -> Option<Failure> {
        let (kind, message) = match ended.cut {
            None if ended.status.is_some_and(|status| self.is_success(status)) => return None,
            // It has exited, and a process that traces it keeps the status.
            None if ended.status.is_none() => {
                (Kind::Exit, "its exit status can't be told".to_owned())
            }
            None => (Kind::Exit, end_of_command(ended.status)),
            Some(CutShort::TimedOut) => {
                let limit = humantime::format_duration(timeout.unwrap_or_default());
                (Kind::Timeout, format!("timed out after {limit}"))
            }
            Some(CutShort::Quiet) => {
                (Kind::Timeout, quiet(self.slot.shared.config.failures.silence.unwrap_or_default()))
            }
            Some(CutShort::OutOfMemory) => {
                let used = too_much(&self.slot.shared, ended.excess.unwrap_or_default());
                (Kind::Memory, format!("{used}, and were killed"))
            }
            Some(CutShort::NotKept) => {
                self.report_not_kept(ended.trouble.as_ref());
                (Kind::Cancelled, "its output could not be kept".to_owned())
            }
            Some(CutShort::NotFed) => {
                let error = ended.unfed.as_ref().map(ToString::to_string).unwrap_or_default();
                (Kind::Invalid, format!("its input could not be read: {error}"))
            }
            Some(CutShort::Stopped) => {
                let stopped = ended.stopped.as_ref().map(ToString::to_string).unwrap_or_default();
                (Kind::Exit, format!("it {stopped}; {}", Stopped::advice()))
            }
            Some(CutShort::RunEnded | CutShort::Abandoned) => return Some(running_at_end()),
        };
        Some(Failure::new(kind, message))
    }

    /// Reports that the output of a command could not be kept. That ends the run.
    fn report_not_kept(&self, trouble: Option<&io::Error>) {
        let error = trouble.map(ToString::to_string).unwrap_or_default();
        self.slot.shared.watcher.output_lost(&format!(
            "the output of a command could not be kept in a temporary file in '{}': {error}; make \
             room there, or set TMPDIR to another folder",
            crate::util::temporary::temporary_folder().display()
        ));
    }
}
