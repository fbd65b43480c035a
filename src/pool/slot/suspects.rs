//! Jobs that were on a process that ended, together with others: any of them may be the cause. Each is tried
//! again alone in its process, so only the job at fault fails.

use crate::job::Job;
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::worker::Worker;

impl WorkerSlot {
    /// Whether this job and those of the worker must not be in one process.
    pub(super) fn must_be_apart(&self, job: &Job) -> bool {
        (job.is_suspect || self.is_on_suspect()) && self.in_flight() > 0
    }

    fn is_on_suspect(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::is_on_suspect)
    }

    /// Puts the jobs in hand back. A suspect stays if the worker is on others: it is the next one.
    pub(super) fn keep_apart(&mut self) {
        let kept = usize::from(!self.is_on_suspect());
        let others = self.slot.jobs.split_off(kept.min(self.slot.jobs.len()));
        self.slot.put_back(others.into_iter());
    }

    /// Whether the slot has a suspect in hand that waits until the worker has no job.
    pub(super) fn waits_with_suspect(&mut self) -> bool {
        let is_kept = self.slot.jobs.front().is_some_and(|job| job.is_suspect);
        if !is_kept || self.in_flight() == 0 {
            return false;
        }
        if self.slot.shared.stopping.has_begun() {
            let jobs = std::mem::take(&mut self.slot.jobs);
            self.slot.put_back(jobs.into_iter());
        }
        true
    }
}
