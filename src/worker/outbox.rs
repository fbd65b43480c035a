//! The bytes that are to be sent to a worker: requests, notices, and answers to its own questions.

use std::collections::VecDeque;

use super::flights::{RequestEnds, RequestSpan};
use super::violation::Violation;
use crate::job::Job;
use crate::process::{Process, Transfer};
use crate::protocol::Protocol;
use crate::protocol::envelope::code;
use crate::util::buffer::TypicalSize;

/// A worker may leave at most this many bytes of answers to its own questions unread.
const MOST_ANSWERS: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How many of the bytes have been written.
    written: usize,
    /// How many of the bytes are answers to the worker's questions.
    answers: usize,
    /// How many bytes the worker was sent before these.
    sent_before: u64,
    /// The worker has closed its stdin. It can only answer what it has read.
    is_closed: bool,
    size: TypicalSize,
    /// The job of a bundle whose request is being written.
    shown: Job,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            answers: 0,
            sent_before: 0,
            is_closed: false,
            size: TypicalSize::default(),
            shown: Job::new(0, "", "", ""),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes have been written to the worker in all.
    pub(super) fn written(&self) -> u64 {
        self.sent_before + self.written as u64
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.written < self.bytes.len() && !self.is_closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The worker has closed its stdin: nothing more is sent.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Adds the request for a job, or one request for each job of a bundle, with ids from `id` on.
    /// Returns where the requests are among all bytes that the worker is sent.
    ///
    /// # Errors
    /// The job can't be put into a request; the text says why. Nothing is added then.
    pub(super) fn add(
        &mut self,
        protocol: &Protocol,
        id: u64,
        job: &Job,
    ) -> Result<RequestSpan, String> {
        let start = self.bytes.len();
        match self.encode(protocol, id, job) {
            Ok(ends) => Ok(RequestSpan {
                begins_at: self.sent_before + start as u64,
                ends_at: self.end(),
                ends,
            }),
            Err(message) => {
                self.bytes.truncate(start);
                Err(message)
            }
        }
    }

    /// Where the bytes end among all that the worker is sent.
    fn end(&self) -> u64 {
        self.sent_before + self.bytes.len() as u64
    }

    /// Appends the requests. Returns where each ends, for a bundle of JSON.
    fn encode(
        &mut self,
        protocol: &Protocol,
        id: u64,
        job: &Job,
    ) -> Result<Option<Box<RequestEnds>>, String> {
        if let Some(lines) = job.lines() {
            // Lines have their framing already.
            self.bytes.extend_from_slice(lines);
            return Ok(None);
        }
        let count = job.count();
        if count == 1 {
            protocol.write(&mut self.bytes, id, job)?;
            return Ok(None);
        }
        if let Some(ends) = protocol.write_all(&mut self.bytes, id, job) {
            let ends = ends.into_iter().map(|end| self.sent_before + end as u64);
            return Ok(Some(Box::new(RequestEnds(ends.collect()))));
        }
        let mut ends = VecDeque::with_capacity(count);
        for nth in 0..count {
            job.show(nth, &mut self.shown);
            protocol.write(&mut self.bytes, id + nth as u64, &self.shown)?;
            ends.push_back(self.end());
        }
        Ok(Some(Box::new(RequestEnds(ends))))
    }

    /// Adds a message that the worker does not answer.
    ///
    /// # Errors
    /// The protocol has no such message, or this one can't be sent. The text says why.
    pub(super) fn add_notice(&mut self, protocol: &Protocol, job: &Job) -> Result<(), String> {
        let notice = protocol.notice()?;
        let start = self.bytes.len();
        notice(&mut self.bytes, job)?;
        (protocol.framing.seal)(&mut self.bytes, start)
    }

    /// Adds the answer to a question of the worker.
    ///
    /// # Errors
    /// The worker does not read the answers.
    pub(super) fn add_answer(
        &mut self,
        protocol: &Protocol,
        answer: &[u8],
        question: &[u8],
    ) -> Result<(), Violation> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(answer);
        // An answer is JSON on one line. A framing refuses it only if it is too long: then there is no
        // answer.
        match (protocol.framing.seal)(&mut self.bytes, start) {
            Ok(()) => self.answers += self.bytes.len() - start,
            Err(_) => self.bytes.truncate(start),
        }
        if self.answers > MOST_ANSWERS {
            return Err(Violation::unread_answers(question));
        }
        Ok(())
    }

    /// Adds the message that ends a request of a worker that works on several at a time.
    pub(super) fn add_end_of(&mut self, protocol: &Protocol, id: u64) {
        let start = self.bytes.len();
        code::cancel(&mut self.bytes, id);
        if (protocol.framing.seal)(&mut self.bytes, start).is_err() {
            self.bytes.truncate(start);
        }
    }

    /// Adds a message that cancels the request with this id. Returns whether the protocol has one.
    pub(super) fn add_cancel(&mut self, protocol: &Protocol, id: u64) -> bool {
        let Some(cancel) = protocol.envelope.cancel else { return false };
        let start = self.bytes.len();
        cancel(&mut self.bytes, id);
        let is_sealed = (protocol.framing.seal)(&mut self.bytes, start).is_ok();
        if !is_sealed {
            self.bytes.truncate(start);
        }
        is_sealed
    }

    /// Writes as much as the worker takes now. `Closed`: the worker has closed its stdin.
    pub(super) fn send(&mut self, process: &Process) -> Transfer {
        while self.has_unsent() {
            match process.write(&self.bytes[self.written..]) {
                Transfer::Moved(count) => self.written += count,
                other => return other,
            }
        }
        self.sent_before = self.end();
        self.size.empty(&mut self.bytes);
        self.written = 0;
        self.answers = 0;
        Transfer::Blocked
    }
}
