//! Gates: what a job must wait for besides a free slot. A pause between starts, a rate, the load and
//! the memory of the machine, and a token of make's jobserver.

pub(crate) mod jobserver;
mod memory;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Limits;
use crate::job::Watcher;
use crate::pool::gates::jobserver::{Jobserver, Token};
use crate::pool::gates::memory::Memory;
use crate::process::Wake;
use crate::util::clock::{Clock, Moment};

/// How often the load and the memory of the machine are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The gates of a pool.
#[derive(Debug)]
pub(crate) struct Gates {
    limits: Limits,
    /// When the next job may start.
    next: Mutex<Option<Moment>>,
    jobserver: Option<Arc<Jobserver>>,
    /// Where free memory counts.
    memory: Option<Memory>,
    /// It was told what is waited for.
    has_told: AtomicBool,
}

impl Gates {
    pub(crate) fn new(limits: Limits) -> Self {
        let jobserver = if limits.jobserver { Jobserver::from_make() } else { None };
        Self {
            memory: limits.min_free_memory.map(|_| Memory::new()),
            limits,
            next: Mutex::new(None),
            jobserver: jobserver.map(Arc::new),
            has_told: AtomicBool::new(false),
        }
    }

    /// Whether there is anything to wait for. If so, a worker gets one job at a time.
    pub(crate) fn are_there(&self) -> bool {
        let Limits { interval, max_load, min_free_memory, .. } = &self.limits;
        interval.is_some()
            || max_load.is_some()
            || min_free_memory.is_some()
            || self.jobserver.is_some()
    }

    /// Waits until a job may start; `None`: the run was ended before. What is returned is to be
    /// kept until the job is over.
    pub(crate) fn pass(
        &self,
        clock: &Clock,
        watcher: &dyn Watcher,
        wake: &Arc<Wake>,
        is_over: impl Fn() -> bool,
    ) -> Option<Option<Token>> {
        if let Some(interval) = self.limits.interval {
            let start = self.reserve(interval, clock.now());
            while let Some(left) = start.until(clock.now()).filter(|left| !left.is_zero()) {
                if is_over() {
                    return None;
                }
                wake.wait(Some(left));
            }
        }
        while let Some(what) = self.what_is_short() {
            if is_over() {
                return None;
            }
            if !self.has_told.swap(true, Ordering::AcqRel) {
                watcher.note(&format!("jobs wait: {what}"));
            }
            wake.wait(Some(LOOK));
        }
        let Some(jobserver) = &self.jobserver else { return Some(None) };
        Jobserver::wait(jobserver, wake, is_over).map(Some)
    }

    /// When the next job may start: the one behind it must wait longer.
    fn reserve(&self, interval: Duration, now: Moment) -> Moment {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = next.map_or(now, |next| next.max(now));
        *next = Some(start.after(interval));
        start
    }

    /// What the machine has too little of now, as a phrase.
    fn what_is_short(&self) -> Option<String> {
        if let (Some(most), Some(load)) = (self.limits.max_load, self.limits.max_load.and(load()))
            && load > most
        {
            return Some(format!("the load is {load:.2}, above --max-load {most}"));
        }
        if let Some(least) = self.limits.min_free_memory
            && let Some(free) = self.memory.as_ref().and_then(Memory::free)
            && free.bytes < least
        {
            let mib = |bytes: u64| bytes >> 20;
            let whose =
                if free.is_of_group { " (the limit of the memory cgroup counts)" } else { "" };
            return Some(format!(
                "{} MiB of memory are free, less than --min-free-memory {} MiB{whose}",
                mib(free.bytes),
                mib(least)
            ));
        }
        None
    }
}

/// The load average of the last minute; `None`: the system does not tell.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
