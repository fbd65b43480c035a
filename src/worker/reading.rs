//! How much of its requests a worker has read. The time of a job does not begin before its worker has
//! read the request.

use std::time::Duration;

use super::flights::Flights;
use crate::util::clock::Moment;

/// The first check whether a request has been read comes after this time, or after a tenth of the
/// timeout if that is less.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// The time from one check to the next grows up to this.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A worker that prints more than this before it has read anything is no longer starting.
const FLOOD: usize = 1 << 20;

/// How much of its oldest request a worker has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Nothing,
    Some,
    All,
}

impl Reading {
    /// How much of a request a worker has read. `span` is where the request is among all bytes sent.
    /// The worker has read `read` of these.
    pub(super) fn of(span: (u64, u64), read: u64) -> Self {
        let (begins_at, ends_at) = span;
        if read <= begins_at {
            Self::Nothing
        } else if read < ends_at {
            Self::Some
        } else {
            Self::All
        }
    }
}

/// How much of its requests a worker has read.
#[derive(Debug)]
pub(super) struct ReadProgress {
    /// When it was last checked how much the worker had read.
    looked: Moment,
    /// When the worker last printed something, if that is of interest.
    pub(super) heard: Moment,
    /// How many bytes the worker had read then.
    read: u64,
    /// The request of the oldest job has been read. If the worker answers out of order: all requests.
    is_read: bool,
    /// At the last check, the worker had read nothing of the oldest job's request.
    is_unread: bool,
    /// The worker has read something, or has answered: it has started.
    has_started: bool,
    /// About how many bytes the worker printed before it had started.
    printed_early: usize,
    /// How many bytes the worker had read when it was at its end. `None`: it is not at its end, or the
    /// system does not say.
    at_end: Option<u64>,
}

impl ReadProgress {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            looked: now,
            heard: now,
            read: 0,
            is_read: false,
            is_unread: false,
            has_started: false,
            printed_early: 0,
            at_end: None,
        }
    }

    /// The worker is at its end, and has read this many bytes.
    pub(super) fn note_end(&mut self, bytes_read: Option<u64>) {
        self.at_end = bytes_read;
    }

    /// How many bytes the worker had read when it was at its end. `None`: it is not at its end, or the
    /// system does not say.
    pub(super) fn at_end(&self) -> Option<u64> {
        self.at_end
    }

    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    pub(super) fn is_unread(&self) -> bool {
        self.is_unread
    }

    pub(super) fn has_started(&self) -> bool {
        self.has_started
    }

    /// Another job is the oldest.
    pub(super) fn begin_turn(&mut self, now: Moment) {
        self.looked = now;
        self.is_read = false;
        self.is_unread = false;
    }

    /// The worker has answered.
    pub(super) fn note_reply(&mut self) {
        self.has_started = true;
    }

    /// The worker has printed this many bytes.
    pub(super) fn note_output(&mut self, count: usize) {
        if !self.has_started {
            self.printed_early = self.printed_early.saturating_add(count);
        }
    }

    /// Whether the worker prints much although it has read nothing.
    pub(super) fn is_flooding(&self) -> bool {
        !self.has_started && self.printed_early > FLOOD
    }

    /// When to check again how much has been read. `timeout` is that of the oldest job, which became
    /// the oldest when `turn_began`.
    pub(super) fn next_look(&self, turn_began: Moment, timeout: Duration) -> Moment {
        if self.is_read {
            return Moment::NEVER;
        }
        let wait = self.looked.since(turn_began) / 8;
        self.looked.after(wait.clamp(FIRST_LOOK.min(timeout / 10), LAST_LOOK))
    }

    /// Notes that the worker has read `read` bytes. The time of a job whose request has not been read
    /// begins again. It runs on if the worker has read a part of the request and reads no more.
    pub(super) fn look(
        &mut self,
        flights: &mut Flights,
        read: u64,
        turn_began: Moment,
        now: Moment,
    ) {
        let Some((begins_at, ends_at)) = flights.oldest_span() else { return };
        let before = self.read;
        let is_read = read >= ends_at;
        // A request that is found read at the first check was read at once, unless the worker was
        // starting.
        let is_late = self.looked > turn_began || !self.has_started;
        self.has_started |= read > begins_at;
        self.is_unread = read <= begins_at;
        let is_new = if is_read { is_late && before < ends_at } else { read > before };
        if self.is_unread || is_new {
            flights.restart_oldest(now);
        }
        flights.restart_younger(now, before, read);
        self.is_read = is_read && (!flights.is_unordered() || read >= flights.end());
        self.looked = now;
        self.read = read;
    }
}
