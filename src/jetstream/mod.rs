//! A durable queue of jobs on NATS JetStream. `submit` publishes jobs, `work` runs them in a pool, `collect` takes the
//! results. The pool knows nothing of it.

mod address;
mod collect;
mod dead;
mod error;
mod health;
mod held;
mod job_message;
mod limit;
mod line;
mod loss;
mod names;
mod outstanding;
mod pace;
mod pull;
mod report;
mod result_message;
mod session;
mod settings;
mod settle;
mod sharing;
mod streams;
mod submit;
mod suspects;
mod work;

pub use address::QueueAddress;
pub use dead::print_dead;
pub use error::QueueError;
pub use limit::QueueLimit;
pub use settings::{QueueSettings, QueueWatcher, SubmitSettings};
pub use submit::Submission;
pub use work::{JobReader, QueueWorker, WorkSettings};
