//! What carries a connection: the process of a launcher, or a socket of a server on this machine.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::job::Watcher;
use crate::process::{
    Crowd, Groups, PipeCopy, Process, Readiness, SocketLine, Stop, Transfer, Wake,
};

/// What carries a connection.
pub(super) enum Carrier {
    Launcher(Box<Process>),
    Socket(SocketLine),
}

impl Carrier {
    /// Where messages are written.
    ///
    /// # Errors
    /// There is no room for another descriptor.
    pub(super) fn copy_input(&self) -> io::Result<PipeCopy> {
        match self {
            Self::Launcher(process) => process.copy_stdin(),
            Self::Socket(socket) => socket.copy(),
        }
    }

    /// As [`Process::wait`].
    pub(super) fn wait(&self, wake: &Wake, write: bool, timeout: Option<Duration>) -> Readiness {
        match self {
            Self::Launcher(process) => process.wait(Some(wake), write, None, timeout),
            Self::Socket(socket) => socket.wait(wake, write, timeout),
        }
    }

    /// Whether the waits of a crowd may end when anything happens.
    pub(super) fn may_join(&self) -> bool {
        match self {
            Self::Launcher(process) => process.may_join(),
            Self::Socket(_) => false,
        }
    }

    /// As [`Process::join`].
    pub(super) fn join(&self, crowd: &Crowd, member: u64) -> io::Result<()> {
        match self {
            Self::Launcher(process) => process.join(crowd, member),
            Self::Socket(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn part(&self, crowd: &Crowd) {
        if let Self::Launcher(process) = self {
            process.part(crowd);
        }
    }

    /// Appends the bytes that have come.
    pub(super) fn read(&mut self, into: &mut Vec<u8>) -> Transfer {
        match self {
            Self::Launcher(process) => process.read(into),
            Self::Socket(socket) => socket.read(into),
        }
    }

    pub(super) fn forward_stderr(&mut self, watcher: &dyn Watcher) {
        if let Self::Launcher(process) = self {
            process.forward_stderr(watcher);
        }
    }

    pub(super) fn ignore_input(&mut self) {
        if let Self::Launcher(process) = self {
            process.ignore_stdin();
        }
    }

    pub(super) fn ignore_exit(&mut self) {
        if let Self::Launcher(process) = self {
            process.ignore_exit();
        }
    }

    /// Ends it. Returns how a process ended, and its last words.
    pub(super) fn end(
        self,
        first: Stop,
        grace: Duration,
        groups: &Groups,
        watcher: &dyn Watcher,
    ) -> (Option<ExitStatus>, String) {
        match self {
            Self::Launcher(mut process) => {
                let status = process.stop(first, grace, groups, None, watcher);
                (status, process.last_stderr())
            }
            Self::Socket(_) => (None, String::new()),
        }
    }
}
