//! What all handles of a pool share: it queues the jobs of callers, and ends the run.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::job::caller::Caller;
use crate::job::{Closed, Failure, Job, Kind};
use crate::pool::background::drop_in_background;
use crate::pool::shared::Shared;
use crate::pool::shared::deliveries::answer_caller;
use crate::pool::shared::stopping::StopOrder;
use crate::process::Stop;

/// What all handles of a pool share. All processes are killed when the last handle is dropped.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// How many jobs of a pipeline may be queued or running.
    pub(crate) window: usize,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Engine {
    /// Closes the queue and drops the jobs in it. Running jobs are ended as `order` says. Returns the
    /// epoch that ends, for [`Engine::gone`].
    pub(crate) fn end(&self, order: StopOrder, reopens: bool) -> u64 {
        let shared = &self.shared;
        // Stopped processes would not end.
        if shared.groups.is_paused() {
            shared.groups.resume();
        }
        let begin = || {
            shared.stopping.order(order);
            if order.means == Stop::Kill && order.at <= shared.now() {
                shared.groups.kill();
            }
        };
        // The run is not over until the dropped jobs are delivered.
        shared.queue.retiring();
        let (jobs, epoch) = shared.queue.end(reopens, begin, || shared.renew());
        self.drop_queued(jobs);
        epoch
    }

    /// Drops jobs that were queued when the run was ended. The sink may block, so another thread gives
    /// it the outcomes of jobs that have run before.
    fn drop_queued(&self, jobs: impl IntoIterator<Item = Job>) {
        let goes_to_sink = |job: &Job| job.attempt > 1 && job.caller.is_none();
        let (tried, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(goes_to_sink);
        self.shared.drop_jobs(others);
        let dropping = Dropping { shared: Arc::clone(&self.shared), jobs: tried };
        if !dropping.jobs.is_empty() {
            drop_in_background("dropping", dropping);
        }
    }

    pub(crate) fn kill(&self) {
        self.end(StopOrder { at: self.shared.now(), means: Stop::Kill }, false);
    }

    /// Waits until the slots of this epoch have left.
    pub(crate) async fn gone(&self, epoch: u64) {
        let queue = &self.shared.queue;
        loop {
            let quiet = queue.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            let (present, now) = queue.presence();
            if present == 0 || now != epoch {
                return;
            }
            quiet.await;
        }
    }

    /// Queues the job of a caller.
    pub(crate) fn queue(&self, cmd: &str, args: impl Serialize, caller: Caller) {
        let text = serde_json::to_string(cmd)
            .and_then(|cmd| serde_json::to_string(&args).map(|args| (cmd, args)));
        let (cmd, args) = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the args can't be written as JSON: {error}");
                return caller.reply(Err(Failure::new(Kind::Invalid, message)));
            }
        };
        // A request is one line. Only raw JSON values can have line breaks, and only outside strings.
        let has_breaks = args.contains(['\n', '\r']);
        let args = if has_breaks { args.replace(['\n', '\r'], " ") } else { args };
        let mut job = Job::new(0, &cmd, &args, "");
        job.caller = Some(caller);
        let mut batch = vec![job];
        match self.shared.queue.push(&mut batch, false) {
            Ok(slots) => self.shared.start_slots(slots),
            Err(Closed) => {
                let failure = Failure::new(Kind::Cancelled, "the pool is being shut down");
                for job in batch {
                    answer_caller(job, Err(&failure));
                }
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// Jobs that are dropped together with this value.
struct Dropping {
    shared: Arc<Shared>,
    jobs: Vec<Job>,
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.shared.drop_jobs(std::mem::take(&mut self.jobs));
        self.shared.queue.retired(|| self.shared.renew());
    }
}
