//! A command under way: started for one job, attended to, and ended when its time is over.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::command::Commands;
use crate::job::Job;
use crate::job::printed::{Capture, Printed};
use crate::pool::shared::Shared;
use crate::pool::slot::steps::underway;
use crate::pool::slot::stopped::stopped_for_terminal;
use crate::pool::underway::Responder;
use crate::process::stops::Stopped;
use crate::process::{Process, Spec, Stop, Wake};
use crate::util::clock::Moment;

/// A command that takes less time than this, and prints less, is quick.
const QUICK: Duration = Duration::from_millis(5);
const LITTLE: u64 = 16 << 10;

/// The processes that a command has left running may be silent for at least this long. A process that
/// another slot is starting holds all pipes open for a moment.
const SHORTEST_SILENCE: Duration = Duration::from_millis(50);

/// A program that closes its streams before it ends does so at most this long before its end.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// A message names up to this many of the processes that a command has left running.
const MOST_NAMES: usize = 3;

/// Why a command was not left to end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutShort {
    /// Its time was over.
    TimedOut,
    /// The run was ended.
    RunEnded,
    /// Its caller is gone.
    Abandoned,
    /// Its output could not be kept.
    NotKept,
    /// Its input could not be read.
    NotFed,
    /// It was stopped, because it wanted the terminal.
    Stopped,
    /// It printed nothing for too long.
    Quiet,
    /// It used too much memory.
    OutOfMemory,
}

/// A command under way.
pub(super) struct Running<'a> {
    pub(super) shared: &'a Shared,
    pub(super) commands: &'a Commands,
    pub(super) job: &'a Job,
    pub(super) process: Process,
    /// The bytes for its stdin.
    pub(super) input: Vec<u8>,
    /// How much of its input it has been given.
    pub(super) written: u64,
    pub(super) printed: Printed,
    /// Nobody takes the lines that it has printed, so no more are read.
    pub(super) is_held_up: bool,
    /// When it exited, or when the processes that it left running last printed something; `None`: it
    /// has not exited.
    pub(super) heard: Option<Moment>,
    /// Why its output could not be kept.
    pub(super) trouble: Option<io::Error>,
    /// Why its input could not be read.
    pub(super) unfed: Option<io::Error>,
    stopped: Option<Stopped>,
    /// When this process was last asked to stop, because the job with the terminal was stopped.
    pub(super) asked_to_stop: Option<Moment>,
    pub(super) measured: Measured,
}

/// What the limits of a command are about.
pub(super) struct Measured {
    /// How much memory it used, if that was too much.
    excess: Option<u64>,
    /// When it last printed something, if that is of interest.
    pub(super) last_output: Moment,
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("process", &self.process).finish_non_exhaustive()
    }
}

/// How a command ended.
pub(super) struct Ended {
    pub(super) printed: Arc<Printed>,
    pub(super) status: Option<ExitStatus>,
    pub(super) cut: Option<CutShort>,
    /// It could not be killed.
    pub(super) is_left_behind: bool,
    /// Why its output could not be kept.
    pub(super) trouble: Option<io::Error>,
    /// Why its input could not be read.
    pub(super) unfed: Option<io::Error>,
    /// How it was stopped, if it wanted the terminal.
    pub(super) stopped: Option<Stopped>,
    /// How much memory it used, if that was too much.
    pub(super) excess: Option<u64>,
}

/// How a command is being ended: the last step, and when the next one is due.
#[derive(Clone, Copy)]
struct Ending {
    step: Stop,
    until: Moment,
}

impl<'a> Running<'a> {
    /// Starts the command of a job.
    ///
    /// # Errors
    /// It could not be started.
    pub(super) fn start(
        shared: &'a Shared,
        commands: &'a Commands,
        job: &'a Job,
        command: &Command,
        input: Vec<u8>,
        (slot, wake): (usize, &Arc<Wake>),
    ) -> io::Result<Self> {
        let place = &shared.config.process;
        let env = if place.env.is_empty() {
            Cow::Borrowed(&command.env)
        } else {
            Cow::Owned([&place.env[..], &command.env[..]].concat())
        };
        let default = if command.cwd.is_none() { place.directory() } else { None };
        let streams = Self::streams(commands);
        let spec = Spec {
            argv: &command.argv,
            program: shared.program_of(&command.argv),
            env: &env,
            clears_env: place.clears_env,
            cwd: command.cwd.as_deref().or(default.as_deref()),
            stdin: streams.0,
            output: streams.1,
            slot,
            cpus: place.cpus(slot),
            wake,
            is_brief: true,
        };
        let process = Process::start(&spec, &shared.groups)?;
        if job.block().is_some() {
            process.widen_stdin();
        }
        let stream = || Capture::new(&shared.files.spool);
        Ok(Self {
            shared,
            commands,
            job,
            process,
            input,
            written: 0,
            printed: Printed { exit: None, signal: None, stdout: stream(), stderr: stream() },
            is_held_up: false,
            heard: None,
            trouble: None,
            unfed: None,
            stopped: None,
            asked_to_stop: None,
            measured: Measured { excess: None, last_output: shared.now() },
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Attends to the command until it is gone, and to the processes that it has left running for as
    /// long as they print. `is_quick` says whether the last command was quick: this one may be quick
    /// too. On return, it says whether this one was.
    pub(super) fn attend(
        mut self,
        wake: &Wake,
        is_quick: &mut bool,
        responder: &mut Responder,
    ) -> Ended {
        let shared = self.shared;
        let began = shared.now();
        let is_over = *is_quick && self.exits_soon() && self.outlive();
        let cut = if is_over { None } else { self.attend_long(began, wake, responder) };
        let has_terminal = self.commands.tty;
        let ended = self.end(cut);
        if has_terminal {
            shared.groups.take_terminal_back();
        }
        let printed = ended.printed.stdout.len() + ended.printed.stderr.len();
        *is_quick = shared.now() < began.after(QUICK) && printed < LITTLE;
        ended
    }

    /// Waits for a while for the exit alone. Returns whether it has come.
    fn exits_soon(&self) -> bool {
        if self.commands.stdin || self.commands.live || self.commands.tty {
            return false;
        }
        let limits = self.timeout().into_iter().chain(self.shared.config.failures.silence);
        let time = limits.fold(QUICK, Duration::min);
        self.process.exits_within(time)
    }

    fn timeout(&self) -> Option<Duration> {
        self.job.timeout.or_else(|| self.shared.estimates.timeout())
    }

    /// Attends to a command for as long as it takes. Returns why it was cut short, if it was.
    fn attend_long(
        &mut self,
        began: Moment,
        wake: &Wake,
        responder: &mut Responder,
    ) -> Option<CutShort> {
        let shared = self.shared;
        shared.deliveries.process(responder.slot(), self.process.pid());
        // A run of one quick command needs no such thread.
        let mut watch_at = Some(began.after(QUICK)).filter(|_| !shared.groups.watches_for_stops());
        let mut cut = None;
        let mut ending: Option<Ending> = None;
        // A command that has nothing to read finds the end of its stdin at once.
        self.feed();
        loop {
            shared.roll_call.answer(responder, 1, |slot| {
                vec![underway(shared, self.job, slot, self.process.pid(), began)]
            });
            let now = shared.now();
            if watch_at.take_if(|at| now >= *at).is_some() {
                shared.groups.watch_for_stops();
            }
            let deadline = self.timeout().map_or(Moment::NEVER, |timeout| began.after(timeout));
            let deadline = deadline.min(self.quiet_at());
            let wants_terminal = !self.commands.tty && self.notice_stop();
            self.attend_terminal();
            self.measured.excess =
                self.measured.excess.or_else(|| self.process.excess(&shared.groups));
            match ending {
                None => {
                    cut = self.why_cut_short(now, deadline);
                    ending = cut.map(|cut| self.signal(self.first_step(cut), now));
                }
                Some(last) if self.is_step_due(last, now, wants_terminal) => {
                    if last.step == Stop::Kill {
                        break;
                    }
                    ending = Some(self.signal(Stop::Kill, now));
                }
                Some(_) => {}
            }
            let Some(due) = self.due(ending, deadline, now) else { break };
            let timeout = if due == Moment::NEVER { None } else { due.until(now) };
            let until_watch = watch_at.and_then(|at| at.until(now));
            let timeout = self.tick().into_iter().chain(timeout).chain(until_watch).min();
            let has_exited = self.wait(wake, timeout);
            // The event that ended the command also ends the processes that it has left running.
            if has_exited && (ending.is_some() || self.outlive()) {
                break;
            }
            if self.heard.is_some() && self.process.is_closed() {
                break;
            }
        }
        cut
    }

    /// Waits once, and deals with the event. Returns whether the command has exited.
    fn wait(&mut self, wake: &Wake, timeout: Option<Duration>) -> bool {
        if self.is_held_up && self.heard.is_none() {
            return self.offer_again(wake, timeout);
        }
        let ready = self.process.wait(Some(wake), self.has_input(), None, timeout);
        self.feed();
        self.listen(ready.stdout, ready.stderr);
        ready.exited
    }

    /// The first step of ending a command.
    fn first_step(&self, cut: CutShort) -> Stop {
        match cut {
            CutShort::RunEnded => self.shared.stopping.means(),
            CutShort::OutOfMemory => Stop::Kill,
            _ => Stop::Terminate,
        }
    }

    /// Takes a step of ending the command.
    fn signal(&mut self, step: Stop, now: Moment) -> Ending {
        let patience = self.process.take_step(step, self.shared.config.grace);
        Ending { step, until: now.after(patience) }
    }

    /// Whether it is time for the step after this one.
    fn is_step_due(&self, last: Ending, now: Moment, wants_terminal: bool) -> bool {
        let is_urgent = wants_terminal || self.shared.groups.is_killing();
        now >= self.end_of(last) || (last.step < Stop::Kill && is_urgent)
    }

    /// When the time of a step is over.
    fn end_of(&self, last: Ending) -> Moment {
        last.until.min(self.shared.groups.end_of_patience())
    }

    /// When something must be done even if nothing happens; `None`: there is nothing to wait for.
    fn due(&self, ending: Option<Ending>, deadline: Moment, now: Moment) -> Option<Moment> {
        let stop_at = self.shared.stopping.at();
        let silent_at = match self.heard {
            // Processes that were killed print no more.
            Some(_) if ending.is_some_and(|last| last.step == Stop::Kill) => return None,
            // If the run is ended, the processes that the command has left running are ended too.
            Some(heard) if ending.is_none() && stop_at == Moment::NEVER => {
                heard.after(self.silence())
            }
            _ => Moment::NEVER,
        };
        let due = ending.map_or(deadline.min(stop_at).min(silent_at), |last| self.end_of(last));
        (now < silent_at).then_some(due)
    }

    /// How long the processes that it has left running may be silent.
    fn silence(&self) -> Duration {
        self.shared.config.grace.max(SHORTEST_SILENCE)
    }

    /// The command has exited: the rest of its output is read. Returns whether no process that it has left
    /// running can print more.
    fn outlive(&mut self) -> bool {
        self.heard = Some(self.shared.now());
        self.process.ignore_exit();
        self.read_rest();
        self.process.is_closed()
    }

    /// Why the command must be ended now, if it must.
    fn why_cut_short(&self, now: Moment, deadline: Moment) -> Option<CutShort> {
        if self.trouble.is_some() {
            Some(CutShort::NotKept)
        } else if self.unfed.is_some() {
            Some(CutShort::NotFed)
        } else if self.shared.groups.is_killing() || now >= self.shared.stopping.at() {
            Some(CutShort::RunEnded)
        } else if self.job.is_abandoned() {
            Some(CutShort::Abandoned)
        } else if self.stopped.is_some() {
            Some(CutShort::Stopped)
        } else if self.measured.excess.is_some() {
            Some(CutShort::OutOfMemory)
        } else if now >= self.quiet_at() {
            Some(CutShort::Quiet)
        } else if now >= deadline {
            Some(CutShort::TimedOut)
        } else {
            None
        }
    }

    /// When it has been silent for too long.
    fn quiet_at(&self) -> Moment {
        match self.shared.config.failures.silence {
            Some(limit) if self.heard.is_none() => self.measured.last_output.after(limit),
            _ => Moment::NEVER,
        }
    }

    /// Notices a stop of the command. Returns whether the terminal was the cause: nobody will undo
    /// that.
    fn notice_stop(&mut self) -> bool {
        let who = || format!("the command of {}", self.shared.deliveries.name(self.job));
        let stopped = stopped_for_terminal(self.shared, &self.process, who);
        let wants_terminal = stopped.is_some();
        self.stopped = self.stopped.take().or(stopped);
        wants_terminal
    }

    /// The command has exited, or can't be killed. Its group is ended as well, unless the command has
    /// ended by itself.
    fn end(mut self, cut: Option<CutShort>) -> Ended {
        let was_killed = self.shared.groups.is_killing();
        let is_own_end = cut.is_none() && self.trouble.is_none();
        let (status, is_left) = if is_own_end {
            self.process.release(&self.shared.groups)
        } else {
            (self.process.reap(&self.shared.groups), false)
        };
        self.read_rest();
        if cut.is_none() && !was_killed && (is_left || !self.process.is_closed()) {
            self.report_leftovers();
        }
        let is_left_behind = status.is_none() && !self.process.has_exited();
        let Printed { stdout, stderr, .. } = &mut self.printed;
        if let Err(error) = stdout.finish().and_then(|()| stderr.finish()) {
            self.trouble.get_or_insert(error);
        }
        let cut = if self.trouble.is_some() {
            Some(CutShort::NotKept)
        } else if cut.is_none() && was_killed {
            // It was killed with all others, before its slot noticed.
            Some(CutShort::RunEnded)
        } else if cut.is_none() && self.unfed.is_some() {
            // It found the end of its stdin before its slot noticed.
            Some(CutShort::NotFed)
        } else {
            cut
        };
        let mut printed = self.printed;
        printed.exit = status.and_then(|status| status.code());
        printed.signal = status.and_then(|status| status.signal());
        Ended {
            printed: Arc::new(printed),
            status,
            cut,
            is_left_behind,
            trouble: self.trouble,
            unfed: self.unfed,
            stopped: self.stopped,
            excess: self.measured.excess,
        }
    }

    /// Names the processes that the command has left running.
    fn report_leftovers(&self) {
        if self.process.is_closed() && !self.process.is_left_after(LAST_MOMENT) {
            return;
        }
        let names = self.process.leftovers();
        let mut left = match names.as_deref() {
            // The processes that were seen are gone by now.
            Some([]) => return,
            None => "something".to_owned(),
            Some(names) => names[..names.len().min(MOST_NAMES)].join(", "),
        };
        if let Some(more) = names.and_then(|names| names.len().checked_sub(MOST_NAMES + 1)) {
            left.push_str(&format!(" and {} more", more + 1));
        }
        if !self.process.is_closed() {
            let silence = humantime::format_duration(self.silence());
            left.push_str(&format!(
                "; it holds stdout or stderr open and has printed nothing for {silence}: what it \
                 prints from now on is lost"
            ));
        }
        let job = self.shared.deliveries.name(self.job);
        self.shared.watcher.note(&format!("{job}: the command has left running: {left}"));
    }
}
