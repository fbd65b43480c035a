//! Takes results together that come in the order of their requests, as most workers send them.

use super::replies::{Receiver, Reply};
use crate::util::json::Json;

/// At most this many results are handed on together.
const MOST: usize = 64;

impl<F: FnMut(Reply<'_>)> Receiver<'_, F> {
    /// Takes the results in the usual shape at the beginning of some bytes that answer jobs of bundles in their order.
    /// Returns how many bytes it took. All other messages are left, and so is the last one that is to come: nothing
    /// may follow that.
    pub(super) fn take_results(&mut self, bytes: &[u8]) -> usize {
        let Some(bulk) = self.bulk.filter(|_| self.flights.parts.is_empty()) else { return 0 };
        let mut taken = 0;
        while let Some((flight, pending)) = self.flights.next_of_bundle() {
            let most = pending.min(self.flights.jobs() - 1).min(MOST);
            let mut values = [Json::NULL; MOST];
            let (count, len) =
                bulk.read(&bytes[taken..], flight.next_id(), self.max_reply, &mut values[..most]);
            if count > 0 {
                let (start, clock) = (flight.start, flight.clock);
                let results = flight.results(&values[..count]);
                (self.answer)(Reply::Results { results, start, clock });
                self.complete_next(count);
                taken += len;
            }
            if count < MOST.min(pending) {
                break;
            }
        }
        taken
    }
}
