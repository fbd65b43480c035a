//! The sink that slots call for each job: it passes the outcome to the output, and then to everything that
//! keeps account of the run (job log, failed lines, reports, `--halt`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use procpool::engine::output::Output;
use procpool::engine::{Commands, Done, Job, ResultStreak, Sink, Value};

use super::closing::Closing;
use super::failed::FailedLines;
use super::halting::Halting;
use super::joblog::Joblog;
use super::reports::Reports;
use crate::cli::halt::Halt;
use crate::outputs::WriteTarget;
use crate::pools::Pools;

/// Keeps account of all jobs of a run.
pub struct Bookkeeper {
    output: Arc<Output>,
    halting: Option<Halting>,
    joblog: Option<Joblog>,
    reports: Option<Arc<Reports>>,
    failed: Option<FailedLines>,
    closing: Closing,
}

/// The records that a run keeps besides its results.
#[derive(Debug, Default)]
pub struct ReportSettings {
    pub halt: Option<Halt>,
    pub joblog: Option<(PathBuf, WriteTarget)>,
    /// The job log keeps the jobs of earlier runs.
    pub resume: bool,
    pub reports: Option<Arc<Reports>>,
    /// The file for the lines of failed jobs.
    pub failed: Option<FailedLines>,
    pub closing: Closing,
}

impl Bookkeeper {
    /// Begins the accounts. `halted` is called once, when `--halt` ends the run.
    ///
    /// # Errors
    /// The job log can't be written.
    pub fn new(
        output: Arc<Output>,
        settings: ReportSettings,
        commands: Option<Arc<Commands>>,
        halted: Box<dyn Fn() + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let joblog = settings.joblog.map(|(path, target)| {
            let context = || format!("the job log '{}' can't be written", path.display());
            Joblog::open(&target, settings.resume, commands).with_context(context)
        });
        Ok(Self {
            output,
            halting: settings.halt.map(|halt| Halting::new(halt, halted)),
            joblog: joblog.transpose()?,
            reports: settings.reports,
            failed: settings.failed,
            closing: settings.closing,
        })
    }

    /// Whether it needs each job by itself, and not only the texts of a bundle. (All fields are listed here, so
    /// that a new field does not compile until it is considered.)
    pub fn wants_each_job(&self) -> bool {
        let Self { output: _, halting, joblog, reports, failed, closing: _ } = self;
        halting.is_some()
            || joblog.is_some()
            || failed.is_some()
            || reports.as_ref().is_some_and(|reports| reports.want_each_job())
    }

    /// Sets the pools that `--halt` ends.
    pub fn watch(&self, pools: &Pools) {
        if let Some(halting) = &self.halting {
            halting.watch(pools);
        }
    }

    /// Sets the number of jobs in all, which is known when the whole input was read.
    pub fn set_total(&self, jobs: u64) {
        if let Some(halting) = &self.halting {
            halting.set_total(jobs);
        }
    }

    /// Whether `--halt` has ended the run.
    pub fn has_halted(&self) -> bool {
        self.halting.as_ref().is_some_and(Halting::has_halted)
    }

    /// Why the job log or the file of failed lines is not complete, if it is not.
    pub fn trouble(&self) -> Option<String> {
        let joblog = self.joblog.as_ref().and_then(Joblog::finish);
        joblog.or_else(|| self.failed.as_ref()?.trouble())
    }

    /// The last line of a run in which jobs have failed. `None`: all succeeded. `loses_results`: results of jobs that
    /// have succeeded are lost.
    pub fn closing(&self, loses_results: bool) -> Option<String> {
        let has_file = self.failed.as_ref().is_some_and(FailedLines::is_readable);
        self.closing.line(self.output.counts(), has_file, loses_results)
    }

    /// Whether the lines of failed jobs are kept.
    pub fn keeps_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes the lines of failed jobs to their place after the run. `is_whole`: all of the input was read and
    /// run. Returns a message for the user, if there is one.
    pub fn finish_failed(&self, is_whole: bool) -> Option<String> {
        self.failed.as_ref()?.finish(is_whole)
    }
}

impl Sink for Bookkeeper {
    fn deliver(&self, done: &Done<'_>) {
        self.output.deliver(done);
        self.closing.add(done);
        if let Some(joblog) = &self.joblog {
            joblog.add(done);
        }
        if let Some(failed) = &self.failed {
            failed.over(done.job, done.outcome.is_err());
        }
        if let Some(reports) = &self.reports {
            reports.add(done);
        }
        if let Some(halting) = &self.halting {
            halting.add(done.outcome.is_ok());
        }
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        self.output.texts(seq, count, texts);
    }

    fn results(&self, results: &ResultStreak<'_>) -> bool {
        !self.wants_each_job() && self.output.results(results)
    }

    fn retried(&self, done: &Done<'_>) {
        if let Some(reports) = &self.reports {
            reports.add_try(done);
        }
    }

    fn settle(&self) {
        self.output.settle();
    }

    fn flush(&self) {
        self.output.flush();
        if let Some(joblog) = &self.joblog {
            joblog.flush();
        }
    }

    fn proved(&self, number: u64) {
        self.output.proved(number);
    }

    fn unprovable(&self, number: u64) {
        self.output.unprovable(number);
    }

    fn doubt(&self, done: &Done<'_>) {
        self.output.doubt(done);
    }

    fn lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        self.output.lines(job, out, err)
    }

    fn part(&self, job: &Job, part: Value<'_>) -> bool {
        self.output.part(job, part)
    }

    fn await_room(&self, most: Duration) -> bool {
        self.output.await_room(most)
    }
}
