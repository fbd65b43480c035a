//! How far the reading of the input has come, for whoever shows it. The reader notes it once for each
//! read, so it costs nothing for each job.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much of the input was read.
#[derive(Debug, Default)]
pub struct Intake {
    jobs: AtomicU64,
    bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Intake {
    /// How many jobs were read.
    pub fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    /// How many bytes were read for them, from all sources.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether all sources were read to their ends, as far as they can be read.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn has_jobs(&self, count: u64) {
        self.jobs.store(count, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn end(&self, jobs: u64) {
        self.has_jobs(jobs);
        self.is_over.store(true, Ordering::Release);
    }
}
