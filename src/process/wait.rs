//! Waiting for a process: `Process::wait` is the only wait of a slot that has a process, and
//! `Process::await_exit` is the wait for the exit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::child::Process;
use super::crowd::{Crowd, CrowdEvent};
use super::exit::EXIT_TICK;
use super::groups::Groups;
use super::pipe::Transfer;
use super::poll::{poll, poll_and_look, readable};
use super::stops::Stopped;
use super::wake::Wake;
use crate::job::Watcher;

/// The number of bytes that [`Process::await_exit`] keeps of a process's stdout, or a little more.
const KEPT: usize = 64 << 20;

/// The largest number of descriptors that a wait watches.
const MOST_WATCHED: usize = 6;

/// The place of stdout among them.
const STDOUT: usize = 1;

/// The result of a wait. Several things may have happened at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    /// Stdout can be read.
    pub(crate) stdout: bool,
    /// Stderr can be read, or its unfinished line must be passed on.
    pub(crate) stderr: bool,
    /// The same for the stderr of the other process.
    pub(crate) other_stderr: bool,
    /// The process has exited.
    pub(crate) exited: bool,
    /// The process has closed its stdin, and the wait was not for writing.
    pub(crate) stdin_closed: bool,
}

/// A descriptor and the events to wait for; `None`: it is not watched.
type Watched<'a> = (Option<BorrowedFd<'a>>, PollFlags);

impl Process {
    /// Waits until something happens, for at most `timeout`. `write`: whether there is anything to
    /// write. `other`: another process, whose stderr is watched as well.
    pub(crate) fn wait(
        &self,
        wake: Option<&Wake>,
        write: bool,
        other: Option<&Self>,
        timeout: Option<Duration>,
    ) -> Readiness {
        let looks_for_exit = self.watches_exit && self.exit.descriptor().is_none();
        let tick = looks_for_exit.then_some(EXIT_TICK);
        let stderrs = [Some(self), other].into_iter().flatten();
        let due = stderrs.filter_map(|process| process.stderr.due_in());
        let timeout = timeout.into_iter().chain(tick).chain(due).min();
        let sources = self.sources(wake, write, other);
        let Some([woken, stdout, stderr, exited, other_stderr, stdin]) =
            poll_sources(&sources, timeout)
        else {
            return Readiness::default();
        };
        if let Some(wake) = wake.filter(|_| woken) {
            wake.clear();
        }
        Readiness {
            stdout,
            stderr: stderr || self.stderr.is_due(),
            other_stderr: other_stderr || other.is_some_and(|other| other.stderr.is_due()),
            exited: exited || (looks_for_exit && self.exit.has_exited()),
            stdin_closed: stdin && !write,
        }
    }

    /// Waits until stdout can be read, for at most `timeout`. Returns whether it can.
    pub(crate) fn wait_for_stdout(&self, timeout: Duration) -> bool {
        let Some(stdout) = &self.stdout else { return false };
        poll(&mut [readable(stdout)], Some(timeout)) == Ok(1)
    }

    /// The second one is stdout.
    fn sources<'a>(
        &'a self,
        wake: Option<&'a Wake>,
        write: bool,
        other: Option<&'a Self>,
    ) -> [Watched<'a>; MOST_WATCHED] {
        let exit = self.exit.descriptor().filter(|_| self.watches_exit);
        let stdin = self.stdin.as_ref().filter(|_| write || self.watches_stdin);
        // A poll shows that stdin is closed whatever events it waits for.
        let writing = if write { PollFlags::OUT } else { PollFlags::empty() };
        [
            (wake.map(AsFd::as_fd), PollFlags::IN),
            (self.stdout.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.stderr.pipe(), PollFlags::IN),
            (exit, PollFlags::IN),
            (other.and_then(|other| other.stderr.pipe()), PollFlags::IN),
            (stdin.map(AsFd::as_fd), writing),
        ]
    }

    /// Whether its descriptors show all that happens to it. Not all systems show an exit. An unfinished line of
    /// stderr must be passed on after some time.
    pub(crate) fn may_join(&self) -> bool {
        self.exit.descriptor().is_some() && self.stderr.due_in().is_none()
    }

    /// Has the waits of a crowd end when anything happens.
    ///
    /// # Errors
    /// The system has no room for it. Then nothing has changed.
    pub(crate) fn join(&self, crowd: &Crowd, member: u64) -> io::Result<()> {
        let joined =
            self.sources(None, false, None).iter().enumerate().try_for_each(|(nth, source)| {
                let &(Some(fd), flags) = source else { return Ok(()) };
                let event = if nth == STDOUT { CrowdEvent::Stdout } else { CrowdEvent::Other };
                crowd.add(fd, member, event, !flags.is_empty())
            });
        if joined.is_err() {
            self.part(crowd);
        }
        joined
    }

    /// The waits of a crowd do not end any more when anything happens.
    pub(crate) fn part(&self, crowd: &Crowd) {
        self.sources(None, false, None).iter().filter_map(|source| source.0).for_each(|fd| {
            crowd.remove(fd);
        });
    }

    /// From now on waits do not end when the process closes its stdin.
    pub(crate) fn ignore_stdin(&mut self) {
        self.watches_stdin = false;
    }

    /// From now on waits do not end when the process exits, since it has exited. It is not reaped
    /// yet, so that its group can still be signalled.
    pub(crate) fn ignore_exit(&mut self) {
        self.watches_exit = false;
    }

    /// Whether the process has exited. It is not reaped by this.
    pub(crate) fn has_exited(&self) -> bool {
        self.exit.has_exited()
    }

    /// Whether the process exits within `time`. No other event ends this wait: a process that will exit
    /// soon closes its streams before, and a wake-up is kept.
    pub(crate) fn exits_within(&self, time: Duration) -> bool {
        self.exit.comes_within(time)
    }

    /// Waits for the process to exit by itself, for at most `patience`. Stdout that comes meanwhile is
    /// appended to `keep`, or thrown away. Returns whether the process has exited.
    pub(crate) fn await_exit(
        &mut self,
        groups: &Groups,
        wake: Option<&Wake>,
        patience: Duration,
        watcher: &dyn Watcher,
        mut keep: Option<&mut Vec<u8>>,
    ) -> bool {
        let end = groups.clock.now().after(patience);
        self.ignore_stdin();
        loop {
            if self.has_exited() {
                return true;
            }
            let now = groups.clock.now();
            if now >= end || groups.is_killing() {
                return false;
            }
            if let Some(stopped) = self.stopped(groups).filter(Stopped::wanted_terminal) {
                self.wanted_terminal = Some(stopped);
                return false;
            }
            let ready = self.wait(wake, false, None, end.until(now));
            if ready.stderr {
                self.forward_stderr(watcher);
            }
            let mut waste = Vec::new();
            let into = keep.as_deref_mut().filter(|kept| kept.len() < KEPT).unwrap_or(&mut waste);
            if ready.stdout && self.read(into) == Transfer::Closed {
                self.stdout = None;
            }
        }
    }
}

/// Polls those sources that are watched. Returns which of them are ready; `None`: the poll was
/// interrupted.
fn poll_sources(
    sources: &[Watched<'_>; MOST_WATCHED],
    timeout: Option<Duration>,
) -> Option<[bool; MOST_WATCHED]> {
    // These fill the array. Only those that are replaced are polled.
    let filler = || PollFd::from_borrowed_fd(rustix::stdio::stderr(), PollFlags::empty());
    let mut fds: [PollFd<'_>; MOST_WATCHED] = std::array::from_fn(|_| filler());
    let mut count = 0;
    for &(fd, flags) in sources {
        if let Some(fd) = fd {
            fds[count] = PollFd::from_borrowed_fd(fd, flags);
            count += 1;
        }
    }
    poll_and_look(&mut fds[..count], timeout).ok()?;
    let mut ready = [false; MOST_WATCHED];
    let mut polled = fds.iter();
    for (ready, (fd, _)) in ready.iter_mut().zip(sources) {
        *ready = fd.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty());
    }
    Some(ready)
}
