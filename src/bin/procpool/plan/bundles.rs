//! Whether lines may travel in bundles. They may if every consumer of results takes them by the bundle.

use procpool::engine::input::Form;
use procpool::engine::input::route::Route;
use procpool::engine::output::format::Shape;
use procpool::engine::{Depth, Limits, Protocol};

use crate::cli::Options;
use crate::cli::values::InputFormat;

/// The consumers that the plan knows. (The run asks the job log and the reports.)
pub struct Consumers<'a> {
    pub shape: Shape,
    pub route: &'a Route,
    pub limits: &'a Limits,
    pub has_journal: bool,
}

impl Consumers<'_> {
    /// Whether one of them needs each job by itself.
    fn want_each_job(&self) -> bool {
        let Limits { interval, max_load, min_free_memory, jobserver: _ } = self.limits;
        self.shape != Shape::Text
            || !matches!(self.route, Route::One)
            || self.has_journal
            || interval.is_some()
            || max_load.is_some()
            || min_free_memory.is_some()
    }
}

/// Whether lines may travel in bundles, as far as the plan knows. A tag, a deadline and a retry belong to a single
/// job.
pub fn may_bundle(
    options: &Options,
    protocol: &Protocol,
    form: &Form,
    consumers: &Consumers<'_>,
) -> bool {
    let is_line_by_line = Protocol::named("raw").is_some_and(|raw| raw == *protocol)
        && options.input.delimiter.is_none_or(|end| end == b'\n')
        && !options.input.null;
    matches!(form, Form::Message)
        && options.input.format == InputFormat::Lines
        && is_line_by_line
        && options.workers.pipeline == Some(Depth::Auto)
        && !consumers.want_each_job()
        && !options.output.tag
        && !options.output.selection.skip_null
        && options.output.lines.tag_string.is_none()
        && options.failures.timeout.is_none()
        && options.failures.retries == 0
}
