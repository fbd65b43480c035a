//! The parent: the process that has run the setup, and that forks workers. How it is started, and how a worker
//! is had from it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use humantime::format_duration;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::pool::shared::Shared;
use crate::pool::shared::nursery::{NotStarted, NurseryDoor};
use crate::pool::slot::environment::{has_slot, outer_environment, variable};
use crate::pool::slot::stopped::stopped_for_terminal;
use crate::process::stops::Stopped;
use crate::process::{
    Fork, ForkSpec, NurseryLine, Process, ProcessOutput, ProcessStdin, Spec, Stop, Transfer,
    describe, describe_exited,
};
use crate::util::clock::Moment;

/// The process that has run the setup, and that forks workers.
pub(super) struct Parent {
    process: Process,
    line: Arc<NurseryLine>,
    pub(super) born: Moment,
    /// What it has said, up to the last whole line.
    said: Vec<u8>,
}

/// Why a parent has forked no worker.
pub(super) enum NoFork {
    /// The system has refused.
    Io(io::Error),
    /// The parent is of no use any more. The phrase says what it did.
    Useless(String),
    /// The nursery is closed.
    Closed,
}

/// What a parent is waited for.
enum ParentWord {
    Ready,
    Forked(Pid),
    Refused(io::Error),
}

impl Parent {
    /// Starts a parent, and waits until it has run the setup. The stderr of `old` is passed on meanwhile.
    pub(super) fn load(
        shared: &Shared,
        door: &NurseryDoor,
        old: Option<&mut Self>,
    ) -> Result<Self, NotStarted> {
        shared.groups.adopt_orphans()?;
        let mut parent = Self::start(shared, door)?;
        match parent.listen(shared, door, false, old) {
            Ok(ParentWord::Ready) => {
                // What the setup has printed explains nothing that comes later.
                parent.process.ignore_stderr_before(parent.process.stderr_count());
                Ok(parent)
            }
            Ok(_) => Err(NotStarted::Parent(parent.end(shared, BROKEN))),
            Err(NoFork::Io(error)) => Err(error.into()),
            Err(NoFork::Useless(what)) => Err(NotStarted::Parent(parent.end(shared, &what))),
            Err(NoFork::Closed) => {
                parent.stop(shared, Stop::Terminate);
                Err(NotStarted::Unwanted)
            }
        }
    }

    fn start(shared: &Shared, door: &NurseryDoor) -> io::Result<Self> {
        let place = &shared.config.process;
        let mut env = outer_environment(shared);
        env.push(variable("PROCPOOL_SLOT", "0".into()));
        env.push(variable("PROCPOOL_GENERATION", "0".into()));
        env.extend(place.env_of_slot.iter().filter(|(_, text)| !has_slot(text)).cloned());
        let cwd = place.directory();
        let spec = Spec {
            env: &env,
            clears_env: place.clears_env,
            cwd: cwd.as_deref(),
            stdin: ProcessStdin::Requests,
            output: ProcessOutput::Pipes,
            ..Spec::new(&shared.config.worker.argv, &door.wake)
        };
        let process = Process::start(&spec, &shared.groups)?;
        let line = Arc::new(process.nursery_line()?);
        Ok(Self { process, line, born: shared.now(), said: Vec::new() })
    }

    /// Has it fork a worker.
    pub(super) fn fork(
        &mut self,
        shared: &Shared,
        door: &NurseryDoor,
        spec: ForkSpec,
    ) -> Result<Process, NoFork> {
        let fork = match Fork::ask(&self.line, spec, &shared.groups) {
            Ok(fork) => fork,
            Err(error) if is_gone(error.kind()) => return Err(NoFork::Useless(String::new())),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                let why =
                    "its variables and its folder are longer than the message about them may be";
                return Err(NoFork::Io(io::Error::other(why)));
            }
            Err(error) => return Err(NoFork::Io(error)),
        };
        match self.listen(shared, door, true, None) {
            Ok(ParentWord::Forked(pid)) => fork.adopt(pid, &self.line).map_err(NoFork::Io),
            Ok(ParentWord::Refused(error)) => {
                fork.withdraw();
                Err(NoFork::Io(error))
            }
            Ok(ParentWord::Ready) => Err(NoFork::Useless(BROKEN.into())),
            Err(error) => Err(error),
        }
    }

    /// Waits for its next word. `forks`: it forks a worker, which must not go astray.
    fn listen(
        &mut self,
        shared: &Shared,
        door: &NurseryDoor,
        forks: bool,
        mut old: Option<&mut Self>,
    ) -> Result<ParentWord, NoFork> {
        let limit = shared.config.failures.start_timeout;
        let mut end = limit.map_or(Moment::NEVER, |limit| shared.now().after(limit));
        loop {
            if let Some(word) = self.next_word() {
                return word.ok_or_else(|| NoFork::Useless(BROKEN.into()));
            }
            let now = shared.now();
            if door.is_closed() || shared.groups.is_killing() {
                if !forks {
                    return Err(NoFork::Closed);
                }
                end = end.min(now.after(shared.config.grace));
            }
            if now >= end {
                let limit = format_duration(limit.unwrap_or_default());
                return Err(NoFork::Useless(format!("was not ready after {limit}")));
            }
            let other = old.as_ref().map(|old| &old.process);
            let time = end.until(now).filter(|_| end != Moment::NEVER);
            let ready = self.process.wait(Some(&door.wake), false, other, time);
            if ready.stderr {
                self.process.forward_stderr(&*shared.watcher);
            }
            if ready.other_stderr
                && let Some(old) = &mut old
            {
                old.process.forward_stderr(&*shared.watcher);
            }
            if ready.stdout && self.process.read(&mut self.said) != Transfer::Closed {
                continue;
            }
            if ready.stdout || ready.exited || ready.stdin_closed {
                return Err(NoFork::Useless(String::new()));
            }
            if let Some(what) = self.wanted_terminal(shared) {
                return Err(NoFork::Useless(what));
            }
        }
    }

    /// The next line that it has said. `Some(None)`: it means nothing.
    fn next_word(&mut self) -> Option<Option<ParentWord>> {
        let end = memchr::memchr(b'\n', &self.said)?;
        let line: Vec<u8> = self.said.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line[..end]).into_owned();
        let mut words = line.split(' ');
        let word = (words.next(), words.next().and_then(|number| number.parse::<i32>().ok()));
        Some(match word {
            (Some("ready"), _) => Some(ParentWord::Ready),
            (Some("forked"), Some(pid @ 2..)) => Pid::from_raw(pid).map(ParentWord::Forked),
            (Some("refused"), Some(number @ 1..)) => {
                Some(ParentWord::Refused(io::Error::from_raw_os_error(number)))
            }
            _ => None,
        })
    }

    fn wanted_terminal(&self, shared: &Shared) -> Option<String> {
        let who = || format!("the parent of the workers (pid {})", self.process.pid());
        let stopped = stopped_for_terminal(shared, &self.process, who)?;
        Some(format!("{stopped} ({})", Stopped::advice()))
    }

    /// Waits for anything that happens while it has nothing to do. Returns what makes it useless.
    pub(super) fn rest(&mut self, shared: &Shared, door: &NurseryDoor) -> Option<String> {
        let ready = self.process.wait(Some(&door.wake), false, None, None);
        if ready.stderr {
            self.process.forward_stderr(&*shared.watcher);
        }
        if ready.exited || ready.stdin_closed {
            return Some(String::new());
        }
        if ready.stdout {
            let is_closed = self.process.read(&mut self.said) == Transfer::Closed;
            return Some(if is_closed { String::new() } else { BROKEN.to_owned() });
        }
        self.wanted_terminal(shared)
    }

    /// Ends it since it is of no use. Returns a sentence about that. `what` says what it did; empty: it ended.
    pub(super) fn end(self, shared: &Shared, what: &str) -> String {
        let Self { mut process, line, .. } = self;
        drop(line);
        let (pid, watcher) = (process.pid(), &*shared.watcher);
        let has_exited = what.is_empty()
            && process.await_exit(&shared.groups, None, EXIT_PATIENCE, watcher, None);
        let first = if has_exited { Stop::Kill } else { Stop::Terminate };
        let status = process.stop(first, shared.config.grace, &shared.groups, None, watcher);
        let how = if has_exited { describe_exited(status) } else { describe(status) };
        let what = match what {
            "" if has_exited => how,
            "" => format!("has closed its stdin or stdout, and {how}"),
            what => format!("{what}, and {how}"),
        };
        let words = process.last_stderr().replace('\n', " | ");
        let words = match &*words {
            "" => String::new(),
            words => format!("; its stderr ended with: {words}"),
        };
        format!("the parent of the workers (pid {pid}) {what}{words}")
    }

    /// Ends it, beginning with this step.
    pub(super) fn stop(self, shared: &Shared, first: Stop) {
        let Self { mut process, line, .. } = self;
        // It finds the end of its stdin once the line is closed as well.
        drop(line);
        process.stop(first, shared.config.grace, &shared.groups, None, &*shared.watcher);
    }
}

fn is_gone(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// What is said about a parent that says what it was not asked for.
const BROKEN: &str = "has broken its protocol";

/// A parent that has closed its streams has this long to exit.
const EXIT_PATIENCE: Duration = Duration::from_millis(200);
