//! Writes to stderr. A write never delays the end of a run, even if nobody reads stderr or the terminal is held (Ctrl-S).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use rustix::io::Errno;
use rustix::stdio::stderr;

use crate::signals::writes_in_vain;

/// The time between two checks whether a wait is over.
pub const TICK: Duration = Duration::from_millis(100);

/// At the end of a run, stderr has this time to take some bytes. Then the rest is dropped.
const PATIENCE: Duration = Duration::from_millis(300);

/// The number of bytes that are written at a time where a longer write may block.
const PIECE: usize = 512;

/// stderr, as it was given to this process.
#[derive(Debug)]
pub struct StderrStream {
    /// The same pipe, opened a second time. This one does not block, and other processes are not affected.
    own: Option<OwnedFd>,
    /// A write to the stderr that was given may block.
    may_block: bool,
    /// When the run began to end.
    hurried: OnceLock<Instant>,
    /// A wait for it has timed out. Later writes do not wait.
    is_deaf: AtomicBool,
}

impl StderrStream {
    /// Finds out the kind of stderr.
    pub fn new() -> Self {
        let stat = fstat(stderr());
        let kind = stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode));
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // On other systems, opening it a second time may give the same open file, with all its settings.
        let may_open = cfg!(target_os = "linux") && kind == Ok(FileType::Fifo);
        let own = may_open.then(|| open("/proc/self/fd/2", flags, Mode::empty()).ok()).flatten();
        let is_same = |own: &OwnedFd| {
            let place = |stat: Stat| (stat.st_dev, stat.st_ino);
            fstat(own).map(place) == stat.map(place)
        };
        Self {
            own: own.filter(is_same),
            may_block: kind != Ok(FileType::RegularFile),
            hurried: OnceLock::new(),
            is_deaf: AtomicBool::new(false),
        }
    }

    /// The run is to end: from now on each wait for stderr has a limit.
    pub fn hurry(&self) {
        let _ = self.hurried.set(Instant::now());
    }

    /// Whether the run is to end.
    pub fn is_hurried(&self) -> bool {
        self.hurried.get().is_some()
    }

    /// Writes all of it, and waits for room if `waits`. Once the run is to end, the wait has a limit, and then the
    /// rest is dropped.
    pub fn write(&self, mut bytes: &[u8], waits: bool) {
        if self.is_hurried() && writes_in_vain() {
            return;
        }
        while !bytes.is_empty() {
            match self.write_some(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    if self.is_deaf.load(Ordering::Relaxed) {
                        self.is_deaf.store(false, Ordering::Relaxed);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if waits && self.wait_for_room() => {}
                // There is nowhere to report this.
                Err(_) => return,
            }
        }
    }

    fn write_some(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match &self.own {
            Some(own) => rustix::io::write(own, bytes),
            None if !self.may_block => rustix::io::write(stderr(), bytes),
            None if self.has_room(Duration::ZERO) => {
                rustix::io::write(stderr(), &bytes[..bytes.len().min(PIECE)])
            }
            None => Err(Errno::AGAIN),
        }
    }

    /// Waits until something can be written. Returns `false` if the wait was given up.
    fn wait_for_room(&self) -> bool {
        let begin = Instant::now();
        while !self.is_given_up(begin) {
            if self.has_room(TICK) {
                return true;
            }
        }
        false
    }

    /// Whether a wait that has lasted since `begin` is over.
    pub fn is_given_up(&self, begin: Instant) -> bool {
        let Some(hurried) = self.hurried.get() else { return false };
        let is_over = begin.max(*hurried).elapsed() >= PATIENCE;
        if is_over {
            self.is_deaf.store(true, Ordering::Relaxed);
        }
        is_over || self.is_deaf.load(Ordering::Relaxed)
    }

    /// Whether something can be written now, or can within this time.
    pub fn has_room(&self, patience: Duration) -> bool {
        let fd = self.own.as_ref().map_or(stderr(), AsFd::as_fd);
        let patience = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        matches!(poll(&mut fds, patience.as_ref()), Ok(1..))
    }
}
