//! Ending workers that are not needed any more: at once, while the slot waits, or in the background.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::pool::background::drop_in_background;
use crate::pool::events;
use crate::pool::shared::Shared;
use crate::pool::slot::doubt::{
    accept_results, drop_records, prove_results, report_ahead, report_unasked,
};
use crate::pool::slot::steps::Slot;
use crate::process::{Stop, Wake};
use crate::worker::{Duty, Worker};

/// A worker that had no job, and may still be starting, has this long to end by itself.
const UNUSED_PATIENCE: Duration = Duration::from_millis(500);

impl Slot {
    /// Lets a worker end in its own time, in the background. If no other worker may be started before
    /// its end, the slot waits.
    pub(super) fn retire(&mut self, worker: Worker) {
        // Workers that take their time to end must not pile up.
        if self.shared.config.recycling.standby == 0 || self.shared.queue.is_crowded() {
            self.dismiss(worker, Stop::Retire);
        } else {
            retire_within(&self.shared, worker, self.shared.config.grace);
        }
    }

    /// Ends the worker of a slot that ends.
    pub(super) fn retire_last(&mut self, worker: Worker) {
        if worker.has_started() {
            self.retire(worker);
        } else {
            retire_within(&self.shared, worker, UNUSED_PATIENCE);
        }
    }

    /// Ends a worker, and waits until it is gone. Other slots take the jobs that wait.
    pub(super) fn dismiss(&mut self, worker: Worker, first: Stop) {
        self.step_aside();
        self.flush();
        dismiss(&self.shared, worker, first, Some(&self.wake));
    }
}

/// Ends a worker in the background. It has `patience` to end by itself.
fn retire_within(shared: &Arc<Shared>, worker: Worker, patience: Duration) {
    shared.queue.retiring();
    let retiring = Retiring { shared: Arc::clone(shared), worker: Some(worker), patience };
    drop_in_background("retiring", retiring);
}

/// Ends a worker, beginning with this step, and waits until it is gone.
pub(super) fn dismiss(shared: &Shared, mut worker: Worker, first: Stop, wake: Option<&Wake>) {
    worker.card.set_duty(Duty::Ending);
    let grace = shared.config.grace;
    let watcher = &*shared.watcher;
    let is_retired = first == Stop::Retire;
    let may_mislead = worker.may_mislead();
    if is_retired {
        report_ahead(shared, &mut worker);
    }
    let mut step = first;
    if is_retired && may_mislead {
        prove_results(shared, &mut worker, shared.now());
        worker.process.close_stdin();
        let has_ended = worker.await_exit(&shared.groups, wake, grace, watcher);
        step = if has_ended { Stop::Kill } else { Stop::Terminate };
    }
    let status = worker.process.stop(step, grace, &shared.groups, wake, watcher);
    let is_orderly = is_retired && !shared.groups.is_killing();
    if is_orderly && may_mislead {
        worker.read_rest();
        // A worker that never had a job misleads nobody.
        if worker.replies() > 0 && !worker.unasked_at_end().is_empty() {
            report_unasked(shared, &mut worker);
        } else {
            accept_results(shared, &mut worker);
        }
    }
    drop_records(shared, &mut worker);
    // If a worker ended first, only its group was killed. In an interrupted run, all workers may be
    // killed: that is not reported.
    let is_interrupted = shared.now() >= shared.groups.termination();
    if is_orderly && step != Stop::Kill && was_killed(status) && !is_interrupted {
        report_killed(shared, &worker);
    }
    report_end(shared, &worker);
}

/// Reports that a worker is gone.
pub(super) fn report_end(shared: &Shared, worker: &Worker) {
    let end = worker.ended(&shared.groups.clock);
    events::worker_ended(&end);
    shared.watcher.worker_ended(&end);
}

fn was_killed(status: Option<ExitStatus>) -> bool {
    status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw())
}

fn report_killed(shared: &Shared, worker: &Worker) {
    let pid = worker.process.pid();
    let grace = humantime::format_duration(shared.config.grace);
    shared.watcher.note(&format!(
        "the worker (pid {pid}) was killed: it did not end within {grace} after the end of its \
         stdin, nor within {grace} after TERM"
    ));
}

/// A worker that ends while its slot goes on. It is ended when this is dropped.
struct Retiring {
    shared: Arc<Shared>,
    worker: Option<Worker>,
    /// How long it may take to end by itself.
    patience: Duration,
}

impl Drop for Retiring {
    fn drop(&mut self) {
        let shared = &*self.shared;
        if let Some(mut worker) = self.worker.take() {
            if self.patience < shared.config.grace {
                worker.process.close_stdin();
                worker.await_exit(&shared.groups, None, self.patience, &*shared.watcher);
                dismiss(shared, worker, Stop::Terminate, None);
            } else {
                dismiss(shared, worker, Stop::Retire, None);
            }
        }
        shared.queue.retired(|| shared.renew());
    }
}
