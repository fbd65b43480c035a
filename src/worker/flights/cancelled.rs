//! Jobs that the worker was told to end, and has not answered yet.

use super::{Flight, Flights};
use crate::job::Failure;
use crate::util::clock::Moment;

/// A job that the worker was told to end.
#[derive(Debug)]
pub(super) struct Cancelled {
    /// The id of its request.
    pub(super) id: u64,
    /// When the worker was told.
    pub(super) since: Moment,
    /// The outcome of the job, whatever the worker answers.
    pub(super) failure: Failure,
}

impl Flights {
    /// The worker is to be asked to end a job, given by its place. Returns the id of the request; `None`: the worker
    /// was asked before.
    pub(in crate::worker) fn cancel(
        &mut self,
        index: usize,
        now: Moment,
        failure: Failure,
    ) -> Option<u64> {
        let flight = self.open.get(index)?;
        if self.cancelled_since(flight).is_some() {
            return None;
        }
        self.cancelled.push(Cancelled { id: flight.id, since: now, failure });
        Some(flight.id)
    }

    /// When the worker was told to end a job.
    pub(crate) fn cancelled_since(&self, flight: &Flight) -> Option<Moment> {
        let is_it = |cancelled: &&Cancelled| cancelled.id == flight.id;
        self.cancelled.iter().find(is_it).map(|cancelled| cancelled.since)
    }

    /// The outcome of a job that the worker was told to end, and has answered.
    pub(in crate::worker) fn take_cancelled(&mut self, index: usize) -> Option<Failure> {
        if self.cancelled.is_empty() {
            return None;
        }
        let id = self.open.get(index)?.id;
        let at = self.cancelled.iter().position(|cancelled| cancelled.id == id)?;
        Some(self.cancelled.swap_remove(at).failure)
    }

    /// Takes out the jobs that the worker was told to end, with their outcomes.
    pub(crate) fn take_all_cancelled(&mut self) -> Vec<(Flight, Failure)> {
        let mut taken = Vec::new();
        for Cancelled { id, failure, .. } in std::mem::take(&mut self.cancelled) {
            if let Some(index) = self.open.iter().position(|flight| flight.id == id)
                && let Some(flight) = self.take_answered(index)
            {
                taken.push((flight, failure));
            }
        }
        taken
    }
}
