//! Several jobs of a worker at once: which of them may be at fault, and the time that counts for none of them.

use std::time::Duration;

use super::{Flight, Flights};
use crate::job::Failure;
use crate::util::clock::Moment;

impl Flight {
    /// Whether its request has this id.
    pub(crate) fn has_id(&self, id: u64) -> bool {
        self.id == id
    }
}

impl Flights {
    /// Takes out the jobs that failed. These are jobs that were not answered.
    pub(crate) fn take_failed(&mut self, has_failed: impl Fn(&Flight) -> bool) -> Vec<Flight> {
        let mut failed = Vec::new();
        let mut left = Vec::with_capacity(self.open.len());
        for flight in self.open.drain(..) {
            if has_failed(&flight) {
                self.jobs -= flight.job.count();
                self.bytes -= flight.job.size();
                failed.push(flight);
            } else {
                left.push(flight);
            }
        }
        self.open = left.into();
        failed
    }

    /// The outcome of the oldest job if the worker was told to end it.
    pub(crate) fn told_to_oldest(&self) -> Option<&Failure> {
        let id = self.open.front()?.id;
        let told = self.cancelled.iter().find(|cancelled| cancelled.id == id);
        told.map(|told| &told.failure)
    }

    /// The places of the jobs that the worker may still be told to end, and whose time began before `moment`.
    pub(crate) fn begun_before(&self, moment: Moment) -> Vec<usize> {
        let flights = self.open.iter().enumerate();
        let begun = flights
            .filter(|(_, flight)| flight.clock <= moment && self.cancelled_since(flight).is_none());
        begun.map(|(index, _)| index).collect()
    }

    /// The time of all jobs stood still for this long. It had begun at `turn` at the earliest.
    pub(crate) fn hold_clocks(&mut self, time: Duration, turn: Moment) {
        for flight in &mut self.open {
            flight.clock = flight.clock.max(turn).after(time);
        }
    }
}
