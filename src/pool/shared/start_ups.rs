//! How start-ups go: failures in a row, whether any worker has ever answered, and whether the machine
//! has room for another process.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::job::Watcher;
use crate::pool::shared::nursery::NurseryPlace;
use crate::process::Groups;
use crate::util::clock::Moment;

/// If no process could be started for this long, the machine will not have room soon.
const LONGEST_LULL: Duration = Duration::from_secs(5);

/// The start-ups of all slots.
#[derive(Debug)]
pub(crate) struct StartUps {
    /// Start-up failures in a row.
    failures: AtomicU32,
    /// It was reported that the pool has given up.
    has_given_up: AtomicBool,
    /// A worker has answered, or the silence of all workers was reported.
    is_silence_over: AtomicBool,
    /// It was reported that a process could not be started for lack of room.
    was_crowded: AtomicBool,
    lull: Mutex<Lull>,
    /// How many workers are being warmed up for jobs that wait for them.
    warming: AtomicUsize,
    /// Where workers are forked.
    pub(crate) nursery: NurseryPlace,
}

/// Since when no process has been started.
#[derive(Debug)]
struct Lull {
    /// How many processes had been started when it began.
    started: u64,
    since: Moment,
}

impl StartUps {
    pub(super) fn new() -> Self {
        Self {
            failures: AtomicU32::new(0),
            has_given_up: AtomicBool::new(false),
            is_silence_over: AtomicBool::new(false),
            was_crowded: AtomicBool::new(false),
            lull: Mutex::new(Lull { started: u64::MAX, since: Moment::NEVER }),
            warming: AtomicUsize::new(0),
            nursery: NurseryPlace::default(),
        }
    }

    /// The same with the nursery of another pool.
    pub(super) fn beside(self, other: &Self) -> Self {
        Self { nursery: Arc::clone(&other.nursery), ..self }
    }

    /// How many workers are being warmed up for jobs that wait for them.
    pub(crate) fn warming(&self) -> usize {
        self.warming.load(Ordering::Relaxed)
    }

    /// Counts a worker as being warmed up while `act` runs.
    pub(crate) fn while_warming<T>(&self, act: impl FnOnce() -> T) -> T {
        self.warming.fetch_add(1, Ordering::Relaxed);
        let result = act();
        self.warming.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// Start-up failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Acquire)
    }

    /// Counts a failure of a start-up that began when there were `before` failures, and returns the
    /// count. Start-ups that fail side by side count once.
    pub(crate) fn count_failure(&self, before: u32) -> u32 {
        match self.failures.compare_exchange(
            before,
            before + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => before + 1,
            Err(count) => count,
        }
    }

    /// A worker has answered: start-ups do not fail any more.
    pub(crate) fn worker_answered(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.forget_failures();
        }
        if self.is_silent() {
            self.is_silence_over.store(true, Ordering::Release);
        }
    }

    pub(super) fn forget_failures(&self) {
        self.failures.store(0, Ordering::Release);
    }

    /// Whether no worker has ever answered, and that was not reported.
    pub(crate) fn is_silent(&self) -> bool {
        !self.is_silence_over.load(Ordering::Relaxed)
    }

    /// Ends the silence. Returns whether this call ended it: then the caller reports it.
    pub(crate) fn end_silence(&self) -> bool {
        let was_over = self.is_silence_over.swap(true, Ordering::AcqRel);
        !was_over
    }

    /// The pool gives up. Returns whether that is the first time.
    pub(super) fn give_up(&self) -> bool {
        let had_given_up = self.has_given_up.swap(true, Ordering::AcqRel);
        !had_given_up
    }

    /// Whether a process could not be started only because the machine has no room for it now. The
    /// first time, that is reported: the run goes on, and is slower.
    pub(super) fn is_crowded(
        &self,
        error: &io::Error,
        now: Moment,
        groups: &Groups,
        watcher: &dyn Watcher,
    ) -> bool {
        let passing = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
        let is_passing = Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno));
        if !is_passing || !self.may_have_room_soon(now, groups) {
            return false;
        }
        let was_crowded = self.was_crowded.swap(true, Ordering::AcqRel);
        if !was_crowded {
            watcher.note(&format!(
                "a process could not be started, and the run goes on with fewer: {error}"
            ));
        }
        true
    }

    /// Whether other processes run, or ran until lately: they may soon make room for the next.
    fn may_have_room_soon(&self, now: Moment, groups: &Groups) -> bool {
        let started = groups.started();
        let mut lull = self.lull.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.count() > 0 || lull.started != started {
            *lull = Lull { started, since: now };
        }
        now < lull.since.after(LONGEST_LULL)
    }
}
