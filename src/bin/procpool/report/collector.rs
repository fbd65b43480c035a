//! Collects the facts of every job that is over. Each slot has a list of its own, and adds it to the totals when it is
//! long enough. So slots do not wait for each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use procpool::engine::command::label::cut;
use procpool::engine::{Done, Run, WorkerEnd};

use super::names::{JobNames, details, message};
use super::totals::{Bar, Failed, JobFacts, Totals};
use super::track::{Span, Track};
use crate::lock::lock;

/// The number of jobs that are counted at once.
const BATCH: usize = 512;

/// The largest number of lists. More slots share them.
const SHARDS: usize = 64;

/// The number of bytes that are kept of the output of a failed job.
const DETAILS: usize = 4 << 10;

/// The largest number of characters in the label of a job that is drawn. There are many of them.
const LONGEST_LABEL: usize = 100;

/// Collects the outcomes of all jobs.
#[derive(Debug)]
pub struct Collector {
    names: Arc<JobNames>,
    begin: Instant,
    /// The begin of the run, in seconds since 1970.
    pub began: f64,
    shards: Box<[Mutex<Shard>]>,
    /// Only jobs that took longer than this are drawn: the bits of an `f64`.
    threshold: AtomicU64,
    /// There is no room for the details of another failure.
    is_full: AtomicBool,
    totals: Mutex<Totals>,
}

#[derive(Debug, Default)]
struct Shard {
    seen: Vec<JobFacts>,
    tracks: Vec<Track>,
}

impl Collector {
    /// Begins a run with this number of slots.
    pub fn new(slots: usize, names: Arc<JobNames>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            names,
            begin: Instant::now(),
            began: now.as_secs_f64(),
            shards: (0..slots.clamp(1, SHARDS)).map(|_| Mutex::default()).collect(),
            threshold: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            is_full: AtomicBool::new(false),
            totals: Mutex::new(Totals::new(slots)),
        }
    }

    /// The time since the begin of the run, in seconds.
    pub fn elapsed(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Adds a job that is over, or an attempt that is not its last. Returns when its slot was busy with it, if it ran.
    pub fn add(&self, done: &Done<'_>, is_retried: bool) -> Option<Span> {
        let is_recorded = done.job.is_recorded();
        let run = done.run.filter(|_| !is_recorded);
        let failed = done.outcome.err().map(|failure| failure.kind);
        let slot = run.map_or(0, |run| run.slot);
        let mut shard = lock(&self.shards[slot % self.shards.len()]);
        let span = run.map(|run| shard.span(self.shards.len(), run, self.began));
        let end = span.map_or_else(|| self.elapsed(), |span| span.end);
        let (begun, seconds) =
            (span.map_or(end, |span| span.begun), run.map_or(0.0, |r| r.seconds));
        let attempt = done.job.attempt();
        let host = run.and_then(|run| run.host);
        let seen =
            JobFacts { slot, host, begun, end, seconds, attempt, failed, is_retried, is_recorded };
        shard.seen.push(seen);
        if shard.seen.len() >= BATCH {
            self.count(&mut shard);
        }
        drop(shard);
        if let (Some(run), Some(span)) = (run, span)
            && run.seconds > f64::from_bits(self.threshold.load(Ordering::Relaxed))
        {
            self.draw(done, run, span, is_retried);
        }
        if failed.is_some() && !is_retried {
            self.fail(done);
        }
        span
    }

    /// Adds a worker that has ended.
    pub fn add_worker(&self, worker: &WorkerEnd) {
        let start = worker.start - self.began;
        lock(&self.totals).add_worker(WorkerEnd { start, ..*worker });
    }

    /// The totals of all jobs that are over by now.
    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        for shard in &self.shards {
            self.count(&mut lock(shard));
        }
        lock(&self.totals)
    }

    fn count(&self, shard: &mut Shard) {
        let mut totals = lock(&self.totals);
        for seen in shard.seen.drain(..) {
            totals.add(&seen);
        }
    }

    /// Keeps a long job, to be drawn.
    fn draw(&self, done: &Done<'_>, run: Run, span: Span, is_retried: bool) {
        let bar = Bar {
            seq: done.job.seq,
            slot: run.slot,
            start: span.start,
            seconds: run.seconds,
            begun: span.begun,
            attempt: run.attempt,
            failed: done.outcome.err().map(|failure| failure.kind),
            is_retried,
            name: self.names.name(done.job),
            label: cut(&self.names.label(done.job, run.slot), LONGEST_LABEL),
        };
        let mut totals = lock(&self.totals);
        totals.bars.add(run.seconds, bar);
        self.threshold.store(totals.bars.threshold().to_bits(), Ordering::Relaxed);
    }

    fn fail(&self, done: &Done<'_>) {
        let Err(failure) = done.outcome else { return };
        let kept = (!self.is_full.load(Ordering::Relaxed)).then(|| self.failed(done));
        let mut totals = lock(&self.totals);
        totals.fail(failure.kind, || self.names.name(done.job));
        if let Some(kept) = kept.flatten()
            && totals.failures.has_room()
        {
            totals.failures.keep(kept);
            self.is_full.store(!totals.failures.has_room(), Ordering::Relaxed);
        }
    }

    /// The details of a failure.
    fn failed(&self, done: &Done<'_>) -> Option<Failed> {
        let failure = done.outcome.err()?;
        let job = done.job;
        let names = &self.names;
        let (file, line) = names.place(job);
        let slot = done.run.map_or(1, |run| run.slot);
        Some(Failed {
            seq: job.seq,
            id: names.id(job),
            name: names.name(job),
            label: names.label(job, slot),
            file: file.map(|file| procpool::engine::printable(&file.to_string_lossy())),
            line,
            kind: failure.kind,
            message: message(failure),
            details: details(done, DETAILS),
            run: done.run.map(|run| Run { start: run.start - self.began, ..run }),
            attempt: job.attempt(),
        })
    }
}

impl Shard {
    /// When a slot was busy with a job. `shards` is the number of lists.
    fn span(&mut self, shards: usize, run: Run, began: f64) -> Span {
        let index = run.slot / shards;
        if self.tracks.len() <= index {
            self.tracks.resize_with(index + 1, Track::default);
        }
        self.tracks[index].add(run.start - began, run.seconds)
    }
}
