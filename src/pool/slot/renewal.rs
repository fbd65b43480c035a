//! How far a slot is with the replacement of a worker that is out of date.

use crate::util::clock::Moment;

/// How far a slot is with the replacement of its worker.
#[derive(Debug)]
pub(super) struct Renewal {
    /// When to look again. `NEVER`: the worker is not being replaced.
    pub(super) due: Moment,
    /// Workers from before this moment stay: their replacements did not start.
    pub(super) given_up: Moment,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { due: Moment::NEVER, given_up: Moment::ZERO }
    }
}
