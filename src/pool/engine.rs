//! The engine that all handles of a pool share: it queues the jobs of callers, and ends the run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::job::call::{self, OpenCall};
use crate::job::{Failure, Job, Kind};
use crate::pool::alarm::Alarm;
use crate::pool::background::drop_in_background;
use crate::pool::shared::Shared;
use crate::pool::shared::stopping::StopOrder;
use crate::pool::succession::Succession;
use crate::process::Stop;
use crate::util::clock::Moment;
use crate::util::json::on_one_line;

/// The part that all handles of a pool share. All processes are killed when the last handle is dropped.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// How many jobs of a pipeline may be queued or running.
    pub(crate) window: usize,
    /// All pools with the same list of processes.
    pub(crate) family: Arc<()>,
    alarm: Alarm,
    pub(crate) succession: Succession,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let is_last = Arc::strong_count(&self.family) == 1;
        let at = self.shared.now();
        // The processes of other pools that are on the same list live on.
        let means = Stop::Kill;
        self.end(StopOrder { at, means }, RunEnd { reopens: false, kills_list: is_last });
    }
}

/// The effects of the end of a run besides the end of its jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunEnd {
    /// The pool may be used again.
    pub(crate) reopens: bool,
    /// If the jobs are to be killed now, all processes of the list are, without waiting for the slots.
    pub(crate) kills_list: bool,
}

impl RunEnd {
    /// The pool is not used again.
    pub(crate) const LAST: Self = Self { reopens: false, kills_list: true };
}

impl Engine {
    pub(crate) fn new(shared: Shared, window: usize, family: Arc<()>) -> Self {
        Self {
            shared: Arc::new(shared),
            window,
            family,
            alarm: Alarm::default(),
            succession: Succession::default(),
        }
    }

    /// Closes the queue and drops the jobs in it. Running jobs are ended as `order` says. Returns the
    /// epoch that ends, for [`Engine::gone`].
    pub(crate) fn end(&self, order: StopOrder, ending: RunEnd) -> u64 {
        let shared = &self.shared;
        // Stopped processes would not end.
        if shared.groups.is_paused() {
            shared.groups.resume();
        }
        let begin = || {
            shared.stopping.order(order);
            if order.means == Stop::Kill && order.at <= shared.now() && ending.kills_list {
                shared.groups.kill();
            }
        };
        // The run is not over until the dropped jobs are delivered.
        shared.queue.retiring();
        let (jobs, epoch) = shared.queue.end(ending.reopens, begin, || shared.renew());
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
        self.end(StopOrder { at: self.shared.now(), means: Stop::Kill }, RunEnd::LAST);
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

    /// As [`Engine::queue`], but if a worker is idle and quick, this thread hands it the job, and waits for the
    /// reply for up to `patience`.
    pub(crate) fn run(&self, call: Arc<OpenCall>, patience: Duration) -> Arc<OpenCall> {
        if call.home.is_some() || !self.shared.queue.loans.serve(&call, patience) {
            return self.queue(call);
        }
        if call.expires != Moment::NEVER && call.is_waiting() {
            self.alarm.set(&self.shared, call.expires);
        }
        call
    }

    /// Queues a call. If that can't be done the call is answered.
    pub(crate) fn queue(&self, call: Arc<OpenCall>) -> Arc<OpenCall> {
        match self.shared.queue.push_call(&call) {
            Ok(slots) => {
                self.alarm.set(&self.shared, call.expires);
                if !slots.is_empty() {
                    self.shared.start_slots(slots);
                }
                call
            }
            Err(_) => {
                if let Some((job, has_place)) = call::start(Arc::clone(&call), usize::MAX) {
                    self.shared.queue.free_places(usize::from(has_place));
                    self.shared.drop_jobs([job]);
                }
                call
            }
        }
    }

    /// Queues many calls at once. They have no places and no limits of their wait.
    pub(crate) fn queue_all(&self, calls: Vec<Arc<OpenCall>>) {
        if calls.is_empty() {
            return;
        }
        match self.shared.queue.push_calls(&calls) {
            Ok(slots) => self.shared.start_slots(slots),
            Err(_) => {
                let jobs =
                    calls.into_iter().filter_map(|call| Some(call::start(call, usize::MAX)?.0));
                self.shared.drop_jobs(jobs);
            }
        }
    }

    /// Makes the job of a call.
    ///
    /// # Errors
    /// The args can't be written as JSON.
    pub(crate) fn job(&self, cmd: &str, args: &impl Serialize) -> Result<Job, Failure> {
        let text = serde_json::to_string(cmd)
            .and_then(|cmd| serde_json::to_string(args).map(|args| (cmd, args)));
        let (cmd, args) = text.map_err(|error| {
            let message = format!("the args can't be written as JSON: {error}");
            Failure::new(Kind::Invalid, message)
        })?;
        // A command without args has no word `null`.
        let has_none = self.shared.config.commands.is_some() && args == "null";
        let args = if has_none { "[]".to_owned() } else { args };
        // A request is one line. Only raw JSON values have line breaks, and only between their parts.
        Ok(Job::new(0, &cmd, &on_one_line(&args), ""))
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
