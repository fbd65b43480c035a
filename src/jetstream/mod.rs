//! A durable queue of jobs on NATS JetStream. `submit` publishes jobs, `work` runs them in a pool, `collect` takes the
//! results. The pool knows nothing of it.

mod address;
mod collect;
mod dead;
mod error;
mod held;
mod job_message;
mod limit;
mod line;
mod names;
mod outstanding;
mod pull;
mod report;
mod result_message;
mod session;
mod settle;
mod streams;
mod submit;
mod work;

pub use address::QueueAddress;
pub use dead::print_dead;
pub use error::QueueError;
pub use limit::QueueLimit;
pub use submit::{Submission, SubmitSettings};
pub use work::{JobReader, QueueWorker, WorkSettings};

use std::sync::Arc;
use std::time::Duration;

/// What is told once about a queue.
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

/// Hears of the queue: notes for a person, and what ends the run.
pub trait QueueWatcher: Send + Sync {
    /// Something happened that a person should know.
    fn note(&self, text: &str);

    /// The queue can't be used any more.
    fn failed(&self, error: QueueError);
}

/// A watcher that may be shared.
type Watching = Arc<dyn QueueWatcher>;
