//! The totals of a run, in a few megabytes for any number of jobs. Counts, sums, maxima and times are exact.
//! Quantiles are exact to 2 %. Details are kept of the first [`FAILURES`] failures and the [`BARS`] longest jobs.

use std::collections::BTreeMap;

use procpool::engine::{Durations, Kind, Why, WorkerEnd};

use super::longest::Longest;
use super::series::Series;

/// The largest number of failures whose details are kept.
pub const FAILURES: usize = 1_000;
/// The largest number of characters of these details. A page has room for them.
const FAILURE_TEXT: usize = 2_000_000;

/// The number of longest jobs that are kept with their names.
pub const BARS: usize = 4_000;

/// The number of longest lives of workers that are kept.
pub const LIVES: usize = 2_000;

/// The number of failed jobs of each kind that are named in a summary.
const NAMED: usize = 3;

/// An attempt of a job, as it is drawn.
#[derive(Clone, Debug)]
pub struct Bar {
    pub seq: u64,
    pub slot: usize,
    /// In seconds since the begin of the run.
    pub start: f64,
    pub seconds: f64,
    /// When the worker began it. The worker may have received it long before.
    pub begun: f64,
    pub attempt: u32,
    /// `None`: it succeeded.
    pub failed: Option<Kind>,
    /// Another attempt followed.
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
    /// Where and when it ran, in seconds since the begin of the run. `None`: it never ran.
    pub run: Option<procpool::engine::Run>,
    pub attempt: u32,
}

/// The facts that are noted of every attempt. They have no text.
#[derive(Clone, Copy, Debug)]
pub struct JobFacts {
    /// 0: it never ran.
    pub slot: usize,
    /// The machine that it ran on, where there are several.
    pub host: Option<&'static str>,
    /// In seconds since the begin of the run.
    pub begun: f64,
    pub end: f64,
    /// The duration.
    pub seconds: f64,
    pub attempt: u32,
    pub failed: Option<Kind>,
    pub is_retried: bool,
    pub is_recorded: bool,
}

/// The details of the first failures.
#[derive(Debug, Default)]
pub struct KeptFailures {
    pub list: Vec<Failed>,
    /// The number of characters of all texts.
    text: usize,
}

/// The totals of a run.
#[derive(Debug)]
pub struct Totals {
    pub ok: u64,
    pub failed: u64,
    /// The number of jobs whose results come from an earlier run.
    pub recorded: u64,
    /// The number of attempts after the first.
    pub retries: u64,
    /// The number of jobs that succeeded after the first attempt.
    pub passed_on_retry: u64,
    /// Failed jobs by kind, with the names of a few.
    pub kinds: BTreeMap<&'static str, (u64, Vec<String>)>,
    /// Failed attempts that were not the last, by kind.
    pub retried_kinds: BTreeMap<&'static str, u64>,
    pub durations: Durations,
    pub series: Series,
    pub bars: Longest<Bar>,
    /// The number of attempts that have run.
    pub tries: u64,
    pub failures: KeptFailures,
    pub lives: Longest<WorkerEnd>,
    pub reasons: BTreeMap<Why, u64>,
}

impl Totals {
    /// The totals of a run with this number of slots, before its first job.
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
            failures: KeptFailures::default(),
            lives: Longest::new(LIVES),
            reasons: BTreeMap::new(),
        }
    }

    /// The number of jobs that are over.
    pub fn jobs(&self) -> u64 {
        self.ok + self.failed
    }

    /// The jobs that took longest, the longest first.
    pub fn slowest(&self) -> impl Iterator<Item = &Bar> {
        self.bars.sorted().into_iter().filter(|bar| !bar.is_retried)
    }

    /// The time that all slots were busy, in seconds.
    pub fn busy(&self) -> f64 {
        self.series.rows.iter().map(|row| row.busy).sum()
    }

    /// Counts a job that is over, or an attempt that is not its last.
    pub fn add(&mut self, seen: &JobFacts) {
        let job = (!seen.is_retried).then_some(seen.failed.is_some());
        if seen.slot > 0 {
            self.tries += 1;
            if let Some(host) = seen.host {
                self.series.place_slot(seen.slot, host);
            }
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

    /// Counts a failed job by kind. [`Totals::add`] counts that it is over.
    pub fn fail(&mut self, kind: Kind, name: impl FnOnce() -> String) {
        let (count, names) = self.kinds.entry(kind.name()).or_default();
        *count += 1;
        if names.len() < NAMED {
            names.push(name());
        }
    }

    /// Counts a worker that has ended.
    pub fn add_worker(&mut self, worker: WorkerEnd) {
        *self.reasons.entry(worker.why).or_default() += 1;
        self.lives.add(worker.seconds, worker);
    }

    /// The number of workers that were replaced, by reason. Workers that were no longer needed do not count.
    pub fn replaced(&self) -> impl Iterator<Item = (Why, u64)> {
        let is_end = |why: Why| matches!(why, Why::Done | Why::Cancelled);
        self.reasons.iter().map(|(&why, &count)| (why, count)).filter(move |&(why, _)| !is_end(why))
    }
}

impl KeptFailures {
    /// Whether there is room for the details of another failure.
    pub fn has_room(&self) -> bool {
        self.list.len() < FAILURES && self.text < FAILURE_TEXT
    }

    /// Keeps the details of a failure.
    pub fn keep(&mut self, failure: Failed) {
        self.text += [&failure.label, &failure.message, &failure.details]
            .into_iter()
            .map(|text| weight(text))
            .sum::<usize>();
        self.list.push(failure);
    }
}

/// The number of characters of a text on a page. `<` takes six there, as do some others.
fn weight(text: &str) -> usize {
    let cost = |byte: u8| if byte == b'<' || byte == b'&' || byte < b' ' { 6 } else { 1 };
    text.bytes().map(cost).sum()
}
