//! Workers that are late: with their start, with the reading of a request, with a job.

use crate::job::{Failure, Kind};
use crate::pool::slot::deadline::Deadlines;
use crate::pool::slot::death::append_last_words;
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::process::Stop;
use crate::util::clock::Moment;

impl WorkerSlot {
    /// The time of the oldest job is over.
    pub(super) fn job_timed_out(&mut self) {
        let Some(worker) = &self.worker else { return };
        let deadlines = Deadlines::new(&self.slot.shared, worker);
        let timeout = worker.flights.front().and_then(|flight| deadlines.timeout_of(flight));
        let limit = humantime::format_duration(timeout.unwrap_or_default());
        let unfinished = match worker.unfinished() {
            said if said.is_empty() => said,
            said => format!("; {said}"),
        };
        let message = format!("timed out after {limit}, and its worker was ended{unfinished}");
        self.fail_oldest(Some(&Failure::new(Kind::Timeout, message)));
    }

    /// The worker has not read the request of its oldest job in time.
    pub(super) fn request_unread(&mut self, now: Moment) {
        let Some(worker) = &self.worker else { return };
        let waited = now.since(worker.turn_began).as_secs();
        let message = format!("the worker did not read its request for {waited} s, and was ended");
        self.fail_oldest(Some(&Failure::new(Kind::Timeout, message)));
    }

    /// The worker has never read anything: it has failed to start.
    pub(super) fn not_started(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        let limit = self.slot.shared.config.failures.start_timeout.unwrap_or_default();
        let mut message = format!(
            "the worker (pid {}) did not start within {}: it had not read its first request",
            worker.process.pid(),
            humantime::format_duration(limit)
        );
        append_last_words(&mut message, &worker);
        let jobs = worker.take_jobs();
        let failures_before = worker.failures_before;
        self.slot.dismiss(worker, Stop::Terminate);
        self.slot.start_failed(jobs, message, failures_before);
    }
}
