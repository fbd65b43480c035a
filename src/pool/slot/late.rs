//! The limits of a job at a worker: what happens when its time is over, when its worker is silent for too
//! long or uses too much memory, and when the worker does not read or start.

use crate::job::{Failure, Kind, Why};
use crate::pool::shared::Shared;
use crate::pool::slot::deadline::Deadlines;
use crate::pool::slot::death::append_last_words;
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::process::Stop;
use crate::util::clock::Moment;
use crate::util::held;
use crate::util::setting::Setting;
use crate::util::text::size;
use crate::worker::{Flight, Worker};

impl WorkerSlot {
    /// The time of the oldest job is over.
    pub(super) fn job_timed_out(&mut self) {
        let Some(worker) = &self.worker else { return };
        let deadlines = Deadlines::new(&self.slot.shared, worker);
        let timeout = worker.flights.front().and_then(|flight| deadlines.timeout_of(flight));
        let limit = humantime::format_duration(timeout.unwrap_or_default());
        let lacking = self.what_is_lacking(worker);
        if let Some(told) = worker.flights.told_to_oldest() {
            let message = format!("{}, and its worker was ended", told.message);
            let failure = Failure::new(told.kind, message);
            return self.fail_oldest(Some(&failure));
        }
        let cancelled = Failure::new(Kind::Timeout, format!("timed out after {limit}"));
        let now = self.slot.now();
        if self.worker.as_mut().is_some_and(|worker| worker.end_job(0, now, cancelled)) {
            return;
        }
        let message = format!("timed out after {limit}, and its worker was ended{lacking}");
        self.fail_oldest(Some(&Failure::new(Kind::Timeout, message)));
    }

    /// What a worker has printed of its reply, or what may be wrong if it has never printed one, as the end of a
    /// phrase; empty: nothing is known.
    fn what_is_lacking(&self, worker: &Worker) -> String {
        let shared = &self.slot.shared;
        let protocol = &shared.config.worker.protocol;
        let mut lacking = worker.unfinished();
        if lacking.is_empty() && worker.replies() == 0 {
            // A server that waits for another kind of message prints nothing.
            lacking = protocol.other_server();
            // No worker has ever answered, and that was not reported yet.
            if lacking.is_empty() && shared.start_ups.end_silence() {
                lacking = protocol.other_protocol();
            }
        }
        if lacking.is_empty() { lacking } else { format!("; {lacking}") }
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

    /// The worker has printed nothing for too long.
    pub(super) fn job_is_quiet(&mut self) {
        let limit = self.slot.shared.config.failures.silence.unwrap_or_default();
        let now = self.slot.now();
        let begun = now.before(limit);
        let cancelled = Failure::new(Kind::Timeout, quiet(limit));
        let Some(worker) = &mut self.worker else { return };
        if worker.end_jobs_before(begun, now, &cancelled) {
            return;
        }
        let lacking = self.worker.as_ref().map(|worker| self.what_is_lacking(worker));
        let lacking = lacking.unwrap_or_default();
        let message = format!("{}, and its worker was ended{lacking}", quiet(limit));
        let failure = Failure::new(Kind::Timeout, message);
        self.fail_at_fault(&failure, |flight| flight.clock <= begun);
    }

    /// Time in which the slot waited for the reader of stdout counts for no job.
    pub(super) fn hold_clocks(&mut self) {
        let time = held::take();
        if let Some(worker) = self.worker.as_mut().filter(|_| !time.is_zero()) {
            worker.hold_clocks(time);
        }
    }

    /// The worker can't go on. Of its jobs, those fail that may be at fault.
    pub(super) fn fail_at_fault(
        &mut self,
        failure: &Failure,
        may_be_at_fault: impl Fn(&Flight) -> bool,
    ) {
        let is_unordered = |worker: &mut Worker| worker.is_unordered();
        match self.worker.take_if(is_unordered) {
            Some(worker) => self.slot.fail_some(worker, failure, may_be_at_fault),
            None => self.fail_oldest(Some(failure)),
        }
    }

    /// Deals with a worker whose processes use too much memory, if they do. A worker without a job is
    /// replaced.
    pub(super) fn is_over_memory(&mut self) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        let Some(used) = worker.process.excess(&self.slot.shared.groups) else { return false };
        if worker.flights.is_empty() {
            worker.set_why(Why::MaxMemory);
            self.retire();
        } else {
            let message = format!(
                "{}, and the worker (pid {}) was killed",
                too_much(&self.slot.shared, used),
                worker.process.pid()
            );
            self.fail_at_fault(&Failure::new(Kind::Memory, message), |_| true);
        }
        true
    }

    /// Deals with a shell that holds too much of what the code has printed, if it does.
    pub(super) fn has_printed_too_much(&mut self) -> bool {
        let Some(worker) = self.worker.as_ref().filter(|_| self.shell.is_there()) else {
            return false;
        };
        let Some(used) = self.shell.excess(worker, self.slot.now()) else { return false };
        let limit = self.slot.shared.config.worker.max_reply as u64;
        let message = format!(
            "it prints more than a result may have: its shell has taken {} of memory for that, and the limit of a \
             result is {} ({}); let it print to a file",
            size(used),
            size(limit),
            Setting::MaxReply
        );
        self.fail_at_fault(&Failure::new(Kind::Protocol, message), |_| true);
        true
    }
}

/// Says that nothing was printed for this long.
pub(super) fn quiet(limit: std::time::Duration) -> String {
    let limit = humantime::format_duration(limit);
    format!("it printed nothing for {limit} ({})", Setting::Silence)
}

/// Says how much memory the processes of a job use.
pub(super) fn too_much(shared: &Shared, used: u64) -> String {
    let limit = shared.config.failures.max_memory.unwrap_or_default();
    let (used, limit) = (size(used), size(limit));
    format!("its processes used {used} of memory, more than {limit} ({})", Setting::MaxMemory)
}
