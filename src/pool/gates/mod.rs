//! Gates: what a job waits for besides a free slot: a pause between starts, a rate, the load and the
//! memory of the machine, a token of make's jobserver.

pub(crate) mod jobserver;
pub(crate) mod memory;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Limits;
use crate::job::Watcher;
use crate::pool::gates::jobserver::{Jobserver, Token};
use crate::pool::gates::memory::Memory;
use crate::pool::queue::Taken;
use crate::process::Wake;
use crate::util::clock::{Clock, Moment};
use crate::util::setting::Setting;

/// How often the load and the memory of the machine are checked.
const LOOK: Duration = Duration::from_millis(500);

/// A gate that jobs wait for besides a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gate {
    /// The time between two starts.
    Interval,
    /// The load of the machine.
    Load,
    /// The free memory of the machine.
    Memory,
    /// A token of make's jobserver.
    Jobserver,
}

impl Gate {
    const ALL: [Self; 4] = [Self::Interval, Self::Load, Self::Memory, Self::Jobserver];
}

/// The gates of a pool.
#[derive(Debug)]
pub(crate) struct Gates {
    limits: Limits,
    turns: Mutex<GateTurns>,
    /// Held while a slot takes a job and enters the line, so that jobs start in the order in which they are taken.
    order: Mutex<()>,
    jobserver: Option<Arc<Jobserver>>,
    /// How free memory is measured, if it matters.
    memory: Option<Memory>,
    /// It was reported that jobs wait.
    has_reported: AtomicBool,
    /// How many slots wait at each gate.
    waiting: [AtomicUsize; Gate::ALL.len()],
}

/// A slot that waits at a gate, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
struct GateTurns {
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
            order: Mutex::default(),
            jobserver: jobserver.map(Arc::new),
            has_reported: AtomicBool::new(false),
            waiting: Default::default(),
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

    /// The gate that most slots wait at, and how many they are.
    pub(crate) fn busiest(&self) -> Option<(Gate, usize)> {
        let counts = self.waiting.iter().map(|count| count.load(Ordering::Relaxed));
        let gates = Gate::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0);
        gates.max_by_key(|(_, count)| *count)
    }

    fn wait_at(&self, gate: Gate) -> Waiting<'_> {
        let count = &self.waiting[gate as usize];
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }

    /// Has a slot take jobs. If there is an interval between starts, the slot enters the line at once, and `ticket` is
    /// its place: otherwise another slot could take a later job and start it first.
    pub(crate) fn take_in_order<T>(
        &self,
        ticket: &mut Option<u64>,
        clock: &Clock,
        wake: &Arc<Wake>,
        take: impl FnOnce() -> (Taken, T),
    ) -> (Taken, T) {
        if !self.have_interval() {
            return take();
        }
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = take();
        if taken.0 == Taken::Jobs {
            ticket.get_or_insert_with(|| self.lock_turns().enter(clock.now(), wake));
        }
        taken
    }

    /// Waits until a job may start, or until the run is over. `ticket`: the place of its slot in the line, if it has one.
    pub(crate) fn pass(
        &self,
        clock: &Clock,
        watcher: &dyn Watcher,
        wake: &Arc<Wake>,
        ticket: &mut Option<u64>,
        is_over: impl Fn() -> bool,
    ) -> Passage {
        if let Some(interval) = self.limits.interval
            && !self.wait_for_turn(interval, clock, wake, ticket, &is_over)
        {
            return Passage::Closed;
        }
        while let Some((gate, what)) = self.what_is_short() {
            let _waiting = self.wait_at(gate);
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
                let _waiting = self.wait_at(Gate::Jobserver);
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
        ticket: &mut Option<u64>,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let _waiting = self.wait_at(Gate::Interval);
        let number = ticket.take().unwrap_or_else(|| self.lock_turns().enter(clock.now(), wake));
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

    /// Whether there is a time between the start of a job and the next.
    pub(crate) fn have_interval(&self) -> bool {
        self.limits.interval.is_some()
    }

    /// Whether it is the turn of a slot to start a job, which does not wait here: `ticket` is its place
    /// in the line. Otherwise returns when it is, as far as is known.
    pub(crate) fn ask_for_turn(
        &self,
        ticket: &mut Option<u64>,
        clock: &Clock,
        wake: &Arc<Wake>,
    ) -> Option<Moment> {
        let interval = self.limits.interval?;
        let now = clock.now();
        let mut turns = self.lock_turns();
        let number = *ticket.get_or_insert_with(|| turns.enter(now, wake));
        let (due, is_first) = turns.due(number, interval);
        if !is_first || due > now {
            // A slot that is first and late needs a moment to come.
            return Some(due.max(now.after(Duration::from_millis(1))));
        }
        turns.waiting.remove(&number);
        turns.next = Some(due.after(interval));
        *ticket = None;
        None
    }

    /// A slot does not wait for its turn any more.
    pub(crate) fn forgo_turn(&self, ticket: &mut Option<u64>) {
        let Some(number) = ticket.take() else { return };
        let mut turns = self.lock_turns();
        turns.waiting.remove(&number);
        turns.waiting.values().for_each(|(_, wake)| wake.notify());
    }

    fn lock_turns(&self) -> MutexGuard<'_, GateTurns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The resource that is short now: its gate, and a phrase.
    fn what_is_short(&self) -> Option<(Gate, String)> {
        if let Some(most) = self.limits.max_load
            && let Some(load) = load()
            && load > most
        {
            let what = format!("the load is {load:.2}, above {} {most}", Setting::MaxLoad);
            return Some((Gate::Load, what));
        }
        if let Some(least) = self.limits.min_free_memory
            && let Some(free) = self.memory.as_ref().and_then(Memory::free)
            && free.bytes < least
        {
            let mib = |bytes: u64| bytes >> 20;
            let whose =
                if free.is_of_group { " (the limit of the memory cgroup counts)" } else { "" };
            let what = format!(
                "{} MiB of memory are free, less than {} {} MiB{whose}",
                mib(free.bytes),
                Setting::MinFreeMemory,
                mib(least)
            );
            return Some((Gate::Memory, what));
        }
        None
    }
}

impl GateTurns {
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
