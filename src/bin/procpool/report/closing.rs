//! The last line of a run in which jobs have failed: how many, and how to run them again.

use std::sync::atomic::{AtomicU64, Ordering};

use procpool::engine::Done;

use super::again::{Advice, Again};
use super::colors::{Colors, Paint};
use super::few::FewFailures;

/// What to do if results are lost that no journal has.
const LOST: &str = "again: repair what is reported above, and run all jobs: results that were not printed are lost";

/// The counts in the last line.
#[derive(Debug, Default)]
pub struct Closing {
    again: Again,
    few: FewFailures,
    colors: Colors,
    /// The number of jobs that succeeded after the first attempt.
    passed_on_retry: AtomicU64,
}

impl Closing {
    /// Begins to count.
    pub fn new(again: Again, few: FewFailures, colors: Colors) -> Self {
        Self { again, few, colors, passed_on_retry: AtomicU64::new(0) }
    }

    /// Adds a job that is over.
    pub fn add(&self, done: &Done<'_>) {
        if done.outcome.is_err() {
            self.few.add(done);
        } else if done.job.attempt() > 1 && !done.job.is_recorded() {
            self.passed_on_retry.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The line, for these numbers of jobs that succeeded and failed. `has_file`: the file of `--failed` has the
    /// lines of failed jobs. `loses_results`: results of jobs that have succeeded are lost. `None`: no job has failed.
    pub fn line(
        &self,
        (succeeded, failed): (u64, u64),
        has_file: bool,
        loses_results: bool,
    ) -> Option<String> {
        if failed == 0 {
            return None;
        }
        let count = format!("{failed} of {} jobs failed", succeeded + failed);
        let retried = match self.passed_on_retry.load(Ordering::Relaxed) {
            0 => String::new(),
            jobs => format!(", {jobs} passed only on a retry"),
        };
        let few = self.few.all();
        let strong = |line: &str| self.colors.paint(Paint::Strong, line);
        let advice = self.again.advice(few.as_deref(), has_file);
        let again = match advice {
            // To run only the failed jobs again would not bring these results back.
            _ if loses_results && !self.again.has_journal() => LOST.into(),
            Advice::Run(line) => format!("again: {}", strong(&line)),
            Advice::Feed(line) => format!("again, with the same input: {}", strong(&line)),
            Advice::Do(what) => format!("again: {what}"),
        };
        let count = self.colors.paint(Paint::Bad, &count);
        Some(format!("procpool: {count}{retried}; {again}\n"))
    }
}
