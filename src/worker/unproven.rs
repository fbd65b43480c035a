//! The results of replies without a request id: which of them are not proven yet, and when the worker
//! gets a break to prove them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::job::key::Key;
use crate::job::naming;
use crate::job::{Job, Place};
use crate::util::clock::Moment;

/// A worker that has had no job for this long, and is silent, is trusted to have answered all requests.
const PROOF: Duration = Duration::from_secs(1);

/// In a break, a worker is silent for at least this long.
const SHORTEST_BREAK: Duration = Duration::from_millis(10);

/// In the long run, breaks take at most one part in this many of the time of a worker. The first break
/// comes soon, so that a run that is killed again and again gets on; then they become rarer.
const RARITY: u32 = 50;

/// The first check whether a worker has read its next request, and has printed nothing more, comes this
/// long after it was given the job.
const FIRST_LOOK: Duration = Duration::from_millis(2);

/// The number of the next worker that has such results.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The results of replies without a request id. They count from the last time that the worker was known
/// to have answered everything and to have printed nothing else.
#[derive(Debug)]
pub(crate) struct Unproven {
    /// The worker sends replies without a request id.
    is_anonymous: bool,
    /// The number under which a sink keeps the records of these results.
    number: u64,
    /// The job with the first of these results.
    first: Option<JobAt>,
    /// The job with the last such result, even if that is proven by now.
    last: Option<JobAt>,
    /// The keys of the results that are for a journal.
    keys: Vec<Key>,
    /// When the first result with a key came.
    since: Moment,
    /// A break comes after this many times its length.
    rarity: u32,
    /// When to check the worker next.
    next_look: Moment,
}

/// A job by its number and its place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct JobAt {
    seq: u64,
    place: Place,
}

impl Unproven {
    pub(super) fn new(is_anonymous: bool) -> Self {
        Self {
            is_anonymous,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            first: None,
            last: None,
            keys: Vec::new(),
            since: Moment::NEVER,
            rarity: 1,
            next_look: Moment::ZERO,
        }
    }

    /// Whether the worker sends replies without a request id.
    pub(super) fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    /// Notes that a reply without a request id has come.
    pub(super) fn note_anonymous(&mut self) {
        self.is_anonymous = true;
    }

    /// Notes that the results of `count` jobs have come, from this job on.
    pub(super) fn add(&mut self, seq: u64, place: Place, count: usize) {
        self.first.get_or_insert(JobAt { seq, place });
        let more = (count as u64).saturating_sub(1);
        let place = Place { line: place.line + more, ..place };
        self.last = Some(JobAt { seq: seq + more, place });
    }

    /// Notes that the result that came last has a record for a journal. Returns the number under which
    /// to keep the record.
    pub(super) fn add_key(&mut self, key: Key, now: Moment) -> u64 {
        if self.keys.is_empty() {
            self.since = now;
        }
        self.keys.push(key);
        self.number
    }

    /// The worker is known to have printed nothing else. Returns the number of the records that are
    /// proven, if there are any.
    pub(crate) fn prove(&mut self) -> Option<u64> {
        self.first = None;
        self.next_look = Moment::ZERO;
        let had_records = self.is_kept();
        if had_records {
            self.rarity = (self.rarity * 2).min(RARITY);
        }
        self.keys.clear();
        had_records.then_some(self.number)
    }

    /// Forgets all results.
    pub(super) fn forget(&mut self) {
        self.prove();
        self.last = None;
    }

    /// Whether a sink keeps records of the results.
    pub(crate) fn is_kept(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Takes the keys of the results whose records a sink keeps, with the number of the records.
    pub(crate) fn take_keys(&mut self) -> (u64, Vec<Key>) {
        (self.number, std::mem::take(&mut self.keys))
    }

    /// The worker has got its next job: it will be checked.
    pub(super) fn begin_job(&mut self, now: Moment) {
        if self.is_kept() {
            self.next_look = now.after(FIRST_LOOK);
        }
    }

    /// A check has proven nothing. The time to the next one doubles.
    pub(super) fn look_again(&mut self, turn_began: Moment, now: Moment) {
        self.next_look = now.after(now.since(turn_began).max(FIRST_LOOK));
    }

    /// When to check a worker that is on its next job.
    pub(super) fn next_look(&self) -> Moment {
        self.next_look
    }

    /// After this moment the worker gets no job before its results are proven. `slowest` is how long
    /// its slowest recent job took.
    pub(super) fn break_at(&self, slowest: Duration) -> Moment {
        if self.is_kept() {
            self.since.after(silence(slowest) * self.rarity)
        } else {
            Moment::NEVER
        }
    }

    /// When the results are proven if a worker that has been idle since `idle_since` stays silent.
    pub(super) fn proof_at(&self, idle_since: Moment, slowest: Duration) -> Moment {
        let silence = silence(slowest);
        // A worker that had nothing to do before its break has the time that breaks have in the long run.
        let is_break = idle_since >= self.break_at(slowest);
        let rarity = if is_break { self.rarity } else { RARITY };
        let in_break = idle_since.after(silence).max(self.since.after(silence * rarity));
        idle_since.after(PROOF).min(in_break).max(self.next_look)
    }

    /// The name of the last job that was answered.
    pub(crate) fn last(&self, sources: &[String]) -> Option<String> {
        self.last.map(|job| job.name(sources))
    }

    /// Says which results are doubtful, as a sentence; `None`: none is.
    pub(crate) fn describe(&self, sources: &[String]) -> Option<String> {
        let first = self.first?;
        let last = self.last?;
        let from = first.name(sources);
        let to = last.name(sources);
        Some(if first == last {
            format!("its result for {from} is doubtful")
        } else {
            format!("its results for {from} to {to} are doubtful")
        })
    }
}

/// How long a worker must be silent in a break: longer than it needs for another reply.
fn silence(slowest: Duration) -> Duration {
    (slowest * 2).clamp(SHORTEST_BREAK, PROOF)
}

impl JobAt {
    fn name(self, sources: &[String]) -> String {
        naming::name(&Job::unreadable(self.seq, self.place, ""), sources)
    }
}
