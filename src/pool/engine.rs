//! What all handles of a pool share: it queues jobs, starts slots for them, and ends them.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use serde::Serialize;

use crate::job::caller::Caller;
use crate::job::{Closed, Failure, Job, Kind};
use crate::pool::shared::{STACK, Shared, Stopping};
use crate::pool::slot::Slot;
use crate::process::{Stop, Wake};

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

    pub(crate) fn start_slots(&self, slots: Vec<usize>) {
        let mut slots = slots.into_iter();
        let failed = slots.find_map(|index| self.start_slot(index).err());
        if let Some(error) = failed {
            // The others would fare no better. They are tried again with the next jobs.
            for index in slots {
                self.shared.queue.leave(index, || self.shared.renew());
            }
            self.slot_not_started(&error);
        }
    }

    fn start_slot(&self, index: usize) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let leaving = Leaving { shared: Arc::clone(&shared), index };
        let wake = Arc::new(Wake::new()?);
        shared.queue.enter(index, &wake);
        thread::Builder::new()
            .name(format!("slot {}", index + 1))
            .stack_size(STACK)
            .spawn(move || {
                let _leaving = leaving;
                be_nice(shared.config.nice);
                let run = || Slot::new(index, Arc::clone(&shared), Arc::clone(&wake)).run();
                // A sink that panics costs the jobs that the slot had, and no others.
                while catch_unwind(AssertUnwindSafe(run)).is_err() {
                    shared.queue.give_up_on(index);
                    shared.watcher.output_lost(
                        "outcomes of jobs were lost, since what was to take them has panicked",
                    );
                }
            })
            .map(drop)
    }

    /// A pool with fewer threads than it may have is only slower; one with none is stuck.
    fn slot_not_started(&self, error: &io::Error) {
        let (present, _) = self.shared.queue.presence();
        if present == 0 {
            let message = format!("no thread could be started for a worker: {error}");
            self.shared.give_up(&Failure::new(Kind::Spawn, message));
        } else {
            self.shared.is_crowded(error);
        }
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
                return caller.tell(Err(Failure::new(Kind::Invalid, message)));
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
            Ok(slots) => self.start_slots(slots),
            Err(Closed) => {
                let failure = Failure::new(Kind::Cancelled, "the pool is being shut down");
                for job in batch {
                    self.shared.tell_caller(job, Err(&failure));
                }
            }
        }
    }

    /// Wakes all slots: a call was dropped.
    pub(crate) fn wake_all(&self) {
        self.shared.queue.wake_all();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// Tells the queue that a slot has left, also when its thread panics or never began.
struct Leaving {
    shared: Arc<Shared>,
    index: usize,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared.queue.leave(self.index, || self.shared.renew());
    }
}

/// Lowers the priority of this thread, which what it starts will inherit.
fn be_nice(more: i32) {
    if more > 0
        && let Ok(now) = rustix::process::getpriority_process(None)
    {
        let _ = rustix::process::setpriority_process(None, (now + more).min(19));
    }
}
