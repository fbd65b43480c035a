//! The jobserver of GNU make: a pipe that holds a token, one byte, for each job that may run beside
//! the first. `make` names it in MAKEFLAGS.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A jobserver.
#[derive(Debug)]
pub(crate) struct Jobserver {
    read: File,
    write: File,
    /// The one job that needs no token, since `make` has taken one for procpool, is running.
    first_runs: AtomicBool,
}

/// The right to run a job, until it is dropped.
#[derive(Debug)]
pub(crate) struct Token {
    server: Arc<Jobserver>,
    /// What was read; `None`: it is the one that came with procpool.
    byte: Option<u8>,
}

impl Jobserver {
    /// The one that MAKEFLAGS names, if it is there.
    pub(crate) fn from_make() -> Option<Self> {
        let flags = std::env::var("MAKEFLAGS").ok()?;
        let (read, write) = paths(&flags)?;
        // Opened anew: to make them non-blocking must not concern `make` and its other children.
        let mut options = OpenOptions::new();
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().try_into().ok()?);
        let read = options.clone().read(true).open(read).ok()?;
        let write = OpenOptions::new().write(true).open(write).ok()?;
        Some(Self { read, write, first_runs: AtomicBool::new(false) })
    }

    /// Takes a token, if there is one now.
    pub(crate) fn take(server: &Arc<Self>) -> Option<Token> {
        let mut byte = [0];
        let byte = match server.first_runs.swap(true, Ordering::AcqRel) {
            false => None,
            true => match (&server.read).read(&mut byte) {
                Ok(1) => Some(byte[0]),
                _ => return None,
            },
        };
        Some(Token { server: Arc::clone(server), byte })
    }

    /// What becomes readable when there may be a token.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        match self.byte {
            None => self.server.first_runs.store(false, Ordering::Release),
            // There is room for it: it was taken from there.
            Some(byte) => drop((&self.server.write).write_all(&[byte])),
        }
    }
}

/// Where the two ends of the pipe are, as the last option of MAKEFLAGS says.
fn paths(flags: &str) -> Option<(PathBuf, PathBuf)> {
    let auth = flags.split_whitespace().rev().find_map(|flag| {
        flag.strip_prefix("--jobserver-auth=").or_else(|| flag.strip_prefix("--jobserver-fds="))
    })?;
    if let Some(path) = auth.strip_prefix("fifo:") {
        return Some((path.into(), path.into()));
    }
    let (read, write) = auth.split_once(',')?;
    let path = |fd: &str| fd.parse::<u32>().ok().map(|fd| PathBuf::from(format!("/dev/fd/{fd}")));
    Some((path(read)?, path(write)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_counts() {
        let fds = |read, write| {
            Some((format!("/dev/fd/{read}").into(), format!("/dev/fd/{write}").into()))
        };
        assert_eq!(paths(" -j4 --jobserver-auth=3,4"), fds(3, 4));
        assert_eq!(paths("k --jobserver-fds=5,6 -j"), fds(5, 6));
        assert_eq!(paths("--jobserver-auth=3,4 -- --jobserver-auth=7,8"), fds(7, 8));
        let fifo = Some(("/tmp/GMfifo1".into(), "/tmp/GMfifo1".into()));
        assert_eq!(paths("-j2 --jobserver-auth=fifo:/tmp/GMfifo1"), fifo);
        assert_eq!(paths("-j2 --jobserver-auth=-2,-2"), None);
        assert_eq!(paths("-n"), None);
    }
}
