//! A command: started for one job, fed, listened to, and ended when its time is over.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::command::Commands;
use crate::job::Job;
use crate::job::printed::{Capture, Printed};
use crate::pool::shared::Shared;
use crate::process::stops::Stopped;
use crate::process::{Process, Progress, Spec, Stop, Stream, Wake};
use crate::util::clock::Moment;

/// What a command has printed when it exits is read for no longer than this much: a process that
/// has left its group may go on writing for ever.
const LAST_READ: usize = 2 << 20;

/// A command that is done sooner, and prints less, is quick.
const QUICK: Duration = Duration::from_millis(5);
const LITTLE: u64 = 16 << 10;

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
            trouble: None,
            stopped: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Attends to the command until it is gone. `is_quick` says whether the one before it was quick, so
    /// that this one may be, and then whether it was.
    pub(crate) fn attend(self, wake: &Wake, is_quick: &mut bool) -> Ended {
        let shared = self.shared;
        let began = shared.now();
        let ended = match *is_quick && self.exits_soon(wake) {
            true => self.end(None),
            false => self.attend_long(began, wake),
        };
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
        self.process.wait_for_exit(wake, timeout.map_or(QUICK, |timeout| timeout.min(QUICK)))
    }

    /// Attends to a command for as long as it takes.
    fn attend_long(mut self, began: Moment, wake: &Wake) -> Ended {
        let shared = self.shared;
        let mut cut = None;
        // One that has nothing to read is told so at once.
        self.feed();
        // How it is being ended, and when the next step is due.
        let mut step: Option<(Stop, Moment)> = None;
        loop {
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
            let due = step.map_or(deadline.min(shared.stop_at()), |(_, until)| until);
            let timeout = if due == Moment::NEVER { None } else { due.until(now) };
            let has_exited = match self.is_held_up {
                true => self.offer_again(wake, timeout),
                false => {
                    let ready = self.process.wait(Some(wake), self.has_input(), None, timeout);
                    self.feed();
                    self.listen(ready.readable, ready.stderr);
                    ready.exited
                }
            };
            if has_exited {
                break;
            }
        }
        self.end(cut)
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
        let who = || format!("{}: its command", self.shared.name(self.job));
        let stopped = self.shared.stopped_for_terminal(&self.process, who);
        let wants_terminal = stopped.is_some();
        self.stopped = self.stopped.take().or(stopped);
        wants_terminal
    }

    fn tell(&mut self, step: Stop) -> Duration {
        self.process.tell(step, self.shared.config.grace)
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
                Progress::Moved(count) => self.written += count,
                Progress::Blocked => return,
                Progress::Closed => self.written = self.input.len(),
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
        for (stream, capture, _) in [(Stream::Stdout, out, stdout), (Stream::Stderr, err, stderr)]
            .into_iter()
            .filter(|(_, _, is_ready)| *is_ready)
        {
            self.process.collect(stream, capture.buffer());
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
        if let Err(error) = stdout.settle().and_then(|()| stderr.settle()) {
            self.trouble.get_or_insert(error);
            // There is no room for it, and no use.
            stdout.buffer().clear();
            stderr.buffer().clear();
        }
    }

    /// The command has exited, or can't be killed: what is left of its group goes as well.
    fn end(mut self, cut: Option<Cut>) -> Ended {
        let was_killed = self.shared.groups.is_killing();
        let status = self.process.reap(&self.shared.groups);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = LAST_READ;
            loop {
                let Printed { stdout, stderr, .. } = &mut self.printed;
                let capture = if stream == Stream::Stdout { stdout } else { stderr };
                match self.process.collect(stream, capture.buffer()) {
                    Progress::Moved(count) if count < left => left -= count,
                    _ => break,
                }
                self.pass_on();
            }
        }
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
            trouble: self.trouble,
            stopped: self.stopped,
        }
    }
}
