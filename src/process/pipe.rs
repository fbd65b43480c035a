//! Pipes to and from a process: reads and writes that never block, and wide pipes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::poll::poll;
use crate::job::block::shortened;

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

/// Appends the bytes in a pipe to `into`, up to [`READ_SIZE`] bytes or a little more.
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

/// How many bytes of a file are read at once where the system can't move them without that.
const PIECE: usize = 64 << 10;

/// Moves bytes of a file, up to `len` from `begin` on, to the pipe: as many as it takes now.
///
/// # Errors
/// The file can't be read, or has no bytes there.
pub(super) fn copy(
    pipe: BorrowedFd<'_>,
    file: &File,
    begin: u64,
    len: u64,
) -> io::Result<Transfer> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(MOST_MOVED);
    match splice(pipe, file, begin, len) {
        Ok(0) => Err(shortened()),
        Ok(count) => Ok(Transfer::Moved(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Transfer::Blocked),
        Err(Errno::PIPE) => Ok(Transfer::Closed),
        // Some file systems can't do it, nor can other systems than Linux.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let mut bytes = vec![0; len.min(PIECE)];
            match file.read_at(&mut bytes, begin)? {
                0 => Err(shortened()),
                count => Ok(write(pipe, &bytes[..count])),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// One call moves at most this many bytes, so that a signal is not kept waiting.
const MOST_MOVED: usize = 16 << 20;

#[cfg(target_os = "linux")]
fn splice(
    pipe: BorrowedFd<'_>,
    file: &File,
    mut begin: u64,
    len: usize,
) -> rustix::io::Result<usize> {
    use rustix::pipe::SpliceFlags;
    rustix::pipe::splice(file, Some(&mut begin), pipe, None, len, SpliceFlags::NONBLOCK)
}

#[cfg(not(target_os = "linux"))]
fn splice(_: BorrowedFd<'_>, _: &File, _: u64, _: usize) -> rustix::io::Result<usize> {
    Err(Errno::NOSYS)
}

/// A pipe: the end to read from, and the end to write to. Programs do not inherit it.
pub(super) fn new() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(not(target_vendor = "apple"))]
    return rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    #[cfg(target_vendor = "apple")]
    {
        let (reader, writer) = rustix::pipe::pipe()?;
        keep(&reader)?;
        keep(&writer)?;
        Ok((reader, writer))
    }
}

/// Keeps an open file from programs, where the system has no way to open it so. A program that another thread
/// starts in between inherits it.
#[cfg(target_vendor = "apple")]
pub(super) fn keep(file: &OwnedFd) -> rustix::io::Result<()> {
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC)
}

/// Makes a pipe wider, where the system allows it. Another stream stays as it is.
pub(crate) fn widen(_pipe: &OwnedFd) {
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(_pipe, WIDE);
}

/// A pipe that several threads may write to, such as the stdin of a process. A write never blocks.
#[derive(Debug)]
pub(crate) struct PipeCopy(pub(super) OwnedFd);

impl PipeCopy {
    /// Takes a stream, whose writes do not block from now on.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn new(stream: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(Self(stream))
    }

    /// Waits until it takes more bytes, or nobody reads it.
    pub(crate) fn wait_for_room(&self) {
        let _ = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None);
    }

    /// Writes as many bytes as the pipe takes now.
    pub(crate) fn write(&self, bytes: &[u8]) -> Transfer {
        write(self.0.as_fd(), bytes)
    }
}
