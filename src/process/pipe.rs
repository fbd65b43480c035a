//! Pipes to and from a process: reads and writes that never block, and wide pipes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// One read takes at most this many bytes, as many as a pipe holds.
pub(super) const READ_SIZE: usize = 64 << 10;

/// A wide pipe holds this many bytes.
#[cfg(target_os = "linux")]
const WIDE: usize = 1 << 20;

/// How far a read or a write got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// The number of bytes that were moved, at least one.
    Moved(usize),
    /// Nothing can be moved now.
    Blocked,
    /// The other side has closed the pipe.
    Closed,
}

/// Appends what a pipe holds now to `into`, up to [`READ_SIZE`] bytes or a little more.
pub(super) fn read(pipe: BorrowedFd<'_>, into: &mut Vec<u8>) -> Transfer {
    if into.capacity() - into.len() < READ_SIZE / 2 {
        into.reserve(READ_SIZE);
    }
    match rustix::io::read(pipe, spare_capacity(into)) {
        Ok(0) => Transfer::Closed,
        Ok(count) => Transfer::Moved(count),
        Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
        Err(_) => Transfer::Closed,
    }
}

/// Reads as [`read`] does. A pipe that is closed is dropped.
pub(super) fn read_or_drop(pipe: &mut Option<OwnedFd>, into: &mut Vec<u8>) -> Transfer {
    let transfer = pipe.as_ref().map_or(Transfer::Closed, |pipe| read(pipe.as_fd(), into));
    if transfer == Transfer::Closed {
        *pipe = None;
    }
    transfer
}

/// Writes as many bytes as the pipe takes now.
pub(super) fn write(pipe: BorrowedFd<'_>, bytes: &[u8]) -> Transfer {
    match rustix::io::write(pipe, bytes) {
        Ok(count) => Transfer::Moved(count),
        Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
        Err(_) => Transfer::Closed,
    }
}

/// Makes a pipe wider, where the system allows it.
pub(super) fn widen(_pipe: &OwnedFd) {
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(_pipe, WIDE);
}
