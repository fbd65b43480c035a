//! Where the outcomes of a worker machine's jobs go: into the messages that the jobs came in.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::held::{Held, HeldJob, mark_of};
use super::loss::BegunNotes;
use super::result_message;
use super::settings::Watching;
use crate::job::{Done, Failure, Job, Kind, Sink};
use crate::util::lock::lock;

/// Most results are shorter, with all that is said about them.
const USUAL: usize = 128;

/// An order for the thread that talks to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkOrder {
    /// There is something to publish or to acknowledge for this message.
    Settle(u64),
    /// There is room for another job.
    Room,
    /// No more jobs are wanted.
    Stop,
}

/// Takes the outcomes of jobs.
pub(super) struct QueueReporter {
    pub(super) held: Arc<Mutex<Held>>,
    pub(super) orders: UnboundedSender<WorkOrder>,
    pub(super) watcher: Watching,
    pub(super) has_workers: bool,
    pub(super) slots: usize,
    /// No more than one job runs at a time.
    pub(super) runs_one: bool,
    /// Where it is noted that jobs begin. Empty: none was taken yet.
    pub(super) notes: Arc<OnceLock<BegunNotes>>,
}

impl QueueReporter {
    fn close(&self, job: &Job, result: HeldJob, ran: Duration, failure: Option<&Failure>) {
        let Some(mark) = mark_of(job) else { return };
        let mut held = lock(&self.held);
        let before = held.open;
        let is_returned = result == HeldJob::Returned;
        let Some(message) = held.close(mark, result) else { return };
        message.ran = message.ran.saturating_add(ran);
        if let Some(failure) = failure {
            let line = dead_line(&message.run, job, failure);
            message.dead.extend_from_slice(&line);
        }
        let order = if message.left == 0 || message.is_split {
            Some(WorkOrder::Settle(mark.0))
        } else {
            // An idle slot may have another message meanwhile.
            (before <= 2 * self.slots).then_some(WorkOrder::Room)
        };
        if message.left == 0 && !is_returned {
            let (time, jobs) = (message.time(self.slots), message.jobs.len());
            held.pace.add(time, jobs);
        }
        drop(held);
        if let Some(order) = order {
            let _ = self.orders.send(order);
        }
    }

    /// A job was not run, and is given back.
    fn back(&self, job: &Job) {
        self.close(job, HeldJob::Returned, Duration::ZERO, None);
    }
}

impl Sink for QueueReporter {
    fn deliver(&self, done: &Done<'_>) {
        let goes_back = done.outcome.is_err_and(|failure| match failure.kind {
            // The run was ended here.
            Kind::Cancelled => true,
            // No worker starts here. Perhaps one does elsewhere.
            Kind::Spawn => self.has_workers,
            _ => false,
        });
        if goes_back {
            return self.back(done.job);
        }
        let Some((_, index)) = mark_of(done.job) else { return };
        let mut frames = Vec::with_capacity(USUAL);
        if let Err(error) = result_message::put(index, done, &mut frames) {
            self.watcher.note(&format!("what a command printed can't be read back: {error}"));
            return self.back(done.job);
        }
        let ran = done.run.map_or(0.0, |run| run.seconds);
        let ran = Duration::try_from_secs_f64(ran).unwrap_or_default();
        self.close(done.job, HeldJob::Done(frames.into()), ran, done.outcome.err());
    }

    fn wants_begun(&self) -> bool {
        true
    }

    fn begun(&self, _slot: usize, job: &Job) {
        let Some(((id, _), notes)) = mark_of(job).zip(self.notes.get()) else { return };
        let unnoted = lock(&self.held).begin(id, self.runs_one);
        if let Some(beginning) = unnoted {
            notes.add(beginning);
            lock(&self.held).noted(id);
        }
    }

    fn dropped(&self, job: &Job) {
        self.back(job);
    }
}

/// The line of a failed job in the stream of failed jobs: what it was, and why it failed.
pub(super) fn dead_line(run: &str, job: &Job, failure: &Failure) -> Vec<u8> {
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(serde_json::Value::Null);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let what = if let Some(words) = job.arg_words() {
        json!({ "args": words.map(text).collect::<Vec<_>>() })
    } else if let Some(message) = job.as_message() {
        json!({ "message": text(message) })
    } else {
        json!({ "cmd": json(job.cmd()), "args": json(job.args()) })
    };
    let id = job.id().map_or_else(|| json!(job.seq), json);
    let error = json!({ "kind": failure.kind.name(), "message": failure.message });
    let line = json!({ "run": run, "id": id, "job": what, "error": error });
    format!("{line}\n").into_bytes()
}
