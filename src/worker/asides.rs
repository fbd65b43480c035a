//! The messages to a worker that are no requests: notices and cancellations. Those from it that are no replies: its
//! banner, signs of life, and hints on its stderr.

use std::time::Duration;

use super::violation::Violation;
use super::worker::Worker;
use crate::job::{Failure, Job};
use crate::process::Transfer;
use crate::protocol::framing::Split;
use crate::util::clock::Moment;

/// A message quotes at most this much of a banner.
const MOST_SEEN: usize = 200;

impl Worker {
    /// Sends the worker a message that it does not answer.
    ///
    /// # Errors
    /// The protocol has no such message, or this one can't be sent. The text says why.
    pub(crate) fn notify(&mut self, job: &Job) -> Result<(), String> {
        self.outbox.add_notice(&self.protocol, job)
    }

    /// Asks the worker to end its work on the oldest job, if the protocol has a message for that. Returns
    /// whether the worker was asked.
    pub(crate) fn cancel_oldest(&mut self) -> bool {
        let Some(id) = self.flights.oldest_id().filter(|_| !self.outbox.is_closed()) else {
            return false;
        };
        let is_added = self.outbox.add_cancel(&self.protocol, id);
        is_added && self.send() != Transfer::Closed
    }

    /// Takes the messages of a fresh worker's banner that have come. `left`: how many are still to come. `seen`
    /// gets their beginning.
    pub(crate) fn take_banner(
        &mut self,
        left: &mut usize,
        seen: &mut Vec<u8>,
        max_reply: usize,
    ) -> Result<(), Violation> {
        let protocol = &self.protocol;
        self.inbox.take_messages(|bytes, scan| {
            if *left == 0 {
                return Ok(0);
            }
            match protocol.split_banner(bytes, scan) {
                Split::Message { next, .. } => {
                    *left -= 1;
                    let room = MOST_SEEN.saturating_sub(seen.len());
                    seen.extend_from_slice(&bytes[..next.min(room)]);
                    Ok(next)
                }
                Split::More(len) if len.max(bytes.len()) > max_reply => {
                    Err(Violation::too_long(protocol, len, bytes, max_reply))
                }
                Split::More(_) => Ok(0),
                Split::Broken(what) => Err(Violation::no_message(protocol, what, bytes)),
            }
        })
    }

    /// Tells a worker that works on several jobs at a time to end those that began before `moment`. Returns
    /// whether it was told to end any.
    pub(crate) fn end_jobs_before(
        &mut self,
        moment: Moment,
        now: Moment,
        failure: &Failure,
    ) -> bool {
        let begun = self.flights.begun_before(moment);
        let told = begun.into_iter().filter(|&index| self.end_job(index, now, failure.clone()));
        told.count() > 0
    }

    /// The slot could not read from the worker for this long: that counts for no job.
    pub(crate) fn hold_clocks(&mut self, time: Duration) {
        let turn = self.turn_clock();
        self.flights.hold_clocks(time, turn);
        self.reading.heard = self.reading.heard.after(time);
    }

    /// The worker has printed something to stdout or stderr.
    pub(crate) fn note_heard(&mut self, now: Moment) {
        self.reading.heard = now;
    }

    /// When the worker last printed something, if that was noted.
    pub(crate) fn heard(&self) -> Moment {
        self.reading.heard
    }

    /// The framing that its stderr speaks of, as a phrase; empty: it speaks of none.
    pub(crate) fn mentioned_framing(&self) -> String {
        self.protocol.mentioned(&self.process.last_stderr())
    }
}
