//! `Wake`: interrupts the wait of a slot. Other threads can do nothing else to a slot.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::pipe;
use super::poll::poll;
use super::poll::readable;

/// Interrupts a slot that waits.
#[derive(Debug)]
pub(crate) struct Wake {
    receiver: OwnedFd,
    sender: OwnedFd,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let (receiver, sender) = pipe::new()?;
        rustix::io::ioctl_fionbio(&receiver, true)?;
        rustix::io::ioctl_fionbio(&sender, true)?;
        Ok(Self { receiver, sender })
    }

    /// Wakes the slot. No error matters: a full pipe wakes the slot as well.
    pub(crate) fn notify(&self) {
        let _ = rustix::io::write(&self.sender, &[1]);
    }

    /// Forgets all wake-ups so far.
    pub(crate) fn clear(&self) {
        let mut bytes = [0_u8; 64];
        while matches!(rustix::io::read(&self.receiver, &mut bytes), Ok(64)) {}
    }

    /// Waits for `time`, or until a wake-up, which is kept for the next wait.
    pub(crate) fn wait_briefly(&self, time: Duration) {
        let _ = poll(&mut [readable(self)], Some(time));
    }

    /// Waits for a wake-up, or until `other` is readable.
    pub(crate) fn wait_also_for(&self, other: BorrowedFd<'_>) {
        let _ = poll(&mut [readable(self), readable(&other)], None);
        self.clear();
    }

    /// Waits for a wake-up, until `other` is readable, or for `timeout`. Returns whether `other` is
    /// readable.
    pub(crate) fn wait_or_read(&self, other: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
        let mut fds = [readable(self), readable(&other)];
        let is_ready = poll(&mut fds, timeout).is_ok();
        let [woken, other] = fds.map(|fd| is_ready && !fd.revents().is_empty());
        if woken {
            self.clear();
        }
        other
    }

    /// Waits for a wake-up, or for `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let _ = poll(&mut [readable(self)], timeout);
        self.clear();
    }

    /// Whether there is a wake-up within `time`.
    pub(crate) fn comes_within(&self, time: Duration) -> bool {
        let is_woken = poll(&mut [readable(self)], Some(time)) != Ok(0);
        if is_woken {
            self.clear();
        }
        is_woken
    }
}

/// The descriptor that becomes readable with a wake-up.
impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
