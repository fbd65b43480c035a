//! A party: one caller of a server, its number, and the end of its jobs.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::exchange::Exchange;
use crate::agent::outbox::LinkOutbox;
use crate::agent::reporting::LinkReporter;
use crate::job::party::with_party;
use crate::job::{Leash, Sink as _};
use crate::link::from_agent::FromAgent;
use crate::util::lock::lock;

/// A caller of a server.
#[derive(Debug)]
pub(super) struct Party {
    /// Its number among the callers, which is a part of the numbers of its jobs.
    pub(super) number: u64,
    pub(super) reporter: LinkReporter,
    ending: Mutex<PartyEnding>,
    me: Weak<Party>,
    exchange: Weak<Exchange>,
}

/// What the last word waits for.
#[derive(Debug, Default)]
struct PartyEnding {
    /// No more jobs come.
    has_finished: bool,
    /// All jobs are over.
    is_idle: bool,
    /// The last word is said.
    is_over: bool,
    /// The results with these numbers are not proven yet.
    unproven: HashSet<u64>,
}

impl Party {
    /// A caller with a free number. `None`: there is none.
    pub(super) fn admit(exchange: &Arc<Exchange>, outbox: &Arc<LinkOutbox>) -> Option<Arc<Self>> {
        let party = exchange.admit(|number| {
            Arc::new_cyclic(|me| Self {
                number,
                reporter: LinkReporter::new(Arc::clone(outbox), with_party(number, 0)),
                ending: Mutex::default(),
                me: Weak::clone(me),
                exchange: Arc::downgrade(exchange),
            })
        })?;
        // A job that can't be started has failed: there is no other host for it.
        party.reporter.has_workers.store(false, Ordering::Relaxed);
        let (number, exchange) = (party.number, Arc::downgrade(exchange));
        outbox.never_wait(move || {
            if let Some(exchange) = exchange.upgrade()
                && let Some(pool) = exchange.pool()
            {
                pool.set_held(number, false);
            }
        });
        Some(party)
    }

    pub(super) fn me(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// If the caller does not read its results, none of its jobs are begun until it does.
    pub(super) fn hold_if_full(&self) {
        if self.reporter.outbox.lacks_room()
            && let Some(exchange) = self.exchange.upgrade()
            && let Some(pool) = exchange.pool()
        {
            pool.set_held(self.number, true);
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

    /// The last word is said if nothing is left.
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
    party: Arc<Party>,
}

impl PartyLeash {
    pub(super) fn new(party: &Arc<Party>) -> Arc<Self> {
        Arc::new(Self { is_cut: AtomicBool::new(false), party: Arc::clone(party) })
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
}

impl Drop for PartyLeash {
    fn drop(&mut self) {
        if let Some(exchange) = self.party.exchange.upgrade() {
            exchange.dismiss(self.party.number);
        }
        self.party.end_if(|ending| ending.is_idle = true);
    }
}
