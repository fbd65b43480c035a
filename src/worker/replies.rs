//! Finds the messages in a worker's output, and the request that each of them answers.

use serde_json::value::RawValue;

use super::flights::{Flight, Flights, Match};
use super::outbox::Outbox;
use super::unproven::Unproven;
use super::violation::Violation;
use crate::job::{Failure, Job, PartsConfig, ResultStreak, Value};
use crate::protocol::envelope::{Body, Message};
use crate::protocol::framing::{Scan, Split};
use crate::protocol::{Bulk, Protocol};
use crate::util::clock::Moment;
use crate::util::json::Json;

/// No framing needs more bytes than this before a message.
const LONGEST_HEAD: usize = 4 << 10;

/// A reply of a worker, with the job that it answers.
pub(crate) enum Reply<'a> {
    /// To a single job that may be needed after this. The number is that of
    /// [`Done::unproven`](crate::job::Done::unproven).
    One(Flight, Result<Value<'a>, &'a Failure>, Option<u64>),
    /// The result of a job that nobody needs after this, so that it is not moved. The worker was handed
    /// the job at `start`.
    Result {
        job: &'a Job,
        start: Moment,
        clock: Moment,
        value: Value<'a>,
        /// As that of [`Reply::One`].
        unproven: Option<u64>,
    },
    /// A part of the result of a job that goes on.
    Part { job: &'a Job, part: Value<'a> },
    /// To successive jobs of a bundle of JSON, which the worker was handed at `start`.
    Results { results: ResultStreak<'a>, start: Moment, clock: Moment },
    /// To `count` jobs of a bundle, of which `seq` is the first: one line for each.
    Texts { seq: u64, count: usize, texts: &'a [u8] },
}

/// The effects of a batch of replies.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many jobs have been answered.
    pub(crate) answered: usize,
    /// The id of a request that was answered a second time. That harms no job, since the replies to the
    /// open requests are still to come. But such a worker gets no more jobs.
    pub(crate) stale: Option<u64>,
    /// The worker has answered a request that it has not read.
    pub(crate) is_ahead: bool,
    /// What it has said of jobs that go on, a line each.
    pub(crate) news: Vec<String>,
    /// The worker has said that it works on several jobs at a time.
    pub(crate) is_concurrent: bool,
    /// Parts of results have come.
    pub(crate) has_parts: bool,
}

/// Takes replies out of bytes and hands each to `answer`.
pub(super) struct Receiver<'a, F> {
    pub(super) protocol: &'a Protocol,
    /// How many results are read at once. `None`: they are read one at a time.
    pub(super) bulk: Option<&'static Bulk>,
    /// The longest reply, in bytes.
    pub(super) max_reply: usize,
    /// How many jobs the worker has been given.
    pub(super) requests: u64,
    /// How many it has answered before these bytes.
    pub(super) replies: u64,
    /// How many bytes a worker has read that is at its end. `None`: it is not.
    pub(super) read_at_end: Option<u64>,
    pub(super) now: Moment,
    pub(super) flights: &'a mut Flights,
    pub(super) outbox: &'a mut Outbox,
    pub(super) unproven: &'a mut Unproven,
    pub(super) received: Received,
    pub(super) answer: F,
}

impl<F: FnMut(Reply<'_>)> Receiver<'_, F> {
    /// Takes the first message out of some bytes, or the first lines if lines are replies. Returns how
    /// many bytes it took; 0: there is no whole message.
    pub(super) fn take(&mut self, bytes: &[u8], scan: &mut Scan) -> Result<usize, Violation> {
        let len = self.take_lines(bytes)?;
        if len > 0 {
            return Ok(len);
        }
        // A long message that comes in pieces is looked at only once.
        let len = if scan.seen == 0 { self.take_results(bytes) } else { 0 };
        if len > 0 {
            return Ok(len);
        }
        if self.flights.is_empty() && self.protocol.is_idle_output(bytes) {
            return Ok(bytes.len());
        }
        let (message, next) = match self.protocol.split(bytes, scan) {
            Split::Message { begin, end, next } => (&bytes[begin..end], next),
            Split::More(len) if len > self.max_reply => return Err(self.too_long(len, bytes)),
            // Bytes that are no part of a message, such as blanks, have a limit as well.
            Split::More(_) if bytes.len() > self.max_reply.saturating_add(LONGEST_HEAD) => {
                return Err(self.too_long(0, bytes));
            }
            Split::More(_) => return Ok(0),
            Split::Broken(what) => return Err(Violation::no_message(self.protocol, what, bytes)),
        };
        if message.len() > self.max_reply {
            return Err(Violation::whole_too_long(self.protocol, message, self.max_reply));
        }
        self.read(message, &bytes[next..])?;
        Ok(next)
    }

    fn too_long(&self, len: usize, bytes: &[u8]) -> Violation {
        Violation::too_long(self.protocol, len, bytes, self.max_reply)
    }

    /// Handles a message. `after` are the bytes after it.
    fn read(&mut self, message: &[u8], after: &[u8]) -> Result<(), Violation> {
        match self.protocol.read(message) {
            Ok(Message::Reply { id, outcome }) => {
                let after = if self.protocol.envelope.only_replies { after } else { &[] };
                self.match_reply(id, outcome.as_ref().map(Body::value), message, after)
            }
            Ok(Message::Nothing) => Ok(()),
            Ok(Message::Concurrent) => {
                self.flights.become_unordered();
                self.received.is_concurrent = true;
                Ok(())
            }
            Ok(Message::Part { id, part }) => {
                self.take_part(id, part.as_ref().map(Body::value), message)
            }
            Ok(Message::Progress(line)) => {
                self.received.news.push(line);
                Ok(())
            }
            Ok(Message::Question(answer)) => {
                self.outbox.add_answer(self.protocol, &answer, message)
            }
            Err(what) => Err(Violation::no_reply(self.protocol, what, message, after)),
        }
    }

    /// Takes all whole lines that answer jobs of a bundle of lines. Returns how many bytes it took.
    fn take_lines(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let Some(mut pending) = self.flights.pending_lines() else { return Ok(0) };
        if let Some(read) = self.read_at_end {
            pending = self.flights.pending_lines_begun(read);
            if pending == 0 && !bytes.is_empty() {
                return Err(Violation::early(self.protocol, self.replies, bytes));
            }
        }
        let Some(mut lines) = WholeLines::first(bytes, pending, self.max_reply) else {
            return Ok(0);
        };
        // As for single jobs: after its last reply a worker must print nothing more.
        let is_surplus =
            self.flights.jobs() == lines.count && !bytes[lines.len..].trim_ascii().is_empty();
        if is_surplus {
            lines = lines.without_last(bytes);
        }
        let WholeLines { count, len } = lines;
        if count > 0
            && let Some((seq, place)) = self.flights.next_job()
        {
            self.unproven.add(seq, place, count);
            (self.answer)(Reply::Texts { seq, count, texts: &bytes[..len] });
            self.complete_next(count);
        }
        if is_surplus {
            let end = WholeLines::first(&bytes[len..], 1, usize::MAX).map_or(0, |line| line.len);
            let (message, after) = bytes[len..].split_at(end);
            return Err(Violation::surplus(self.protocol, None, message, after));
        }
        Ok(len)
    }

    /// The next `count` jobs of the oldest request have been answered.
    pub(super) fn complete_next(&mut self, count: usize) {
        self.flights.complete_next(count);
        self.received.answered += count;
    }

    /// Finds the job that a reply answers. `after` are the bytes after the reply.
    fn match_reply(
        &mut self,
        id: Option<u64>,
        outcome: Result<Value<'_>, &Failure>,
        message: &[u8],
        after: &[u8],
    ) -> Result<(), Violation> {
        // After its last reply a worker must print nothing more.
        let is_surplus = self.flights.jobs() == 1 && !after.trim_ascii().is_empty();
        if id.is_none() {
            self.unproven.note_anonymous();
            // Most workers send either all replies with an id or none.
            self.bulk = None;
            if self.is_unread() {
                let bytes = [message, b"\n", after].concat();
                return Err(Violation::early(self.protocol, self.replies, &bytes));
            }
        }
        let found = self.flights.find(id, self.requests);
        let list =
            if self.flights.parts.is_empty() { None } else { self.end_parts(&found, outcome.ok()) };
        let outcome = match (&list, outcome) {
            (Some(list), Ok(_)) if self.flights.parts_config(&found).are_passed_on => {
                Ok(Value::Shown(Json::of(list)))
            }
            (Some(list), Ok(_)) => Ok(Value::Json(Json::of(list))),
            _ => outcome,
        };
        match found {
            Match::NextOfBundle | Match::Flight(_) if is_surplus => {
                let message = [message, b"\n"].concat();
                Err(Violation::surplus(self.protocol, id, &message, after))
            }
            Match::NextOfBundle => {
                self.answer_next(id, outcome);
                Ok(())
            }
            Match::Flight(index) => {
                self.answer_one(index, id, outcome);
                Ok(())
            }
            Match::Stale(id) => {
                self.received.stale = Some(id);
                Ok(())
            }
            Match::Unknown(id) => Err(Violation::unknown_id(id, message)),
            Match::Unasked => Err(Violation::unasked(message)),
        }
    }

    /// Takes a part of a result.
    fn take_part(
        &mut self,
        id: Option<u64>,
        part: Option<Value<'_>>,
        message: &[u8],
    ) -> Result<(), Violation> {
        let found = self.flights.find(id, self.requests);
        let id = match found {
            Match::Stale(_) => return Ok(()),
            Match::Unknown(id) => return Err(Violation::unknown_id(id, message)),
            _ => self.flights.id_of(&found).ok_or_else(|| Violation::unasked(message))?,
        };
        self.received.has_parts = true;
        let config = self.flights.parts_config(&found);
        if self.flights.parts.add(id, part, config) > self.max_reply {
            return Err(Violation::parts_too_long(id, message, self.max_reply));
        }
        if let Some(part) = part {
            self.pass_part_on(&found, part, config);
        }
        Ok(())
    }

    fn pass_part_on(&mut self, found: &Match, part: Value<'_>, config: PartsConfig) {
        if config.are_passed_on {
            let Self { flights, answer, .. } = self;
            flights.look_at(found, |job| answer(Reply::Part { job, part }));
        }
    }

    /// The request is answered. Returns the list of its parts, and of its last result if that is not null.
    fn end_parts(&mut self, found: &Match, last: Option<Value<'_>>) -> Option<Box<RawValue>> {
        let id = self.flights.id_of(found)?;
        let config = self.flights.parts_config(found);
        let list = self.flights.parts.take(id, last, config)?;
        if let Some(last) = last.filter(|last| last.to_json().get() != "null") {
            self.pass_part_on(found, last, config);
        }
        Some(list)
    }

    /// Whether the worker is at its end and has read nothing of its oldest request.
    fn is_unread(&self) -> bool {
        let Some(read) = self.read_at_end else { return false };
        self.flights.oldest_span().is_some_and(|(begins_at, _)| read <= begins_at)
    }

    /// Hands on the reply to the next job of the bundle that is the oldest request.
    fn answer_next(&mut self, id: Option<u64>, outcome: Result<Value<'_>, &Failure>) {
        if id.is_none()
            && let Some((seq, place)) = self.flights.next_job()
        {
            self.unproven.add(seq, place, 1);
        }
        match outcome {
            Ok(value) => {
                if let Some((job, start, clock)) = self.flights.show_next() {
                    (self.answer)(Reply::Result { job, start, clock, value, unproven: None });
                }
            }
            Err(failure) => {
                if let Some(flight) = self.flights.copy_next() {
                    (self.answer)(Reply::One(flight, Err(failure), None));
                }
            }
        }
        self.complete_next(1);
    }

    /// Hands on the reply to a single job.
    fn answer_one(&mut self, index: usize, id: Option<u64>, outcome: Result<Value<'_>, &Failure>) {
        let cancelled = self.flights.take_cancelled(index);
        let outcome = cancelled.as_ref().map_or(outcome, Err);
        let Some(Flight { job, start, clock, .. }) = self.flights.get(index) else { return };
        self.received.answered += 1;
        let mut unproven = None;
        if id.is_none() {
            self.unproven.add(job.seq, job.place, 1);
            for key in job.singles().iter().filter_map(|job| job.key).filter(|_| outcome.is_ok()) {
                unproven = Some(self.unproven.add_key(key, self.now));
            }
        }
        match outcome {
            Ok(value) if job.caller.is_none() && !job.is_joint() => {
                let (start, clock) = (*start, *clock);
                (self.answer)(Reply::Result { job, start, clock, value, unproven });
                self.flights.forget_answered(index);
            }
            outcome => {
                if let Some(flight) = self.flights.take_answered(index) {
                    (self.answer)(Reply::One(flight, outcome, unproven));
                }
            }
        }
    }
}

/// Whole lines at the beginning of some bytes.
#[derive(Clone, Copy, Debug)]
struct WholeLines {
    count: usize,
    /// Their length in bytes, newlines included.
    len: usize,
}

impl WholeLines {
    /// The first `most` whole lines, or as many as there are. `None`: there is none, or the first one
    /// is longer than `longest`.
    fn first(bytes: &[u8], most: usize, longest: usize) -> Option<Self> {
        let mut lines = Self { count: 0, len: 0 };
        for at in memchr::memchr_iter(b'\n', bytes).take(most) {
            if at - lines.len > longest {
                break;
            }
            lines.count += 1;
            lines.len = at + 1;
        }
        (lines.count > 0).then_some(lines)
    }

    /// The same lines of `bytes` without the last one.
    fn without_last(self, bytes: &[u8]) -> Self {
        let len = memchr::memrchr(b'\n', &bytes[..self.len - 1]).map_or(0, |at| at + 1);
        Self { count: self.count - 1, len }
    }
}
