//! The line to a nursery, the process that forks others: a socket that carries whole messages and open files.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;

/// The socket is closed if the nursery is gone: that is no reason for a signal.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

/// The line to a nursery. A message is whole: a request with three open files, or the number of a process that
/// the nursery is to reap.
#[derive(Debug)]
pub(crate) struct NurseryLine(OwnedFd);

impl NurseryLine {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a message and these open files.
    pub(super) fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        sendmsg(&self.0, &[IoSlice::new(message)], &mut control, SEND_FLAGS)?;
        Ok(())
    }

    /// Has the nursery reap a process that has exited. If it does not, its end does.
    pub(super) fn have_reaped(&self, pid: Pid) {
        let _ = self.send(pid.to_string().as_bytes(), &[]);
    }
}
