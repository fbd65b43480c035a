//! The places of a semaphore: files `1`, `2` and so on in its folder, locked while a command has them. The file
//! `queue` is locked by the one procpool that looks for a place. The others wait for that lock in turn, so
//! whoever comes first is served first.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::folder;

/// How often the first in the queue looks for a free place. No event shows that a lock is free.
const TICK: Duration = Duration::from_millis(10);

/// The places of one semaphore.
#[derive(Debug)]
pub struct Places {
    folder: PathBuf,
}

/// The end of a wait.
#[derive(Debug)]
pub enum Wait<T> {
    Done(T),
    TimedOut,
}

impl Places {
    /// The places of the semaphore with this name.
    ///
    /// # Errors
    /// Its folder can't be made, or is not this user's alone.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        Ok(Self { folder: folder::open(name)? })
    }

    /// Takes a place when fewer than `most` are taken. `limit`: the longest wait.
    ///
    /// # Errors
    /// A file of the semaphore can't be opened.
    pub fn take(&self, most: usize, limit: Option<Duration>) -> anyhow::Result<Wait<File>> {
        let end = limit.map(|limit| Instant::now() + limit);
        let queue = self.file("queue").context("the queue of the semaphore")?;
        match end {
            // Without a limit, the system keeps the order.
            None => lock(&queue)?,
            Some(end) => {
                if let Wait::TimedOut = poll(Some(end), || Ok(try_lock(&queue)?.then_some(())))? {
                    return Ok(Wait::TimedOut);
                }
            }
        }
        poll(end, || self.free_place(most)).context("a place of the semaphore")
    }

    /// Waits until no place is taken. `limit`: the longest wait.
    ///
    /// # Errors
    /// A file of the semaphore can't be opened.
    pub fn wait_for_all(&self, limit: Option<Duration>) -> anyhow::Result<Wait<()>> {
        let end = limit.map(|limit| Instant::now() + limit);
        let all_free = || {
            for number in self.numbers()? {
                // A shared lock does not make a place look taken to others who wait for all.
                let place = self.file(&number.to_string())?;
                if !is_done(flock(&place, FlockOperation::NonBlockingLockShared))? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        poll(end, all_free).context("a place of the semaphore")
    }

    /// Takes the first free place, if fewer than `most` are taken. Only the first in the queue does so.
    fn free_place(&self, most: usize) -> io::Result<Option<File>> {
        let numbers = self.numbers()?;
        let mut free = None;
        let mut taken = 0;
        for number in &numbers {
            let place = self.file(&number.to_string())?;
            if !try_lock(&place)? {
                taken += 1;
            } else if free.is_none() {
                free = Some(place);
            }
        }
        if taken >= most {
            return Ok(None);
        }
        match free {
            Some(place) => Ok(Some(place)),
            None => {
                let next = numbers.iter().max().map_or(1, |last| last + 1);
                let place = self.file(&next.to_string())?;
                Ok(try_lock(&place)?.then_some(place))
            }
        }
    }

    /// The numbers of all places, in their order.
    fn numbers(&self) -> io::Result<Vec<u32>> {
        let names = std::fs::read_dir(&self.folder)?;
        let number = |entry: io::Result<std::fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        };
        let mut numbers: Vec<u32> =
            names.map(number).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        options.open(self.folder.join(name))
    }
}

/// Looks for something again and again. `end`: when to give up.
fn poll<T>(end: Option<Instant>, look: impl Fn() -> io::Result<Option<T>>) -> io::Result<Wait<T>> {
    loop {
        if let Some(found) = look()? {
            return Ok(Wait::Done(found));
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Wait::TimedOut);
        }
        thread::park_timeout(left.map_or(TICK, |left| left.min(TICK)));
    }
}

/// Waits for a lock.
fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Locks a file if it is free.
fn try_lock(file: &File) -> io::Result<bool> {
    is_done(flock(file, FlockOperation::NonBlockingLockExclusive))
}

fn is_done(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
