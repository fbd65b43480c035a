//! A run at a queue: it submits jobs to it, or takes jobs from it. Without the feature `nats` there are no queues.

#[cfg_attr(feature = "nats", path = "present.rs")]
#[cfg_attr(not(feature = "nats"), path = "absent.rs")]
mod end;

#[cfg(not(feature = "nats"))]
pub use end::NoQueue as QueueEnd;
#[cfg(feature = "nats")]
pub use end::QueueEnd;
pub use end::print_dead;

use std::sync::{Arc, OnceLock};

use procpool::engine::input::Form;
use procpool::engine::output::format::Shape;
use procpool::engine::{Depth, Sink};

use crate::cli::Options;
use crate::cli::queue::QueueRole;
use crate::run::reporter::Reporter;

/// What a run tells its end of the queue.
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "there is no queue"))]
pub struct QueuePlan<'a> {
    pub role: QueueRole,
    pub url: &'a str,
    pub options: &'a Options,
    /// How a line is read.
    pub form: &'a Form,
    pub shape: Shape,
    /// The machines that run the jobs decide how a line is read.
    pub is_open: bool,
    /// Jobs run in workers, not in commands.
    pub has_workers: bool,
    pub slots: usize,
    /// The name of the run, if it can be repeated.
    pub run: Option<String>,
    /// Where results go.
    pub sink: &'a Arc<dyn Sink>,
    pub reporter: &'a Arc<Reporter>,
}

impl QueuePlan<'_> {
    /// How many jobs a worker has at a time, if it works on several.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "there is no queue"))]
    fn depth(&self) -> Depth {
        let workers = &self.options.workers;
        let is_code = self.has_workers && workers.worker.is_empty();
        let default = if is_code { Depth::Auto } else { Depth::Fixed(1) };
        workers.pipeline.unwrap_or(default)
    }

    /// The shape of results that the first result decides.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "there is no queue"))]
    fn later(&self) -> Option<&'static OnceLock<Shape>> {
        match self.shape {
            Shape::Later(later) => Some(later),
            _ => None,
        }
    }
}
