//! The jobserver of GNU make: a pipe that holds a token, one byte, for each job that may run besides
//! the first. `make` names the pipe in MAKEFLAGS.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::process::Wake;

/// The jobserver that this process was started with.
#[derive(Debug)]
pub(crate) struct Jobserver {
    read: File,
    write: File,
    first: Mutex<First>,
}

/// The token that came with procpool: `make` has taken it for the recipe. The slot that has waited
/// longest gets it. Otherwise a slot that gives it back would take it again, forever.
#[derive(Debug, Default)]
struct First {
    is_taken: bool,
    /// The slots that wait for a token, in the order in which they came.
    waiting: BTreeMap<u64, Arc<Wake>>,
    /// How many slots have come.
    count: u64,
}

/// The right to run a job, until it is dropped.
#[derive(Debug)]
pub(crate) struct Token {
    server: Arc<Jobserver>,
    origin: Origin,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// It came with procpool.
    First,
    /// This byte was read from the pipe.
    Pipe(u8),
}

impl Jobserver {
    /// The jobserver that MAKEFLAGS names, if there is one.
    pub(crate) fn from_make() -> Option<Self> {
        let flags = std::env::var("MAKEFLAGS").ok()?;
        let (read, write) = paths(&flags)?;
        if !is_handed_down(&read) || !is_handed_down(&write) {
            return None;
        }
        // The pipe is opened again, so that it is non-blocking here and not for the others that have
        // it.
        let mut options = OpenOptions::new();
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().try_into().ok()?);
        let read = options.clone().read(true).open(read).ok()?;
        let write = OpenOptions::new().write(true).open(write).ok()?;
        Some(Self { read, write, first: Mutex::default() })
    }

    /// Waits for a token; `None`: `is_over` before there was one.
    pub(crate) fn wait(
        server: &Arc<Self>,
        wake: &Arc<Wake>,
        is_over: impl Fn() -> bool,
    ) -> Option<Token> {
        let number = {
            let mut first = server.lock();
            first.count += 1;
            let number = first.count;
            first.waiting.insert(number, Arc::clone(wake));
            number
        };
        let token = loop {
            if is_over() {
                break None;
            }
            if let Some(origin) = server.take(number) {
                break Some(Token { server: Arc::clone(server), origin });
            }
            wake.wait_also_for(server.read.as_fd());
        };
        let mut first = server.lock();
        first.waiting.remove(&number);
        first.wake_next();
        token
    }

    /// Takes a token, if there is one now.
    fn take(&self, number: u64) -> Option<Origin> {
        let mut first = self.lock();
        let is_next = first.waiting.first_key_value().is_some_and(|(&next, _)| next == number);
        if is_next && !first.is_taken {
            first.is_taken = true;
            return Some(Origin::First);
        }
        drop(first);
        let mut byte = [0];
        matches!((&self.read).read(&mut byte), Ok(1)).then_some(Origin::Pipe(byte[0]))
    }

    fn lock(&self) -> MutexGuard<'_, First> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First {
    /// Wakes the slot that has waited longest, if the token is free: nothing in the pipe shows that.
    fn wake_next(&self) {
        if let Some((_, wake)) = self.waiting.first_key_value().filter(|_| !self.is_taken) {
            wake.notify();
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        match self.origin {
            Origin::First => {
                let mut first = self.server.lock();
                first.is_taken = false;
                first.wake_next();
            }
            // The pipe has room for it, since it came from there.
            Origin::Pipe(byte) => drop((&self.server.write).write_all(&[byte])),
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

/// Whether this is a pipe that was open when procpool was started. `make` names its pipe to all
/// recipes, and closes it for those that are not marked with `+`. Then the numbers may be those of
/// files that procpool has opened since. Such files have the close-on-exec flag.
fn is_handed_down(path: &Path) -> bool {
    let is_pipe = fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo());
    let fd = path.strip_prefix("/dev/fd").ok();
    let info = fd.and_then(|fd| fs::read_to_string(Path::new("/proc/self/fdinfo").join(fd)).ok());
    let flags = info.as_deref().and_then(|info| {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    });
    is_pipe && flags.is_none_or(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

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

    /// The jobs for which a token was wanted were dropped: another process may have the token.
    #[test]
    fn who_gives_up_takes_no_token() {
        let (read, write) = std::io::pipe().expect("there are descriptors");
        let (read, write) = (File::from(OwnedFd::from(read)), File::from(OwnedFd::from(write)));
        rustix::io::ioctl_fionbio(&read, true).expect("it is a pipe");
        let server = Arc::new(Jobserver { read, write, first: Mutex::default() });
        let wake = Arc::new(Wake::new().expect("there are descriptors"));
        let first = Jobserver::wait(&server, &wake, || false).expect("it is free");
        let is_over = Arc::new(AtomicBool::new(false));
        let waiter = {
            let (server, wake, is_over) = (server.clone(), wake.clone(), is_over.clone());
            thread::spawn(move || {
                Jobserver::wait(&server, &wake, || is_over.load(Ordering::Acquire)).is_none()
            })
        };
        while server.lock().waiting.is_empty() {
            thread::yield_now();
        }
        is_over.store(true, Ordering::Release);
        wake.notify();
        assert!(waiter.join().expect("it does not panic"));
        (&server.write).write_all(b"t").expect("it has room");
        drop(first);
        // Both tokens are there.
        let tokens = [(); 2].map(|()| Jobserver::wait(&server, &wake, || false));
        assert!(tokens.iter().all(Option::is_some));
    }
}
