//! A command: started for one job, fed, listened to, and ended when its time is over.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::command::Commands;
use crate::job::Job;
use crate::job::printed::{Capture, Printed};
use crate::pool::roll::Seen;
use crate::pool::shared::Shared;
use crate::process::stops::Stopped;
use crate::process::{OutputStream, Process, Spec, Stop, Transfer, Wake};
use crate::util::clock::Moment;

/// What a command has printed is read at its end for no longer than this much at once: what it left
/// running may go on writing for ever.
const LAST_READ: usize = 2 << 20;

/// A command that is done sooner, and prints less, is quick.
const QUICK: Duration = Duration::from_millis(5);
const LITTLE: u64 = 16 << 10;

/// What a command has left running may be silent for at least so long: a process that another slot is
/// starting has all pipes open for a moment.
const SHORTEST_SILENCE: Duration = Duration::from_millis(50);

/// Many a program closes its streams so long, at most, before it ends.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// So many processes, at most, are named of those that a command has left running.
const MOST_NAMES: usize = 3;

/// While nobody takes the lines that a command has printed they are offered this often.
const OFFER_TICK: Duration = Duration::from_millis(10);

/// Why a command was not left to end of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its time was over.
    TimedOut,
    /// The run was ended.
    Cancelled,
    /// Nobody waits for it any more.
    Abandoned,
    /// What it printed could not be kept.
    NotKept,
    /// It was stopped, since it wanted the terminal.
    Stopped,
}

/// A command under way.
pub(crate) struct Running<'a> {
    shared: &'a Shared,
    commands: &'a Commands,
    job: &'a Job,
    process: Process,
    /// What it is to read, and how much of that it has been given.
    input: Vec<u8>,
    written: usize,
    printed: Printed,
    /// Lines wait that nobody takes now: no more are read.
    is_held_up: bool,
    /// When it exited, or what it left running was last heard of; `None`: it has not exited.
    heard: Option<Moment>,
    trouble: Option<io::Error>,
    stopped: Option<Stopped>,
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("process", &self.process).finish_non_exhaustive()
    }
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) printed: Arc<Printed>,
    pub(crate) status: Option<std::process::ExitStatus>,
    pub(crate) cut: Option<Cut>,
    /// It could not be killed.
    pub(crate) is_left_behind: bool,
    /// Why its output could not be kept.
    pub(crate) trouble: Option<io::Error>,
    /// What it did with the terminal.
    pub(crate) stopped: Option<Stopped>,
}

impl<'a> Running<'a> {
    /// Starts the command of a job.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn start(
        shared: &'a Shared,
        commands: &'a Commands,
        job: &'a Job,
        command: &Command,
        input: Vec<u8>,
        wake: &Arc<Wake>,
    ) -> io::Result<Self> {
        let spec = Spec {
            argv: &command.argv,
            program: shared.program_of(&command.argv),
            env: &command.env,
            cwd: command.cwd.as_deref(),
            has_stdin: commands.stdin,
            pty: false,
            wake,
        };
        let process = Process::start(&spec, &shared.groups)?;
        let stream = || Capture::new(&shared.spool);
        let printed = Printed { exit: None, signal: None, stdout: stream(), stderr: stream() };
        Ok(Self {
            shared,
            commands,
            job,
            process,
            input,
            written: 0,
            printed,
            is_held_up: false,
            heard: None,
            trouble: None,
            stopped: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Attends to the command until it is gone, and to what it has left running for as long as that
    /// prints. `is_quick` says whether the one before it was quick, so that this one may be, and then
    /// whether it was.
    pub(crate) fn attend(mut self, wake: &Wake, is_quick: &mut bool, roll: &mut Seen) -> Ended {
        let shared = self.shared;
        let began = shared.now();
        let is_over = *is_quick && self.exits_soon(wake) && self.outlive();
        let cut = if is_over { None } else { self.attend_long(began, wake, roll) };
        let ended = self.end(cut);
        let printed = ended.printed.stdout.len() + ended.printed.stderr.len();
        *is_quick = shared.now() < began.after(QUICK) && printed < LITTLE;
        ended
    }

    /// Waits for a while for the exit alone. Returns whether it has come.
    fn exits_soon(&self, wake: &Wake) -> bool {
        if self.commands.stdin || self.commands.live {
            return false;
        }
        let timeout = self.job.timeout.or_else(|| self.shared.timeout());
        self.process.exits_within(wake, timeout.map_or(QUICK, |timeout| timeout.min(QUICK)))
    }

    /// Attends to a command for as long as it takes. Returns why it was cut short, if it was.
    fn attend_long(&mut self, began: Moment, wake: &Wake, roll: &mut Seen) -> Option<Cut> {
        let shared = self.shared;
        let mut cut = None;
        // One that has nothing to read is told so at once.
        self.feed();
        // How it is being ended, and when the next step is due.
        let mut step: Option<(Stop, Moment)> = None;
        loop {
            shared.roll.answer(roll, |slot| {
                vec![shared.underway(self.job, slot, self.process.pid(), began)]
            });
            let now = shared.now();
            let timeout = self.job.timeout.or_else(|| shared.timeout());
            let deadline = timeout.map_or(Moment::NEVER, |timeout| began.after(timeout));
            let wants_terminal = self.notice_stop();
            if step.is_none() {
                cut = self.reason(now, deadline);
                let first = match cut {
                    Some(Cut::Cancelled) => Some(shared.stop_means()),
                    Some(_) => Some(Stop::Terminate),
                    None => None,
                };
                step = first.map(|first| (first, now.after(self.tell(first))));
            } else if let Some((stop, until)) = step
                && (now >= until
                    || (stop < Stop::Kill && (wants_terminal || shared.groups.is_killing())))
            {
                if stop == Stop::Kill {
                    break;
                }
                step = Some((Stop::Kill, now.after(self.tell(Stop::Kill))));
            }
            let Some(due) = self.due(step, deadline, now) else { break };
            let timeout = if due == Moment::NEVER { None } else { due.until(now) };
            let has_exited = match self.is_held_up && self.heard.is_none() {
                true => self.offer_again(wake, timeout),
                false => {
                    let ready = self.process.wait(Some(wake), self.has_input(), None, timeout);
                    self.feed();
                    self.listen(ready.stdout, ready.stderr);
                    ready.exited
                }
            };
            // Whatever it was that ended it ends what it has left running.
            if has_exited && (step.is_some() || self.outlive()) {
                break;
            }
            if self.heard.is_some() && self.process.is_closed() {
                break;
            }
        }
        cut
    }

    /// When something must be done even if nothing happens; `None`: there is nothing to wait for.
    fn due(&self, step: Option<(Stop, Moment)>, deadline: Moment, now: Moment) -> Option<Moment> {
        let stop_at = self.shared.stop_at();
        let silent_at = match self.heard {
            // Those that were killed print no more.
            Some(_) if step.is_some_and(|(stop, _)| stop == Stop::Kill) => return None,
            // What is left running when the run is ended goes with it.
            Some(heard) if step.is_none() && stop_at == Moment::NEVER => {
                heard.after(self.silence())
            }
            _ => Moment::NEVER,
        };
        let due = step.map_or(deadline.min(stop_at).min(silent_at), |(_, until)| until);
        (now < silent_at).then_some(due)
    }

    /// How long what is left running may be silent.
    fn silence(&self) -> Duration {
        self.shared.config.grace.max(SHORTEST_SILENCE)
    }

    /// The command has exited: what it has printed is read. Returns whether nothing that it has left
    /// running can print more.
    fn outlive(&mut self) -> bool {
        self.heard = Some(self.shared.now());
        self.process.ignore_exit();
        self.read_rest();
        self.process.is_closed()
    }

    /// Why the command must be ended now, if it must.
    fn reason(&self, now: Moment, deadline: Moment) -> Option<Cut> {
        match () {
            () if self.trouble.is_some() => Some(Cut::NotKept),
            () if self.shared.groups.is_killing() || now >= self.shared.stop_at() => {
                Some(Cut::Cancelled)
            }
            () if self.job.is_abandoned() => Some(Cut::Abandoned),
            () if self.stopped.is_some() => Some(Cut::Stopped),
            () if now >= deadline => Some(Cut::TimedOut),
            () => None,
        }
    }

    /// Deals with a stop that was noticed. Returns whether it was one for the terminal, which nobody
    /// will undo.
    fn notice_stop(&mut self) -> bool {
        let who = || format!("the command of {}", self.shared.name(self.job));
        let stopped = self.shared.stopped_for_terminal(&self.process, who);
        let wants_terminal = stopped.is_some();
        self.stopped = self.stopped.take().or(stopped);
        wants_terminal
    }

    fn tell(&mut self, step: Stop) -> Duration {
        self.process.take_step(step, self.shared.config.grace)
    }

    fn has_input(&self) -> bool {
        self.written < self.input.len()
    }

    /// Writes as much of the input as the command takes now. One that does not want it all is free
    /// not to read it.
    fn feed(&mut self) {
        if !self.commands.stdin {
            return;
        }
        while self.has_input() {
            match self.process.write(&self.input[self.written..]) {
                Transfer::Moved(count) => self.written += count,
                Transfer::Blocked => return,
                Transfer::Closed => self.written = self.input.len(),
            }
        }
        self.process.close_stdin();
    }

    /// Waits a moment and offers again the lines that nobody took. Returns whether the command has
    /// exited.
    fn offer_again(&mut self, wake: &Wake, timeout: Option<Duration>) -> bool {
        wake.wait(Some(timeout.map_or(OFFER_TICK, |timeout| timeout.min(OFFER_TICK))));
        self.feed();
        self.pass_on();
        self.process.has_exited()
    }

    /// Reads what the streams hold.
    fn listen(&mut self, stdout: bool, stderr: bool) {
        let Printed { stdout: out, stderr: err, .. } = &mut self.printed;
        for (stream, capture, _) in
            [(OutputStream::Stdout, out, stdout), (OutputStream::Stderr, err, stderr)]
                .into_iter()
                .filter(|(_, _, is_ready)| *is_ready)
        {
            let progress = self.process.collect(stream, capture.buffer());
            if matches!(progress, Transfer::Moved(_)) && self.heard.is_some() {
                self.heard = Some(self.shared.now());
            }
        }
        self.pass_on();
    }

    /// Hands on whole lines, where that is asked for; the rest must find its place.
    fn pass_on(&mut self) {
        let Printed { stdout, stderr, .. } = &mut self.printed;
        if self.commands.live && self.job.caller.is_none() {
            let (out, err) = (stdout.whole_lines(), stderr.whole_lines());
            let lines = (&stdout.buffer()[..out], &stderr.buffer()[..err]);
            self.is_held_up = out + err > 0 && !self.shared.pass_lines(self.job, lines);
            if !self.is_held_up {
                stdout.pass(out);
                stderr.pass(err);
            }
        }
        if let Err(error) = stdout.spill_excess().and_then(|()| stderr.spill_excess()) {
            self.trouble.get_or_insert(error);
            // There is no room for it, and no use.
            stdout.buffer().clear();
            stderr.buffer().clear();
        }
    }

    /// Reads what the streams hold, but for very much.
    fn read_rest(&mut self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let mut left = LAST_READ;
            loop {
                let Printed { stdout, stderr, .. } = &mut self.printed;
                let capture = if stream == OutputStream::Stdout { stdout } else { stderr };
                match self.process.collect(stream, capture.buffer()) {
                    Transfer::Moved(count) if count < left => left -= count,
                    _ => break,
                }
                self.pass_on();
            }
        }
    }

    /// The command has exited, or can't be killed. What is left of its group goes as well, unless the
    /// command has ended of itself.
    fn end(mut self, cut: Option<Cut>) -> Ended {
        let was_killed = self.shared.groups.is_killing();
        let (status, is_left) = if cut.is_none() && self.trouble.is_none() {
            self.process.release(&self.shared.groups)
        } else {
            (self.process.reap(&self.shared.groups), false)
        };
        self.read_rest();
        if cut.is_none() && !was_killed && (is_left || !self.process.is_closed()) {
            self.tell_what_is_left();
        }
        let is_left_behind = status.is_none() && !self.process.has_exited();
        let Printed { stdout, stderr, .. } = &mut self.printed;
        if let Err(error) = stdout.finish().and_then(|()| stderr.finish()) {
            self.trouble.get_or_insert(error);
        }
        let cut = match cut {
            _ if self.trouble.is_some() => Some(Cut::NotKept),
            // It was killed with all others, and had no time to notice that.
            None if was_killed => Some(Cut::Cancelled),
            cut => cut,
        };
        let mut printed = self.printed;
        printed.exit = status.and_then(|status| status.code());
        printed.signal =
            status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
        Ended {
            printed: Arc::new(printed),
            status,
            cut,
            is_left_behind,
            trouble: self.trouble,
            stopped: self.stopped,
        }
    }

    /// Names what the command has left running.
    fn tell_what_is_left(&self) {
        if self.process.is_closed() && !self.process.is_left_after(LAST_MOMENT) {
            return;
        }
        let names = self.process.leftovers();
        let mut left = match names.as_deref() {
            // What was seen is gone by now.
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
        let job = self.shared.name(self.job);
        self.shared.watcher.note(&format!("{job}: the command has left running: {left}"));
    }
}
