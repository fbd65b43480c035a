//! A persistent worker: a process, the requests it has been given, and the replies as they come.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use crate::clock::Moment;
use crate::job::{Failure, Job};
use crate::process::{Process, Progress};
use crate::protocol::{line, procpool};

/// How much of an emptied buffer is kept for the next messages.
const KEEP: usize = 256 << 10;

/// A job at a worker.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) job: Job,
    /// When it was handed to the worker.
    pub(crate) start: Moment,
    id: u64,
    /// Where its request begins in all that the worker has been sent.
    begins_at: u64,
}

/// A worker did what no worker may do. The oldest job is charged with it.
#[derive(Debug)]
pub(crate) struct Violation {
    /// What is wrong, as a phrase.
    pub(crate) what: String,
    /// The offending bytes.
    pub(crate) bytes: Vec<u8>,
}

/// What the replies in one batch came to.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many jobs have been answered.
    pub(crate) answered: usize,
    /// A reply to a request that had its reply already. It harms no job, since the others still
    /// have theirs to come, but such a worker is not to be trusted with more.
    pub(crate) stale: Option<u64>,
}

/// A worker and what it has been asked.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) flights: VecDeque<Flight>,
    /// How many jobs it has been given.
    pub(crate) requests: u64,
    /// How many of them it has answered.
    pub(crate) replies: u64,
    /// It gets no more jobs.
    pub(crate) finished: bool,
    /// When the oldest job became the one that the worker is on.
    pub(crate) turn_began: Moment,
    /// How many start-up failures had been counted when it was started.
    pub(crate) failures_before: u32,
    outbox: Vec<u8>,
    /// How much of the outbox has been written.
    written: usize,
    /// How many bytes the worker was sent before those in the outbox.
    sent_before: u64,
    inbox: Vec<u8>,
    /// How much of the inbox is known to hold no end of a message.
    seen: usize,
}

impl Worker {
    pub(crate) fn new(process: Process, now: Moment, failures_before: u32) -> Self {
        Self {
            process,
            flights: VecDeque::new(),
            requests: 0,
            replies: 0,
            finished: false,
            turn_began: now,
            failures_before,
            outbox: Vec::new(),
            written: 0,
            sent_before: 0,
            inbox: Vec::new(),
            seen: 0,
        }
    }

    /// Takes a job on: its request goes to the outbox.
    pub(crate) fn accept(&mut self, job: Job, now: Moment) {
        if self.flights.is_empty() {
            self.turn_began = now;
        }
        self.requests += 1;
        let begins_at = self.sent_before + self.outbox.len() as u64;
        procpool::request(&mut self.outbox, self.requests, &job);
        self.outbox.push(b'\n');
        self.flights.push_back(Flight { job, start: now, id: self.requests, begins_at });
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.written < self.outbox.len()
    }

    /// Writes as much of the outbox as the worker takes now. `Closed`: it takes no more, ever.
    pub(crate) fn send(&mut self) -> Progress {
        while self.has_unsent() {
            match self.process.write(&self.outbox[self.written..]) {
                Progress::Moved(count) => self.written += count,
                other => return other,
            }
        }
        self.sent_before += self.outbox.len() as u64;
        self.outbox.clear();
        self.outbox.shrink_to(KEEP);
        self.written = 0;
        Progress::Blocked
    }

    /// Reads what the worker has printed, once.
    pub(crate) fn read(&mut self) -> Progress {
        self.process.read(&mut self.inbox)
    }

    /// Takes the whole replies out of the inbox and hands each on with the job it answers.
    pub(crate) fn receive(
        &mut self,
        max_reply: usize,
        now: Moment,
        mut answer: impl FnMut(Flight, Result<&RawValue, &Failure>),
    ) -> Result<Received, Violation> {
        let mut received = Received::default();
        let mut at = 0;
        let outcome = loop {
            let rest = &self.inbox[at..];
            let Some(frame) = line::split(rest, self.seen) else {
                self.seen = rest.len();
                break match self.seen > max_reply {
                    true => Err(too_long(rest, max_reply)),
                    false => Ok(()),
                };
            };
            let (message, behind) = (&rest[..frame.len], &rest[frame.next..]);
            if frame.len > max_reply {
                break Err(too_long(message, max_reply));
            }
            if !message.trim_ascii().is_empty() {
                match find(&mut self.flights, message, self.requests, behind) {
                    Ok(Match::Flight(flight, reply)) => {
                        self.replies += 1;
                        self.turn_began = now;
                        received.answered += 1;
                        match reply.outcome {
                            Ok(result) => answer(flight, Ok(result)),
                            Err(error) => answer(flight, Err(&procpool::failure(error))),
                        }
                    }
                    Ok(Match::Stale(id)) => {
                        received.stale = Some(id);
                        self.finished = true;
                    }
                    Err(violation) => break Err(violation),
                }
            }
            at += frame.next;
            self.seen = 0;
        };
        self.inbox.drain(..at);
        if self.inbox.is_empty() {
            self.inbox.shrink_to(KEEP);
        }
        outcome.map(|()| received)
    }

    /// What was printed last and is no whole message.
    pub(crate) fn rest(&self) -> &[u8] {
        self.inbox.trim_ascii()
    }

    /// Whether the worker has read anything of its oldest request. Where that can't be told, it
    /// has.
    pub(crate) fn has_begun(&self) -> bool {
        let Some(flight) = self.flights.front() else {
            return false;
        };
        match self.process.unread() {
            Some(unread) => self.sent_before + self.written as u64 - unread > flight.begins_at,
            None => true,
        }
    }
}

enum Match<'a> {
    Flight(Flight, procpool::Reply<'a>),
    Stale(u64),
}

/// Finds the job that a message answers. `behind` is what was printed after it.
fn find<'a>(
    flights: &mut VecDeque<Flight>,
    message: &'a [u8],
    requests: u64,
    behind: &[u8],
) -> Result<Match<'a>, Violation> {
    let violation = |what: String| Violation { what, bytes: message.to_vec() };
    let reply = procpool::reply(message)
        .map_err(|what| violation(format!("what it printed is no reply: {what}")))?;
    let at = match reply.id {
        None => Some(0),
        Some(id) => flights.iter().position(|flight| flight.id == id),
    };
    match (at.filter(|&at| at < flights.len()), reply.id) {
        (Some(_), _) if flights.len() == 1 && !behind.trim_ascii().is_empty() => Err(Violation {
            what: "it printed more than one reply to one request".into(),
            bytes: [message, b"\n", behind].concat(),
        }),
        (Some(at), _) => match flights.remove(at) {
            Some(flight) => Ok(Match::Flight(flight, reply)),
            None => Err(violation("its reply answers no request".into())),
        },
        (None, Some(id)) if (1..=requests).contains(&id) => Ok(Match::Stale(id)),
        (None, Some(id)) => Err(violation(format!("its reply has an unknown id, {id}"))),
        (None, None) => Err(violation("it printed a reply without being asked".into())),
    }
}

fn too_long(bytes: &[u8], max_reply: usize) -> Violation {
    Violation {
        what: format!("its reply is longer than the limit of {max_reply} bytes (--max-reply)"),
        bytes: bytes[..bytes.len().min(200)].to_vec(),
    }
}
