//! Sees every job that is over, and counts. Slots note what happened in a list of their own, which is
//! counted when it is long enough: so they don't hold each other up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use procpool::{Done, Run, WorkerEnd};

use super::names::{Names, details, message, shorten};
use super::totals::{Bar, Failed, Seen, Totals};
use super::track::{Span, Track};
use crate::lock::lock;

/// What so many jobs came to is counted at once.
const BATCH: usize = 512;

/// Slots have a list each, up to this number.
const SHARDS: usize = 64;

/// So many bytes of what a failed job printed are kept.
const DETAILS: usize = 4 << 10;

/// What a job that is drawn is called is no longer than this: there are many of them.
const LONGEST_LABEL: usize = 100;

/// Counts what jobs came to.
#[derive(Debug)]
pub struct Collector {
    names: Arc<Names>,
    begin: Instant,
    /// The same, in seconds since 1970.
    pub began: f64,
    shards: Box<[Mutex<Shard>]>,
    /// A job that took no longer is not among those that are drawn: the bits of an `f64`.
    threshold: AtomicU64,
    /// The details of further failures are not kept.
    is_full: AtomicBool,
    totals: Mutex<Totals>,
}

#[derive(Debug, Default)]
struct Shard {
    seen: Vec<Seen>,
    tracks: Vec<Track>,
}

impl Collector {
    /// Of a run with so many slots, which begins now.
    pub fn new(slots: usize, names: Arc<Names>) -> Self {
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

    /// How long the run has lasted, in seconds.
    pub fn elapsed(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// A job is over, or one try of it that is not its last. Returns when its slot was busy with it, if
    /// it was, in seconds since the begin.
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
        let seen = Seen { slot, begun, end, seconds, attempt, failed, is_retried, is_recorded };
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

    /// A worker is gone.
    pub fn add_worker(&self, worker: &WorkerEnd) {
        let start = worker.start - self.began;
        lock(&self.totals).add_worker(WorkerEnd { start, ..*worker });
    }

    /// What all jobs came to that are over by now.
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

    /// Keeps a job that took long, by name.
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
            label: shorten(&self.names.label(done.job, run.slot), LONGEST_LABEL),
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
            && totals.has_room_for_failures()
        {
            totals.keep_failure(kept);
            self.is_full.store(!totals.has_room_for_failures(), Ordering::Relaxed);
        }
    }

    /// The details of a failure.
    fn failed(&self, done: &Done<'_>) -> Option<Failed> {
        let failure = done.outcome.err()?;
        let (job, names) = (done.job, &self.names);
        let (file, line) = names.place(job);
        let slot = done.run.map_or(1, |run| run.slot);
        Some(Failed {
            seq: job.seq,
            id: names.id(job),
            name: names.name(job),
            label: names.label(job, slot),
            file: file.map(|file| procpool::printable(&file.to_string_lossy())),
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
    /// When a slot was busy with a job. `shards`: every so many slots share this list.
    fn span(&mut self, shards: usize, run: Run, began: f64) -> Span {
        let index = run.slot / shards;
        if self.tracks.len() <= index {
            self.tracks.resize_with(index + 1, Track::default);
        }
        self.tracks[index].add(run.start - began, run.seconds)
    }
}
