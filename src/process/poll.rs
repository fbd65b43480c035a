//! `poll` with a `Duration` as its timeout. Every wait for a descriptor in this folder is such a call.

use std::time::Duration;

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Result;

/// The longest timeout of a poll. The system may not accept a longer one.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Waits until a descriptor is ready, or for `timeout`. Returns how many descriptors are ready.
pub(super) fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize> {
    event::poll(fds, timespec(timeout).as_ref())
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
