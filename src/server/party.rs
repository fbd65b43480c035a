//! A party: one caller of a server, its number, and the end of its jobs.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::agent::outbox::LinkOutbox;
use crate::agent::reporting::LinkReporter;
use crate::job::party::with_party;
use crate::job::{Job, Leash, PartsConfig, Sink as _, Value};
use crate::link::from_agent::FromAgent;
use crate::pool::Pool;
use crate::util::lock::lock;

/// A caller of a server.
#[derive(Debug)]
pub(super) struct Party {
    /// Its number among the callers, which is a part of the numbers of its jobs.
    pub(super) number: u64,
    pub(super) reporter: LinkReporter,
    pool: Pool,
    ending: Mutex<PartyEnding>,
    me: Weak<Party>,
}

/// What the last message to the caller (`Bye`) waits for.
#[derive(Debug, Default)]
struct PartyEnding {
    /// No more jobs come.
    has_finished: bool,
    /// All jobs are over.
    is_idle: bool,
    /// The last message is sent.
    is_over: bool,
    /// The results with these numbers are not proven yet.
    unproven: HashSet<u64>,
}

impl Party {
    /// A caller with this number. Its jobs go to this pool.
    pub(super) fn new(number: u64, outbox: &Arc<LinkOutbox>, pool: &Pool) -> Arc<Self> {
        let reporter = LinkReporter::new(Arc::clone(outbox), with_party(number, 0));
        // A job that can't be started has failed: there is no other host for it.
        reporter.has_workers.store(false, Ordering::Relaxed);
        let own = pool.clone();
        outbox.never_wait(move || own.set_held(number, false));
        let (pool, ending) = (pool.clone(), Mutex::default());
        Arc::new_cyclic(|me| Self { number, reporter, pool, ending, me: Weak::clone(me) })
    }

    pub(super) fn me(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Sends a part of a result. Returns whether it did: while the caller does not read, its worker waits. If others
    /// wait for a slot, the worker goes on, until the parts that are not sent are as long as a reply may be.
    pub(super) fn send_part(&self, job: &Job, part: Value<'_>) -> bool {
        let is_sent = self.reporter.part(job, part);
        self.hold_if_full();
        is_sent
            || (self.pool.has_ready_jobs()
                && self.reporter.send_part(job, part, self.pool.max_reply()))
    }

    /// If the caller does not read its results, none of its jobs are begun until it does.
    pub(super) fn hold_if_full(&self) {
        if self.reporter.outbox.lacks_room() {
            self.pool.set_held(self.number, true);
            if !self.reporter.outbox.await_room() {
                self.pool.set_held(self.number, false);
            }
        }
    }

    /// A result with this number is to be proven. Returns whether the number is new.
    pub(super) fn await_proof(&self, number: u64) -> bool {
        lock(&self.ending).unproven.insert(number)
    }

    /// The results with this number are proven, or never will be.
    pub(super) fn settle(&self, number: u64, is_proven: bool) {
        if is_proven {
            self.reporter.proved(number);
        } else {
            self.reporter.unprovable(number);
        }
        self.end_if(|ending| {
            ending.unproven.remove(&number);
        });
    }

    /// No more jobs come.
    pub(super) fn finish(&self) {
        self.end_if(|ending| ending.has_finished = true);
    }

    /// Sends the last message if nothing is left.
    fn end_if(&self, change: impl FnOnce(&mut PartyEnding)) {
        let mut ending = lock(&self.ending);
        change(&mut ending);
        let is_end = ending.has_finished && ending.is_idle && ending.unproven.is_empty();
        if is_end && !std::mem::replace(&mut ending.is_over, true) {
            drop(ending);
            self.reporter.outbox.say_last(&FromAgent::Bye);
        }
    }
}

/// Holds all jobs of a party. When the last of them is gone, this is dropped.
pub(super) struct PartyLeash {
    is_cut: AtomicBool,
    is_recalled: AtomicBool,
    /// What happens to the parts of the results of its jobs.
    parts: PartsConfig,
    party: Arc<Party>,
    /// Frees the number of the party.
    dismiss: Box<dyn Fn() + Send + Sync>,
}

impl PartyLeash {
    /// `dismiss` is called when all jobs are gone.
    pub(super) fn new(
        party: &Arc<Party>,
        parts: PartsConfig,
        dismiss: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            is_cut: AtomicBool::new(false),
            is_recalled: AtomicBool::new(false),
            parts,
            party: Arc::clone(party),
            dismiss: Box::new(dismiss),
        })
    }

    /// Jobs that a slot has taken and not begun are to come back.
    pub(super) fn recall(&self) {
        self.is_recalled.store(true, Ordering::Release);
    }

    /// Nobody waits for the jobs any more.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
    }
}

impl fmt::Debug for PartyLeash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartyLeash").field("is_cut", &self.is_cut).finish_non_exhaustive()
    }
}

impl Leash for PartyLeash {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    fn is_recalled(&self) -> bool {
        self.is_recalled.load(Ordering::Acquire)
    }

    fn parts(&self) -> Option<PartsConfig> {
        Some(self.parts)
    }
}

impl Drop for PartyLeash {
    fn drop(&mut self) {
        (self.dismiss)();
        self.party.end_if(|ending| ending.is_idle = true);
    }
}
