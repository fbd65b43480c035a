//! Output that nobody asked for: it may be the reply to another request, so the results of its worker
//! are in doubt.

use crate::job::{Done, Failure, Job, Kind, Place, Why};
use crate::pool::shared::Shared;
use crate::pool::slot::deliver::Attempt;
use crate::pool::slot::steps::Slot;
use crate::process::Stop;
use crate::util::clock::Moment;
use crate::util::text::quote;
use crate::worker::buffering;
use crate::worker::{Violation, Worker, unasked_at_start};

impl Slot {
    /// Ends a worker that has printed something though it had no job. If it has never answered, each
    /// further worker would do the same: then the job that it was to get fails.
    pub(super) fn end_unasked(&mut self, mut worker: Worker) {
        let job = if worker.replies() == 0 { self.jobs.pop_front() } else { None };
        match job {
            Some(job) => self.fail_unasked(&worker, job),
            None => report_unasked(&self.shared, &mut worker),
        }
        worker.set_why(Why::Protocol);
        self.dismiss(worker, Stop::Terminate);
    }

    /// Ends a worker that has answered a request before it read it. Its other jobs go to other workers.
    pub(super) fn end_ahead(&mut self, mut worker: Worker) {
        report_ahead(&self.shared, &mut worker);
        worker.set_why(Why::Protocol);
        self.put_back(worker.take_jobs().into_iter());
        self.dismiss(worker, Stop::Terminate);
    }

    /// Fails a job, or the first one of a bundle, whose worker has printed something before it was asked.
    fn fail_unasked(&mut self, worker: &Worker, mut job: Job) {
        if job.count() > 1 {
            let first = job.split_off_first(1);
            self.jobs.push_front(std::mem::replace(&mut job, first));
        }
        let bytes = quote(worker.unasked());
        let message = format!(
            "{}: {bytes}{}",
            unasked_at_start(&self.shared.config.worker.protocol),
            buffering::FOR_REPLIES
        );
        let failure = Failure::new(Kind::Protocol, message);
        let attempt = Attempt::at_once(worker.process.pid(), self.now());
        self.deliver(attempt, job, Err(&failure), None);
    }
}

/// Reports that a worker has printed something though it had no job, or more than its jobs asked for.
pub(super) fn report_unasked(shared: &Shared, worker: &mut Worker) {
    let after = match worker.unproven.last(shared.deliveries.sources()) {
        Some(job) => format!("after its reply to {job}, though nothing more was asked of it"),
        None => "before it was asked anything".to_owned(),
    };
    let what = format!("printed {} {after}", quote(worker.unasked()));
    if !doubt_results(shared, worker, &what) {
        let pid = worker.process.pid();
        shared.watcher.doubtful(&format!("the worker (pid {pid}) {what}"));
    }
}

/// Reports which results are doubtful because of a violation, if it is a message too many.
pub(super) fn doubt_for(shared: &Shared, worker: &mut Worker, violation: &Violation) {
    if violation.is_surplus {
        let what = format!("printed more than it was asked for ({})", quote(&violation.bytes));
        doubt_results(shared, worker, &what);
    }
}

/// Reports it if a worker has answered a request that it has not read. Something else that it printed was
/// taken for a reply.
pub(super) fn report_ahead(shared: &Shared, worker: &mut Worker) {
    if worker.is_ahead() {
        doubt_results(shared, worker, "printed a reply more than it had read requests");
    }
}

/// Has the results of a worker recorded if they are proven by now.
pub(super) fn prove_results(shared: &Shared, worker: &mut Worker, now: Moment) {
    if worker.has_proof(now) {
        accept_results(shared, worker);
    }
}

/// Has the results of a worker recorded: the worker is known to have printed nothing else.
pub(super) fn accept_results(shared: &Shared, worker: &mut Worker) {
    if let (Some(number), Some(sink)) = (worker.unproven.prove(), shared.deliveries.sink()) {
        sink.proved(number);
    }
}

/// Drops the records of results that can't be proven any more. Their jobs are run again if the run is
/// resumed.
pub(super) fn drop_records(shared: &Shared, worker: &mut Worker) {
    if worker.unproven.is_kept()
        && let Some(sink) = shared.deliveries.sink()
    {
        let (number, _) = worker.unproven.take_keys();
        sink.unprovable(number);
    }
}

/// Reports that a worker did `what`, so its results may be those of other jobs. The sink learns of it
/// too, so that no journal takes them for successes. Returns whether there are such results.
pub(super) fn doubt_results(shared: &Shared, worker: &mut Worker, what: &str) -> bool {
    let deliveries = &shared.deliveries;
    let Some(doubtful) = worker.unproven.describe(deliveries.sources()) else { return false };
    let pid = worker.process.pid();
    shared.watcher.doubtful(&format!("the worker (pid {pid}) {what}: {doubtful}"));
    if let Some(sink) = deliveries.sink() {
        let message = format!("its worker (pid {pid}) {what}: this may be another job's result");
        let failure = Failure::new(Kind::Protocol, message);
        let (number, keys) = worker.unproven.take_keys();
        sink.unprovable(number);
        for key in keys {
            let mut job = Job::unreadable(0, Place::default(), "");
            job.key = Some(key);
            sink.doubt(&Done {
                job: &job,
                outcome: Err(&failure),
                printed: None,
                run: None,
                unproven: None,
            });
        }
    }
    worker.unproven.prove();
    true
}
