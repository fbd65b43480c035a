//! What a run came to: counted for all jobs, with details of a few.
//!
//! Exact, for all jobs: every count, the sum and the maximum of durations, what happened when. Sampled:
//! quantiles (to 2 %), the details of the first [`FAILURES`] failures, and names, which are those of the
//! [`BARS`] longest jobs. So a run of any length takes a few megabytes.

use std::collections::BTreeMap;

use procpool::{Durations, Kind, Why, WorkerEnd};

use super::longest::Longest;
use super::series::Series;

/// The details of so many failures are kept…
pub const FAILURES: usize = 1_000;
/// …if they have no more characters than this, which is what a page has room for.
const FAILURE_TEXT: usize = 2_000_000;

/// So many jobs, the longest, are kept by name.
pub const BARS: usize = 4_000;

/// The lives of so many workers, the longest, are kept.
pub const LIVES: usize = 2_000;

/// So many failed jobs of each kind are named in a summary.
const NAMED: usize = 3;

/// A job, or one try of it, as it is drawn.
#[derive(Clone, Debug)]
pub struct Bar {
    pub seq: u64,
    pub slot: usize,
    /// In seconds since the begin of the run.
    pub start: f64,
    pub seconds: f64,
    /// Since when the worker was on it: it may have been handed to the worker long before.
    pub begun: f64,
    pub attempt: u32,
    /// `None`: it succeeded.
    pub failed: Option<Kind>,
    /// It was tried again.
    pub is_retried: bool,
    pub name: String,
    pub label: String,
}

/// A job that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    pub seq: u64,
    pub id: Option<String>,
    pub name: String,
    pub label: String,
    pub file: Option<String>,
    pub line: u64,
    pub kind: Kind,
    pub message: String,
    pub details: String,
    /// Where and when it ran, in seconds since the begin of the run; `None`: it never did.
    pub run: Option<procpool::Run>,
    pub attempt: u32,
}

/// What happened to a job, without its texts: what is noted of every one.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// 0: it never ran.
    pub slot: usize,
    /// In seconds since the begin of the run.
    pub begun: f64,
    pub end: f64,
    /// How long it took.
    pub seconds: f64,
    pub attempt: u32,
    pub failed: Option<Kind>,
    pub is_retried: bool,
    pub is_recorded: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Totals {
    pub ok: u64,
    pub failed: u64,
    /// How many of those that succeeded did so in an earlier run.
    pub recorded: u64,
    /// How often jobs were tried again, and how many of them succeeded then.
    pub retries: u64,
    pub passed_on_retry: u64,
    /// Failed jobs by kind, with the names of a few.
    pub kinds: BTreeMap<&'static str, (u64, Vec<String>)>,
    /// Tries that failed and were not the last.
    pub retried_kinds: BTreeMap<&'static str, u64>,
    pub durations: Durations,
    pub series: Series,
    pub bars: Longest<Bar>,
    /// How often a job, or a further try of one, has run.
    pub tries: u64,
    pub failures: Vec<Failed>,
    failure_text: usize,
    pub lives: Longest<WorkerEnd>,
    pub reasons: BTreeMap<Why, u64>,
}

impl Totals {
    /// Of so many slots.
    pub fn new(slots: usize) -> Self {
        Self {
            ok: 0,
            failed: 0,
            recorded: 0,
            retries: 0,
            passed_on_retry: 0,
            kinds: BTreeMap::new(),
            retried_kinds: BTreeMap::new(),
            durations: Durations::new(),
            series: Series::new(slots),
            bars: Longest::new(BARS),
            tries: 0,
            failures: Vec::new(),
            failure_text: 0,
            lives: Longest::new(LIVES),
            reasons: BTreeMap::new(),
        }
    }

    /// How many jobs are over.
    pub fn jobs(&self) -> u64 {
        self.ok + self.failed
    }

    /// The jobs that took longest, the longest first.
    pub fn slowest(&self) -> impl Iterator<Item = &Bar> {
        self.bars.sorted().into_iter().filter(|bar| !bar.is_retried)
    }

    /// How long slots were at work, in seconds.
    pub fn busy(&self) -> f64 {
        self.series.rows.iter().map(|row| row.busy).sum()
    }

    /// A job is over, or one try of it.
    pub fn add(&mut self, seen: &Seen) {
        let job = (!seen.is_retried).then_some(seen.failed.is_some());
        if seen.slot > 0 {
            self.tries += 1;
            self.series.busy(seen.slot, (seen.begun, seen.end), job);
        }
        if seen.is_retried {
            let kind = seen.failed.map_or("", Kind::name);
            *self.retried_kinds.entry(kind).or_default() += 1;
            self.retries += 1;
            return;
        }
        if seen.slot > 0 {
            self.durations.add(seen.seconds);
        }
        match seen.failed {
            Some(_) => self.failed += 1,
            None => self.ok += 1,
        }
        if seen.is_recorded {
            self.recorded += 1;
            return;
        }
        self.passed_on_retry += u64::from(seen.attempt > 1 && seen.failed.is_none());
        self.series.end(seen.end, seen.failed.is_some());
    }

    /// Whether there is room for the details of another failure.
    pub fn has_room_for_failures(&self) -> bool {
        self.failures.len() < FAILURES && self.failure_text < FAILURE_TEXT
    }

    /// A job failed. That it is over is counted by [`Totals::add`].
    pub fn fail(&mut self, kind: Kind, name: impl FnOnce() -> String) {
        let (count, names) = self.kinds.entry(kind.name()).or_default();
        *count += 1;
        if names.len() < NAMED {
            names.push(name());
        }
    }

    /// Keeps the details of a failure.
    pub fn keep_failure(&mut self, failure: Failed) {
        self.failure_text += [&failure.label, &failure.message, &failure.details]
            .into_iter()
            .map(|text| weight(text))
            .sum::<usize>();
        self.failures.push(failure);
    }

    /// A worker is gone.
    pub fn add_worker(&mut self, worker: WorkerEnd) {
        *self.reasons.entry(worker.why).or_default() += 1;
        self.lives.add(worker.seconds, worker);
    }

    /// How many workers were replaced, and why: those that were not needed any more were not.
    pub fn replaced(&self) -> impl Iterator<Item = (Why, u64)> {
        let is_end = |why: Why| matches!(why, Why::Done | Why::Cancelled);
        self.reasons.iter().map(|(&why, &count)| (why, count)).filter(move |&(why, _)| !is_end(why))
    }
}

/// How many characters a text has on a page, where some are written with six.
fn weight(text: &str) -> usize {
    let cost = |byte: u8| if byte == b'<' || byte == b'&' || byte < b' ' { 6 } else { 1 };
    text.bytes().map(cost).sum()
}
