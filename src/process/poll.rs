//! `poll` with a `Duration` as its timeout. Every wait for a descriptor in this folder is such a call.

use std::time::Duration;

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::{Errno, Result};

/// The longest timeout of a poll. The system may not accept a longer one.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Waits until a descriptor is ready, or for `timeout`. Returns how many descriptors are ready.
pub(super) fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize> {
    event::poll(fds, timespec(timeout).as_ref())
}

/// As [`poll`], but a signal that ends the wait early hides nothing that is ready. After a CONT, for example, the
/// deadline of a job may be over, and a reply that came before must be seen first.
pub(super) fn poll_and_look(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize> {
    match poll(fds, timeout) {
        Err(Errno::INTR) => poll(fds, Some(Duration::ZERO)),
        result => result,
    }
}

/// Waits for `time`.
pub(crate) fn pause(time: Duration) {
    let _ = poll(&mut [], Some(time));
}

/// A descriptor that becomes readable.
pub(super) fn readable<Fd: std::os::fd::AsFd>(fd: &Fd) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::IN)
}

fn timespec(timeout: Option<Duration>) -> Option<Timespec> {
    // The kernel rounds up.
    Timespec::try_from(timeout?.min(LONGEST_TIMEOUT)).ok()
}
