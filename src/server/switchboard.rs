//! Sends each outcome of a server's pool to the caller whose job it was. Messages go to the caller whose job the
//! worker has, or to all callers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

use super::party::Party;
use crate::agent::outbox::LinkOutbox;
use crate::job::party::{MOST_PARTIES, party_of};
use crate::job::{Done, Failure, Job, Sink, Value, Watcher, WorkerEnd};
use crate::link::from_agent::FromAgent;
use crate::pool::Pool;
use crate::util::lock::lock;

thread_local! {
    /// The callers for whom this thread has outcomes that are not sent yet.
    static UNSENT: RefCell<Vec<Arc<Party>>> = const { RefCell::new(Vec::new()) };
}

/// Passes outcomes on to callers.
pub struct Switchboard {
    /// The callers, by their number. No caller has the number 0.
    parties: RwLock<HashMap<u64, Arc<Party>>>,
    /// The last number that was given to a caller.
    last: AtomicU64,
    /// The caller whose job each slot has taken last.
    at_slots: Mutex<HashMap<usize, Weak<Party>>>,
    /// The callers who wait for the proof of results, by the number of the proof.
    unproven: Mutex<HashMap<u64, Vec<Weak<Party>>>>,
    /// How many jobs have succeeded and failed.
    succeeded: AtomicU64,
    failed: AtomicU64,
    pool: OnceLock<Pool>,
    /// Nothing more is passed on.
    is_silent: AtomicBool,
    /// Gets the messages that are for no caller.
    log: Arc<dyn Watcher>,
}

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchboard").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Switchboard {
    /// A switchboard without callers. `log` gets the messages that are for no caller.
    pub fn new(log: Arc<dyn Watcher>) -> Arc<Self> {
        Arc::new(Self {
            parties: RwLock::default(),
            last: AtomicU64::new(0),
            at_slots: Mutex::default(),
            unproven: Mutex::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            pool: OnceLock::new(),
            is_silent: AtomicBool::new(false),
            log,
        })
    }

    /// The outcomes are those of this pool.
    pub(super) fn serve(&self, pool: &Pool) {
        let _ = self.pool.set(pool.clone());
    }

    /// Passes on nothing more.
    pub(super) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Release);
    }

    pub(super) fn pool(&self) -> Option<&Pool> {
        self.pool.get()
    }

    /// How many jobs have succeeded, and how many have failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Admits a caller, under a free number. `None`: there is none.
    pub(super) fn admit(&self, outbox: &Arc<LinkOutbox>) -> Option<Arc<Party>> {
        let pool = self.pool()?;
        let mut parties = self.parties.write().unwrap_or_else(|error| error.into_inner());
        let last = self.last.load(Ordering::Relaxed);
        let mut numbers = (0..MOST_PARTIES - 1).map(|step| 1 + (last + step) % (MOST_PARTIES - 1));
        let number = numbers.find(|number| !parties.contains_key(number))?;
        self.last.store(number, Ordering::Relaxed);
        let party = Party::new(number, outbox, pool);
        parties.insert(number, Arc::clone(&party));
        Some(party)
    }

    /// All jobs of a caller are over.
    pub(super) fn dismiss(&self, number: u64) {
        let gone = self.parties.write().unwrap_or_else(|error| error.into_inner()).remove(&number);
        drop(gone);
        if let Some(pool) = self.pool() {
            pool.forget_party(number);
        }
    }

    fn party(&self, seq: u64) -> Option<Arc<Party>> {
        if self.is_silent.load(Ordering::Acquire) {
            return None;
        }
        let parties = self.parties.read().unwrap_or_else(|error| error.into_inner());
        parties.get(&party_of(seq)).cloned()
    }

    fn all(&self) -> Vec<Arc<Party>> {
        let parties = self.parties.read().unwrap_or_else(|error| error.into_inner());
        parties.values().cloned().collect()
    }

    /// Passes something on to the caller whose job it concerns. It is sent soon.
    fn pass(&self, seq: u64, pass: impl FnOnce(&Party)) {
        let Some(party) = self.party(seq) else { return };
        pass(&party);
        UNSENT.with_borrow_mut(|unsent| {
            if !unsent.iter().any(|one| Arc::ptr_eq(one, &party)) {
                unsent.push(party);
            }
        });
    }

    /// The caller whose job this slot has taken last.
    fn at_slot(&self, slot: usize) -> Option<Arc<Party>> {
        lock(&self.at_slots).get(&slot).and_then(Weak::upgrade)
    }

    /// Results with this number are proven, or never will be.
    fn settle(&self, number: u64, is_proven: bool) {
        let parties = lock(&self.unproven).remove(&number);
        for party in parties.into_iter().flatten().filter_map(|party| party.upgrade()) {
            party.settle(number, is_proven);
        }
    }
}

impl Sink for Switchboard {
    fn deliver(&self, done: &Done<'_>) {
        let counter = if done.outcome.is_ok() { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.pass(done.job.seq, |party| {
            if let Some(number) = done.unproven
                && party.await_proof(number)
            {
                lock(&self.unproven).entry(number).or_default().push(party.me());
            }
            party.reporter.deliver(done);
            party.hold_if_full();
        });
    }

    fn flush(&self) {
        UNSENT.with_borrow_mut(|unsent| {
            unsent.drain(..).for_each(|party| party.reporter.flush());
        });
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        self.succeeded.fetch_add(count, Ordering::Relaxed);
        self.pass(seq, |party| {
            party.reporter.texts(seq, count, texts);
            party.hold_if_full();
        });
    }

    fn proved(&self, number: u64) {
        self.settle(number, true);
    }

    fn unprovable(&self, number: u64) {
        self.settle(number, false);
    }

    fn doubt(&self, done: &Done<'_>) {
        // It names the job by its key alone. Whoever has no such record does nothing.
        self.all().iter().for_each(|party| party.reporter.doubt(done));
    }

    fn part(&self, job: &Job, part: Value<'_>) -> bool {
        self.party(job.seq).is_none_or(|party| party.send_part(job, part))
    }

    fn wants_begun(&self) -> bool {
        true
    }

    fn begun(&self, slot: usize, job: &Job) {
        self.pass(job.seq, |party| {
            party.reporter.begun(slot, job);
            lock(&self.at_slots).insert(slot, party.me());
        });
    }

    fn process(&self, slot: usize, pid: u32) {
        self.all().iter().for_each(|party| party.reporter.process(slot, pid));
    }

    fn works_at_a_time(&self, jobs: usize, is_concurrent: bool) {
        // A job of another caller would wait for all jobs that lie at a worker which does one after the other.
        if is_concurrent {
            let parties = self.all();
            parties.iter().for_each(|party| party.reporter.works_at_a_time(jobs, true));
        }
    }

    fn dropped(&self, job: &Job) {
        self.pass(job.seq, |party| party.reporter.dropped(job));
        self.flush();
    }
}

impl Watcher for Switchboard {
    fn worker_stderr(&self, lines: &[u8]) {
        self.log.worker_stderr(lines);
    }

    fn worker_wrote(&self, slot: usize, _pid: u32, lines: &[u8]) {
        match self.at_slot(slot) {
            Some(party) => party.reporter.worker_stderr(lines),
            None => self.log.worker_stderr(lines),
        }
    }

    fn note(&self, text: &str) {
        self.log.note(text);
        self.all().iter().for_each(|party| party.reporter.note(text));
    }

    fn doubtful(&self, text: &str) {
        self.log.note(text);
        self.all().iter().for_each(|party| party.reporter.doubtful(text));
    }

    fn start_limit_reached(&self, failure: &Failure) {
        self.log.note(&failure.message);
        let unfit = FromAgent::Unfit(&failure.message);
        self.all().iter().for_each(|party| party.reporter.outbox.say(&unfit));
    }

    fn output_lost(&self, message: &str) {
        self.log.note(message);
        self.all().iter().for_each(|party| party.reporter.output_lost(message));
    }

    fn worker_ended(&self, worker: &WorkerEnd) {
        if let Some(party) = self.at_slot(worker.slot) {
            party.reporter.worker_ended(worker);
        }
    }
}
