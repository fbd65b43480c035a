//! What a slot knows of its loans to callers: whether it may be lent, and what its last borrower has left undone.

use crate::pool::shared::Shared;
use crate::util::clock::Moment;
use crate::worker::{Received, Violation};

/// Whether a slot is lent.
#[derive(Debug)]
pub(super) struct Lending {
    /// The pool is one whose jobs have callers, and may start at any time.
    pub(super) is_allowed: bool,
    /// Nobody has borrowed the slot for a while: it is lent again after its next job.
    pub(super) rests: bool,
    /// What its last borrower has left to the slot's thread.
    pub(super) unsettled: Option<Unsettled>,
}

/// Replies that have come, after which the worker may have to end.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) outcome: Result<Received, Violation>,
    pub(super) was_spent: bool,
    pub(super) now: Moment,
}

impl Lending {
    pub(super) fn of(shared: &Shared) -> Self {
        let is_allowed = shared.deliveries.sink().is_none()
            && shared.config.commands.is_none()
            && shared.hosts.is_none()
            && !shared.gates.any();
        Self { is_allowed, rests: false, unsettled: None }
    }
}
