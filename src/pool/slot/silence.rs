//! The note about a worker that does not answer: it says what the worker may be waiting for.

use std::time::Duration;

use crate::job::Job;
use crate::pool::shared::Shared;
use crate::worker::buffering;
use crate::worker::{Reading, Worker};

/// A worker that does not answer is reported after this long.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// Says what a worker that has never answered may be waiting for. A worker that runs the user's code is
/// only slow: nothing is said.
pub(super) fn remark_on_silence(shared: &Shared, worker: &Worker, job: &Job) {
    let config = &shared.config;
    if config.worker.is_code {
        return;
    }
    let has_read = worker.reading() != Reading::Nothing;
    let state =
        if has_read { "has read its request but not answered" } else { "has not read its request" };
    let said = worker.unfinished();
    let why = match (has_read, said.is_empty()) {
        (true, true) => buffering::silence(config),
        (true, false) => format!("So far {said}: a reply counts once it is complete."),
        (false, true) => "It may still be starting.".to_owned(),
        (false, false) => format!("It may still be starting; {said}."),
    };
    let pid = worker.process.pid();
    let job = shared.deliveries.name(job);
    let seconds = SILENCE.as_secs();
    shared.watcher.note(&format!(
        "{job}: the worker (pid {pid}) {state} for {seconds} s. {why} Still waiting."
    ));
}
