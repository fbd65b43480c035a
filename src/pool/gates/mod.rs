//! Gates: what a job waits for besides a free slot: a pause between starts, a rate, the load and the
//! memory of the machine, a token of make's jobserver.

pub(crate) mod jobserver;
mod memory;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Limits;
use crate::job::Watcher;
use crate::pool::gates::jobserver::{Jobserver, Token};
use crate::pool::gates::memory::Memory;
use crate::process::Wake;
use crate::util::clock::{Clock, Moment};

/// How often the load and the memory of the machine are checked.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Gates {
    limits: Limits,
    turns: Mutex<Turns>,
    jobserver: Option<Arc<Jobserver>>,
    /// How free memory is measured, if it matters.
    memory: Option<Memory>,
    /// It was reported that jobs wait.
    has_reported: AtomicBool,
}

/// Whether a job may start.
#[derive(Debug)]
pub(crate) enum Passage {
    /// It may.
    Free,
    /// It may, with this token, which is kept until the job is over.
    With(Token),
    /// It may not: the run was ended.
    Closed,
}

/// Whose turn it is to start a job.
#[derive(Debug, Default)]
struct Turns {
    /// When the next job may start.
    next: Option<Moment>,
    /// The slots that wait and since when, in the order in which they came.
    waiting: BTreeMap<u64, (Moment, Arc<Wake>)>,
    /// How many slots have come.
    count: u64,
}

impl Gates {
    pub(crate) fn new(limits: Limits) -> Self {
        let jobserver = if limits.jobserver { Jobserver::from_make() } else { None };
        Self {
            memory: limits.min_free_memory.map(|_| Memory::new()),
            limits,
            turns: Mutex::default(),
            jobserver: jobserver.map(Arc::new),
            has_reported: AtomicBool::new(false),
        }
    }

    /// Whether there is anything to wait for. If so, a worker gets one job at a time.
    pub(crate) fn any(&self) -> bool {
        let Limits { interval, max_load, min_free_memory, .. } = &self.limits;
        interval.is_some()
            || max_load.is_some()
            || min_free_memory.is_some()
            || self.jobserver.is_some()
    }

    /// Waits until a job may start, or until the run is over.
    pub(crate) fn pass(
        &self,
        clock: &Clock,
        watcher: &dyn Watcher,
        wake: &Arc<Wake>,
        is_over: impl Fn() -> bool,
    ) -> Passage {
        if let Some(interval) = self.limits.interval
            && !self.wait_for_turn(interval, clock, wake, &is_over)
        {
            return Passage::Closed;
        }
        while let Some(what) = self.what_is_short() {
            if is_over() {
                return Passage::Closed;
            }
            let had_reported = self.has_reported.swap(true, Ordering::AcqRel);
            if !had_reported {
                watcher.note(&format!("jobs wait: {what}"));
            }
            wake.wait(Some(LOOK));
        }
        match &self.jobserver {
            None => Passage::Free,
            Some(jobserver) => {
                Jobserver::wait(jobserver, wake, is_over).map_or(Passage::Closed, Passage::With)
            }
        }
    }

    /// Waits for the time of the next start. Returns whether it has come. If the run is over instead,
    /// the next slot gets that time.
    fn wait_for_turn(
        &self,
        interval: Duration,
        clock: &Clock,
        wake: &Arc<Wake>,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let number = self.lock_turns().enter(clock.now(), wake);
        loop {
            let over = is_over();
            let mut turns = self.lock_turns();
            let now = clock.now();
            let (due, is_first) = turns.due(number, interval);
            if over || (is_first && due <= now) {
                turns.waiting.remove(&number);
                if over {
                    turns.waiting.values().for_each(|(_, wake)| wake.notify());
                } else {
                    turns.next = Some(due.after(interval));
                }
                return !over;
            }
            drop(turns);
            // If the turn is due but another slot is first, that slot needs a moment to come.
            wake.wait(Some(due.since(now).max(Duration::from_millis(1))));
        }
    }

    fn lock_turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the machine has too little of now, as a phrase.
    fn what_is_short(&self) -> Option<String> {
        if let Some(most) = self.limits.max_load
            && let Some(load) = load()
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

impl Turns {
    fn enter(&mut self, now: Moment, wake: &Arc<Wake>) -> u64 {
        self.count += 1;
        self.waiting.insert(self.count, (now, Arc::clone(wake)));
        self.count
    }

    /// When it is the turn of a slot that waits, as far as is known, and whether it is the first.
    fn due(&self, number: u64, interval: Duration) -> (Moment, bool) {
        let before = self.waiting.range(..number).count();
        let came = self.waiting.get(&number).map_or(Moment::NEVER, |(came, _)| *came);
        let next = self.next.map_or(came, |next| next.max(came));
        let wait = interval.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        (next.after(wait), before == 0)
    }
}

/// The load average of the last minute; `None`: the system does not say.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
