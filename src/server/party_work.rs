//! The work of a server for one caller: its jobs go to the pool that all callers share, each with the number of
//! the caller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::party::{Party, PartyLeash};
use super::switchboard::Switchboard;
use crate::agent::outbox::LinkOutbox;
use crate::agent::work::Work;
use crate::job::party::{LAST_OF_PARTY, with_party};
use crate::job::{Job, Leash, PartsConfig};
use crate::link::from_agent::FromAgent;
use crate::pool::Pool;
use crate::process::Stop;

/// No more messages of a caller are read while this many of its jobs wait, or jobs of this many bytes. A
/// coordinator sends fewer.
const MOST_JOBS: usize = 1 << 17;
const MOST_BYTES: usize = 16 << 20;

/// The jobs of a caller.
pub(super) struct PartyWork {
    pool: Pool,
    party: Arc<Party>,
    /// Goes with each job. `None`: no more jobs come.
    leash: Option<Arc<PartyLeash>>,
    /// The same, to cut it when no more jobs come.
    last_leash: Weak<PartyLeash>,
    /// Jobs that have come and go to the pool together.
    fed: Vec<Job>,
    /// When the jobs that run are ended.
    stop_at: Option<Instant>,
    is_ending: Arc<AtomicBool>,
}

impl PartyWork {
    /// Begins the work for a caller. `parts`: what happens to the parts of its results. `None`: there are too many callers.
    pub(super) fn begin(
        switchboard: &Arc<Switchboard>,
        parts: PartsConfig,
        outbox: &Arc<LinkOutbox>,
        is_ending: &Arc<AtomicBool>,
    ) -> Option<Self> {
        let pool = switchboard.pool()?.clone();
        let party = switchboard.admit(outbox)?;
        let (number, board) = (party.number, Arc::clone(switchboard));
        let leash = PartyLeash::new(&party, parts, move || board.dismiss(number));
        Some(Self {
            pool,
            party,
            last_leash: Arc::downgrade(&leash),
            leash: Some(leash),
            fed: Vec::new(),
            stop_at: None,
            is_ending: Arc::clone(is_ending),
        })
    }

    fn give_back(&self, most: usize) {
        let jobs = self.pool.recall(Some(self.party.number), most);
        jobs.iter().for_each(|job| self.party.reporter.give_back(job));
    }

    /// Ends the jobs that run.
    fn cut(&mut self) {
        self.leash = None;
        if let Some(leash) = self.last_leash.upgrade() {
            leash.cut();
        }
        self.pool.forget_party(self.party.number);
        self.pool.wake_slots();
    }
}

impl Work for PartyWork {
    fn take(&mut self, mut job: Job) -> Option<()> {
        let leash = Arc::clone(self.leash.as_ref()?) as Arc<dyn Leash>;
        let last = job.seq.checked_add(job.count() as u64)?;
        if job.seq == 0 || last > LAST_OF_PARTY {
            return None;
        }
        job.seq = with_party(self.party.number, job.seq);
        job.leash = Some(Box::new(leash));
        self.fed.push(job);
        Some(())
    }

    fn feed(&mut self) {
        if !self.fed.is_empty() && self.pool.feed_now(&mut self.fed).is_err() {
            self.fed.drain(..).for_each(|job| self.party.reporter.give_back(&job));
        }
    }

    /// The jobs of callers have no calls of their own: whoever drops a call is gone.
    fn cancel(&mut self, _seq: u64) {}

    /// The names of args are for commands, which a server does not run.
    fn name_args(&mut self, _names: Vec<&[u8]>) {}

    fn recall(&mut self, most: usize) {
        self.give_back(most);
        self.party.reporter.outbox.say(&FromAgent::Recalled);
    }

    fn stop(&mut self, after: Option<Duration>, means: Stop) {
        self.give_back(usize::MAX);
        // Jobs may wait at a gate, or for the start of a worker.
        if let Some(leash) = self.last_leash.upgrade() {
            leash.recall();
            self.pool.wake_slots();
        }
        let after = if means == Stop::Kill { Some(Duration::ZERO) } else { after };
        let at = after.and_then(|after| Instant::now().checked_add(after));
        self.stop_at = [self.stop_at, at].into_iter().flatten().min();
        self.finish();
        self.look_at_clock();
    }

    fn finish(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        self.party.finish();
        self.leash = None;
    }

    /// The jobs of a caller that is stopped go on: their workers are those of others as well.
    fn pause(&mut self) {}

    fn resume(&mut self) {}

    fn due(&self) -> Option<Instant> {
        self.stop_at
    }

    fn look_at_clock(&mut self) {
        if self.stop_at.is_some_and(|at| at <= Instant::now()) {
            self.stop_at = None;
            self.cut();
            // The caller does not wait for the end of the jobs.
            self.party.reporter.outbox.say_last(&FromAgent::Bye);
        }
    }

    fn is_full(&self) -> bool {
        let (jobs, bytes) = self.pool.waiting_of(self.party.number);
        jobs >= MOST_JOBS || bytes >= MOST_BYTES
    }

    fn end(&mut self) {
        self.cut();
    }
}
