//! With the feature `nats`: a submitter, or a worker machine.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use procpool::engine::input::End;
use procpool::engine::jetstream::{
    JobReader, QueueAddress, QueueError, QueueSettings, QueueWatcher, QueueWorker, Submission,
    SubmitSettings, WorkSettings,
};
use procpool::engine::output::format::Shape;
use procpool::engine::{Closed, Feed, Job, Pool, Sink, Timeout, Watcher};

use super::QueuePlan;
use crate::cli::Options;
use crate::cli::queue::QueueRole;
use crate::plan::Misuse;
use crate::report::console::Console;
use crate::run::reporter::Reporter;

/// The name of the run of all submitters that give no name.
const DEFAULT_RUN: &str = "default";

/// What a run does at a queue.
pub enum QueueEnd {
    Submitter(Submission),
    Worker(Box<QueueWorker>),
}

impl QueueEnd {
    /// Begins to submit jobs, or gets ready to take them.
    ///
    /// # Errors
    /// The address is wrong, or no thread could be started.
    pub fn start(plan: &QueuePlan<'_>) -> anyhow::Result<Self> {
        let options = plan.options;
        let settings = settings(options, plan.url)?;
        let watcher: Arc<dyn QueueWatcher> = Arc::new(QueueNews(Arc::clone(plan.reporter)));
        let retries =
            options.line.given.iter().any(|id| id == "retries").then_some(options.failures.retries);
        if plan.role == QueueRole::From {
            let work = WorkSettings {
                host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
                slots: plan.slots,
                depth: plan.depth(),
                reader: JobReader { form: plan.form.clone(), is_text: plan.shape == Shape::Text },
                has_workers: plan.has_workers,
                retries,
                drains: options.queue.drain,
            };
            return Ok(Self::Worker(Box::new(QueueWorker::new(settings, work, watcher))));
        }
        let timeout = match options.failures.timeout {
            Some(Timeout::Time(time)) if !time.is_zero() => Some(time),
            Some(Timeout::Median(_)) => {
                return Err(Misuse::from(
                    "--timeout N% is for the machines that run the jobs: give it there",
                )
                .into());
            }
            _ => None,
        };
        let is_via = plan.role == QueueRole::Via;
        let default = (!is_via).then(|| DEFAULT_RUN.to_owned());
        let submit = SubmitSettings {
            keeps_results: options.queue.run.is_some(),
            run: options.queue.run.clone().or_else(|| plan.run.clone()).or(default),
            is_open: plan.is_open,
            sink: is_via.then(|| Arc::clone(plan.sink)),
            timeout,
            retries,
            is_text: told(plan),
        };
        let submission = Submission::start(settings, submit, watcher);
        Ok(Self::Submitter(submission.context("no thread could be started for the queue")?))
    }

    /// Where the outcomes of the pool's jobs go, if they don't go to the output.
    pub fn sink(&self) -> Option<Arc<dyn Sink>> {
        match self {
            Self::Submitter(_) => None,
            Self::Worker(worker) => Some(worker.sink()),
        }
    }

    /// As `Pool::feed`.
    ///
    /// # Errors
    /// It takes no more jobs.
    pub fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        match self {
            Self::Submitter(submission) => submission.feed(batch),
            Self::Worker(_) => Err(Closed),
        }
    }

    /// Takes jobs and gives them to the pool, until there are no more. `None`: the jobs are not taken from a queue.
    pub fn work(&self, pool: &Pool) -> Option<End> {
        match self {
            Self::Submitter(_) => None,
            // What went wrong was reported.
            Self::Worker(worker) => {
                Some(worker.run(pool).map_or(End::Incomplete, |()| End::Complete(0)))
            }
        }
    }

    /// As `Pool::finish`.
    pub fn finish(&self) {
        if let Self::Submitter(submission) = self {
            submission.finish();
        }
    }

    /// As `Pool::stop`.
    pub fn stop(&self) {
        match self {
            Self::Submitter(submission) => submission.stop(),
            Self::Worker(worker) => worker.stop(),
        }
    }

    /// As `Pool::left`.
    pub fn left(&self) -> usize {
        match self {
            Self::Submitter(submission) => submission.left(),
            Self::Worker(_) => 0,
        }
    }

    /// Waits until nothing is left to do at the servers.
    pub async fn ended(&self) {
        match self {
            Self::Submitter(submission) => submission.ended().await,
            Self::Worker(worker) => worker.ended().await,
        }
    }
}

/// Sets the shape of results when the first result has come.
fn told(plan: &QueuePlan<'_>) -> Arc<dyn Fn(bool) + Send + Sync> {
    let later: Option<&'static OnceLock<Shape>> = plan.later();
    Arc::new(move |is_text| {
        if let Some(later) = later {
            // The first result decides.
            let _ = later.set(if is_text { Shape::Text } else { Shape::Record });
        }
    })
}

/// Reports what happens at a queue.
struct QueueNews(Arc<Reporter>);

impl QueueWatcher for QueueNews {
    fn note(&self, text: &str) {
        Watcher::note(&*self.0, text);
    }

    fn failed(&self, error: QueueError) {
        self.0.queue_failed(error.to_string());
    }
}

fn settings(options: &Options, url: &str) -> anyhow::Result<QueueSettings> {
    let address: QueueAddress =
        url.parse().map_err(|error| Misuse::new(format!("{url:?}: {error}")))?;
    let limit = options.queue.queue_limit.as_ref().map(|limit| limit.parse()).transpose();
    if options.queue.ack_wait.is_some_and(|time| time < std::time::Duration::from_millis(100)) {
        return Err(Misuse::from("--ack-wait is at least 0.1s").into());
    }
    Ok(QueueSettings {
        address,
        limit: limit.map_err(Misuse::new)?,
        ack_wait: options.queue.ack_wait,
        replicas: options.queue.replicas.map(usize::from),
        patience: options.queue.queue_timeout,
    })
}

/// Prints the failed jobs of a queue.
///
/// # Errors
/// The queue can't be read.
pub fn print_dead(options: &Options, url: &str) -> anyhow::Result<()> {
    struct Say(Console);
    impl QueueWatcher for Say {
        fn note(&self, text: &str) {
            self.0.say(text);
        }
        fn failed(&self, _: QueueError) {}
    }
    let settings = settings(options, url)?;
    let watcher = Arc::new(Say(Console::new()));
    let mut print = procpool::engine::output::print;
    Ok(procpool::engine::jetstream::print_dead(&settings, watcher, &mut print)?)
}
