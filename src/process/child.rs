//! `Process`: a running process, the leader of its own group. This file has its pipes: read, write,
//! close. The rest is in `start`, `wait`, `ladder` and `reap`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Weak;

use rustix::fs::fstat;
use rustix::process::Pid;

use super::exit::ExitWatch;
use super::groups::Groups;
use super::leader::Leader;
use super::leftovers;
use super::pipe;
use super::pipe::{PipeCopy, Transfer};
use super::stderr::StderrReader;
use super::stops::{self, Stopped};
use crate::job::Watcher;

/// The streams that a process writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

/// A running process, the leader of its own group.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) leader: Leader,
    pub(super) group: Pid,
    pub(super) exit: ExitWatch,
    /// Whether waits end when the process exits.
    pub(super) watches_exit: bool,
    pub(super) stdin: Option<OwnedFd>,
    /// Whether waits end when the process closes its stdin.
    pub(super) watches_stdin: bool,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: StderrReader,
    /// Whether it is off the list of groups: it was reaped, or could not be killed.
    pub(super) is_over: bool,
    pub(super) groups: Weak<Groups>,
    /// The stop for the terminal that ended [`Process::await_exit`].
    pub(crate) wanted_terminal: Option<Stopped>,
    /// How much memory it had from its nursery when it was forked, in bytes.
    pub(super) inherited: u64,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.group.as_raw_pid().unsigned_abs()
    }

    /// The memory that the process holds now, in bytes, without what it had when it was forked. `None`: the
    /// system does not tell.
    pub(crate) fn memory(&self) -> Option<u64> {
        Some(memory_of(self.pid())?.saturating_sub(self.inherited))
    }

    /// Sees to it that its group has the terminal that was lent to it. Returns whether the process is
    /// stopped and must stay so: it wanted to stop, or another group of the shell has the terminal.
    pub(crate) fn must_stay_stopped(&self, groups: &Groups) -> bool {
        let stop = if groups.is_paused() { None } else { stops::stop_of(self.group) };
        let wants_terminal = stop.as_ref().is_none_or(Stopped::wanted_terminal);
        let has_it = wants_terminal && groups.lend_terminal_again(self.group, stop.is_some());
        stop.is_some() && !has_it
    }

    /// Lets its stopped group go on.
    pub(crate) fn go_on(&self, groups: &Groups) {
        groups.go_on(self.group);
    }

    /// A stop that was found in its group since the last call. The slot is woken for it.
    pub(crate) fn stopped(&self, groups: &Groups) -> Option<Stopped> {
        groups.take_stop(self.group)
    }

    /// How much memory its group uses, in bytes, if a look since the last call has found that this is too
    /// much. The slot is woken for it.
    pub(crate) fn excess(&self, groups: &Groups) -> Option<u64> {
        groups.take_excess(self.group)
    }

    /// The names of the processes that are alive in its group, or hold its stdout or stderr open.
    /// `None`: the system does not tell.
    pub(crate) fn leftovers(&self) -> Option<Vec<String>> {
        let pipes = [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.pipe()];
        let inodes = pipes.into_iter().flatten().filter_map(|pipe| Some(fstat(pipe).ok()?.st_ino));
        leftovers::names(self.group, &inodes.collect::<Vec<u64>>())
    }
}

/// The memory that a process holds now, in bytes; `None`: the system does not tell.
pub(crate) fn memory_of(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Stdin and stdout.
impl Process {
    /// Writes as many bytes to its stdin as the pipe takes now.
    pub(crate) fn write(&self, bytes: &[u8]) -> Transfer {
        self.stdin.as_ref().map_or(Transfer::Closed, |stdin| pipe::write(stdin.as_fd(), bytes))
    }

    /// Moves bytes of a file, up to `len` from `begin` on, to its stdin: as many as the pipe takes now.
    ///
    /// # Errors
    /// The file can't be read, or has no bytes there.
    pub(crate) fn copy(&self, file: &File, begin: u64, len: u64) -> io::Result<Transfer> {
        let Some(stdin) = &self.stdin else { return Ok(Transfer::Closed) };
        pipe::copy(stdin.as_fd(), file, begin, len)
    }

    /// Makes the pipe of stdin wider, for many bytes.
    pub(crate) fn widen_stdin(&self) {
        self.stdin.iter().for_each(pipe::widen);
    }

    /// Its stdin for another thread. The process finds the end of its stdin when both are closed.
    pub(crate) fn copy_stdin(&self) -> io::Result<PipeCopy> {
        let stdin = self.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.try_clone().map(PipeCopy)
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The number of written bytes that the process has not read; `None`: the system does not tell.
    pub(crate) fn unread(&self) -> Option<u64> {
        #[cfg(target_os = "linux")]
        return rustix::io::ioctl_fionread(self.stdin.as_ref()?).ok();
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Makes the pipes of stdin and stdout wider, so that large messages take fewer reads and writes.
    pub(crate) fn widen(&self) {
        [&self.stdin, &self.stdout].into_iter().flatten().for_each(pipe::widen);
    }

    /// Appends the bytes in stdout to `into`, up to a limit.
    pub(crate) fn read(&self, into: &mut Vec<u8>) -> Transfer {
        self.stdout.as_ref().map_or(Transfer::Closed, |stdout| pipe::read(stdout.as_fd(), into))
    }

    /// Whether stdout may hold anything to read.
    pub(crate) fn may_be_read(&self) -> bool {
        let waiting = |pipe| rustix::io::ioctl_fionread(pipe).map_or(true, |bytes| bytes > 0);
        self.stdout.as_ref().is_some_and(waiting)
    }

    /// Appends the bytes in a stream to `into`, up to a limit. A stream that is closed is dropped.
    pub(crate) fn collect(&mut self, stream: OutputStream, into: &mut Vec<u8>) -> Transfer {
        match stream {
            OutputStream::Stdout => pipe::read_or_drop(&mut self.stdout, into),
            OutputStream::Stderr => self.stderr.collect(into),
        }
    }

    /// Whether stdout and stderr have been read to their ends.
    pub(crate) fn is_closed(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_closed()
    }
}

/// Stderr.
impl Process {
    /// Passes on whole lines of its stderr. Each call reads once only.
    pub(crate) fn forward_stderr(&mut self, watcher: &dyn Watcher) -> Transfer {
        self.stderr.forward(watcher)
    }

    /// The number of bytes of its stderr that have been read.
    pub(crate) fn stderr_count(&self) -> u64 {
        self.stderr.count()
    }

    /// Leaves the first `count` bytes of its stderr out of messages, since they are about something
    /// earlier.
    pub(crate) fn ignore_stderr_before(&mut self, count: u64) {
        self.stderr.ignore_before(count);
    }

    /// The last lines of its stderr, for a message; empty if there are none.
    pub(crate) fn last_stderr(&self) -> String {
        self.stderr.last_lines()
    }
}
