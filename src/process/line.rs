//! A connected socket, used like the stdin and stdout of a process. Reads do not block, and each wait has a limit.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::pipe::{self, PipeCopy, Transfer};
use super::poll::{poll_and_look, readable};
use super::wait::Readiness;
use super::wake::Wake;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct SocketLine(OwnedFd);

impl SocketLine {
    /// Takes a socket, whose reads and writes do not block from now on.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(socket))
    }

    /// The same socket, for writing.
    ///
    /// # Errors
    /// There is no room for another descriptor.
    pub(crate) fn copy(&self) -> io::Result<PipeCopy> {
        PipeCopy::new(self.0.try_clone()?)
    }

    /// Waits for a wake-up, until bytes have come or the other end is gone, for at most `timeout`. `write`:
    /// until bytes can be written as well.
    pub(crate) fn wait(&self, wake: &Wake, write: bool, timeout: Option<Duration>) -> Readiness {
        let events = if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [readable(wake), PollFd::new(&self.0, events)];
        if poll_and_look(&mut fds, timeout).is_err() {
            return Readiness::default();
        }
        let [woken, socket] = fds.map(|fd| fd.revents());
        if !woken.is_empty() {
            wake.clear();
        }
        let is_over = socket.intersects(PollFlags::HUP | PollFlags::ERR);
        Readiness { stdout: is_over || socket.contains(PollFlags::IN), ..Readiness::default() }
    }

    /// Appends the bytes that have come.
    pub(crate) fn read(&self, into: &mut Vec<u8>) -> Transfer {
        pipe::read(self.0.as_fd(), into)
    }
}
