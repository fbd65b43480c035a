//! What all handles of a pool share: it queues jobs, starts slots for them, and ends them.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::job::caller::Caller;
use crate::job::{Closed, Failure, Job, Kind};
use crate::pool::shared::{Shared, Stopping};
use crate::process::Stop;

pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// Jobs that a pipeline may have queued or running.
    pub(crate) window: usize,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Engine {
    /// Closes the queue and drops what is in it; running jobs are ended as `stopping` says. Returns
    /// what [`Engine::gone`] goes by.
    pub(crate) fn end(&self, stopping: Stopping, reopens: bool) -> u64 {
        let shared = &self.shared;
        // What stands still would not end.
        if shared.groups.is_paused() {
            shared.groups.resume();
        }
        let begin = || {
            shared.set_stop(stopping);
            if stopping.means == Stop::Kill && stopping.at <= shared.now() {
                shared.groups.kill();
            }
        };
        // Until all that was queued is delivered, it is not over.
        shared.queue.retiring();
        let (jobs, epoch) = shared.queue.end(reopens, begin, || shared.renew());
        shared.drop_aside(jobs);
        epoch
    }

    pub(crate) fn kill(&self) {
        self.end(Stopping { at: self.shared.now(), means: Stop::Kill }, false);
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
        // Only raw values have line breaks, and only between their parts; a request is one line.
        let args = match args.contains(['\n', '\r']) {
            true => args.replace(['\n', '\r'], " "),
            false => args,
        };
        let mut job = Job::new(0, &cmd, &args, "");
        job.caller = Some(caller);
        let mut batch = vec![job];
        match self.shared.queue.push(&mut batch, false) {
            Ok(slots) => self.shared.start_slots(slots),
            Err(Closed) => {
                let failure = Failure::new(Kind::Cancelled, "the pool is being shut down");
                for job in batch {
                    self.shared.tell_caller(job, Err(&failure));
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
