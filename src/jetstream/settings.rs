//! The settings of a queue and of a submission, and the watcher that gets messages about them.

use std::sync::Arc;
use std::time::Duration;

use super::address::QueueAddress;
use super::error::QueueError;
use super::limit::QueueLimit;
use crate::job::Sink;

/// The settings of a queue.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// The servers, and the name of the queue.
    pub address: QueueAddress,
    /// The most that waits in the queue. `None`: what it has, or the default.
    pub limit: Option<QueueLimit>,
    /// A worker machine that says nothing for this long has lost its jobs. `None`: what the queue has, or the default.
    pub ack_wait: Option<Duration>,
    /// How many servers keep each message. `None`: as many as they do already, or 1.
    pub replicas: Option<usize>,
    /// How long a server may be out of reach.
    pub patience: Duration,
}

/// Gets the messages about a queue: notes for the user, and the error that ends the run.
pub trait QueueWatcher: Send + Sync {
    /// Something happened that a person should know.
    fn note(&self, text: &str);

    /// The queue can't be used any more.
    fn failed(&self, error: QueueError);
}

/// A watcher that may be shared.
pub(super) type Watching = Arc<dyn QueueWatcher>;

/// What a submitter submits.
#[derive(Clone)]
pub struct SubmitSettings {
    /// The name of the run: a job that it has submitted is not submitted again. `None`: a name that no other run has.
    pub run: Option<String>,
    /// The results are kept at the server after the run.
    pub keeps_results: bool,
    /// Where results go. `None`: nobody waits for them.
    pub sink: Option<Arc<dyn Sink>>,
    /// No option says how lines are read: the machines that run the jobs decide it.
    pub is_open: bool,
    /// How long each job may take, unless it says so itself.
    pub timeout: Option<Duration>,
    /// How often each job may be tried again, unless it says so itself.
    pub retries: Option<u32>,
    /// Called before each result: whether the machine that it comes from prints text by default.
    pub is_text: Arc<dyn Fn(bool) + Send + Sync>,
}
