//! Jobs that are over: one, or successive ones whose results came together.

use std::sync::Arc;

use super::outcome::{Failure, Value};
use super::printed::Printed;
use super::unit::Job;
use crate::util::json::Json;

/// A job that is over. A [`Sink`](super::Sink) gets one for each job.
#[derive(Debug)]
pub struct Done<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its result, or why there is none. The result of a command is `null`: its output is in `printed`.
    pub outcome: Result<Value<'a>, &'a Failure>,
    /// The output of a command, and how it ended. `None`: the job is no command, or it was not started.
    pub printed: Option<&'a Arc<Printed>>,
    /// Where and when it ran. `None`: it did not run.
    pub run: Option<Run>,
    /// A number if the result may be that of another job. Do not record it as a success before
    /// [`Sink::proved`](super::Sink::proved) is called with this number.
    pub unproven: Option<u64>,
}

/// Where and when a job ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The slot, from 1.
    pub slot: usize,
    /// The worker's process id.
    pub pid: u32,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// When the worker got it, in seconds since 1970.
    pub start: f64,
    /// How long it took, in seconds. Time in which the run was stopped does not count.
    pub seconds: f64,
    /// The other machine that it ran on; `None`: this machine.
    pub host: Option<&'static str>,
}

/// Results of successive jobs of a bundle of JSON, one or more. It is their first try, and they ran at one worker.
#[derive(Clone, Copy, Debug)]
pub struct ResultStreak<'a> {
    bundle: &'a Job,
    /// Which job of the bundle has the first result, from 0.
    first: usize,
    values: &'a [Json<'a>],
    /// Where and when each of them ran.
    pub(crate) run: Option<Run>,
}

impl<'a> ResultStreak<'a> {
    pub(crate) fn new(bundle: &'a Job, first: usize, values: &'a [Json<'a>]) -> Self {
        Self { bundle, first, values, run: None }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    /// The number of the first job.
    pub(crate) fn seq(&self) -> u64 {
        self.bundle.seq + self.first as u64
    }

    /// The bundle that the jobs are in.
    pub(crate) fn bundle(&self) -> &'a Job {
        self.bundle
    }

    /// The ids that the jobs name, as those of [`Job::id`], but empty if there is none, and their results.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'a [u8], Json<'a>)> {
        let ids = self.bundle.texts(self.first).map(|[_, _, id]| id);
        ids.zip(self.values.iter().copied())
    }

    /// Calls `deliver` with each of them alone.
    pub(crate) fn each_done(&self, mut deliver: impl FnMut(&Done<'_>)) {
        let mut job = Job::new(0, "", "", "");
        for (nth, value) in self.values.iter().enumerate() {
            self.bundle.show(self.first + nth, &mut job);
            let outcome = Ok(Value::Json(*value));
            deliver(&Done { job: &job, outcome, printed: None, run: self.run, unproven: None });
        }
    }
}
