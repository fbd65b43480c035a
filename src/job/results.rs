//! Results of successive jobs that came together. They are delivered together, so that the way to the output is gone
//! once for all of them.

use super::outcome::Value;
use super::sink::{Done, Run};
use super::unit::Job;
use crate::util::json::Json;

/// Results of successive jobs of a bundle of JSON, one or more. It is their first try, and they ran at one worker.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    bundle: &'a Job,
    /// Which job of the bundle has the first result, from 0.
    first: usize,
    values: &'a [Json<'a>],
    /// Where and when each of them ran.
    pub(crate) run: Option<Run>,
}

impl<'a> Results<'a> {
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
