//! The messages that a worker machine has, and how far their jobs are.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use bytes::Bytes;

use super::loss::{BegunMessage, MessageDelivery};
use super::names::Unit;
use super::pace::MessagePace;
use crate::job::Job;
use crate::job::key::{Digest128, Key};

/// A machine that has more jobs than slots looks at them this often.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// If the results of a message have more bytes than this, it is split: each result gets a message of its own.
const MOST_BYTES: usize = 4 << 20;

/// A message with jobs that runs here.
#[derive(Debug)]
pub(super) struct HeldMessage {
    /// What acknowledges it.
    pub(super) message: Message,
    pub(super) unit: Unit,
    pub(super) run: String,
    /// Where each job is in the message.
    pub(super) places: Vec<Range<usize>>,
    pub(super) jobs: Vec<HeldJob>,
    /// How many jobs have neither a result nor come back.
    pub(super) left: usize,
    /// How many bytes of results it has had.
    pub(super) bytes: usize,
    /// Failed jobs, as lines of JSON.
    pub(super) dead: Vec<u8>,
    /// When it came.
    pub(super) since: Instant,
    /// How long its jobs have run, together.
    pub(super) ran: Duration,
    pub(super) delivery: MessageDelivery,
    /// It must be split, or has been split.
    pub(super) is_split: bool,
    /// The message about the split is stored, so each of the other jobs has a result of its own.
    pub(super) is_told: bool,
    /// A task publishes its results and acknowledges it.
    pub(super) is_attended: bool,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeldJob {
    /// It waits or runs.
    Open,
    /// Its result, as frames.
    Done(Bytes),
    /// A result is published: its own, or that of another machine.
    Settled,
    /// It was not run, and is given back.
    Returned,
}

impl HeldMessage {
    pub(super) fn payload(&self) -> &Bytes {
        &self.message.message.payload
    }

    /// The numbers of the jobs for which this is true.
    pub(super) fn which(&self, is: impl Fn(&HeldJob) -> bool) -> Vec<usize> {
        self.jobs.iter().enumerate().filter_map(|(index, job)| is(job).then_some(index)).collect()
    }

    /// How long it is here.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long a machine with this many slots takes for its jobs, without the time that they wait for others.
    pub(super) fn time(&self, slots: usize) -> Duration {
        let at_a_time = slots.clamp(1, self.jobs.len().max(1));
        (self.ran / u32::try_from(at_a_time).unwrap_or(u32::MAX)).min(self.age())
    }
}

/// All messages that run here.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) messages: HashMap<u64, HeldMessage>,
    next: u64,
    /// How many jobs have neither a result nor come back.
    pub(super) open: usize,
    /// When a job was done last, or the first of those came that are open.
    pub(super) moved_at: Option<Instant>,
    /// How long this machine takes for a job.
    pub(super) pace: MessagePace,
}

impl Held {
    /// Adds a message. Returns its number.
    pub(super) fn add(&mut self, message: HeldMessage) -> u64 {
        self.next += 1;
        if self.open == 0 {
            self.moved_at = Some(Instant::now());
        }
        self.open += message.left;
        self.messages.insert(self.next, message);
        self.next
    }

    /// A job of a message begins to run. Returns what is to be noted about that, if it is not noted yet. `runs_one`: no
    /// more than one job runs here at a time.
    pub(super) fn begin(&mut self, id: u64, runs_one: bool) -> Option<BegunMessage> {
        let held = self.messages.get_mut(&id)?;
        held.delivery.is_begun = true;
        if held.delivery.is_noted {
            return None;
        }
        let (unit, number) = (held.unit.clone(), held.delivery.number);
        let is_suspect = held.delivery.is_suspect;
        let has_others = || {
            let mut others = self.messages.iter().filter(|(other, _)| **other != id);
            others.any(|(_, message)| message.delivery.is_begun && message.left > 0)
        };
        let is_alone = is_suspect || (runs_one && !has_others());
        Some(BegunMessage { unit, number, is_alone })
    }

    /// It is noted that a message has begun.
    pub(super) fn noted(&mut self, id: u64) {
        if let Some(held) = self.messages.get_mut(&id) {
            held.delivery.is_noted = true;
        }
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, id: u64) -> Option<HeldMessage> {
        let held = self.messages.remove(&id)?;
        self.open -= held.left;
        Some(held)
    }

    /// A job is over: with a result, or without. Returns the message if it is known and the job was open.
    pub(super) fn close(
        &mut self,
        (id, index): (u64, usize),
        job: HeldJob,
    ) -> Option<&mut HeldMessage> {
        let held = self.messages.get_mut(&id)?;
        if *held.jobs.get(index)? != HeldJob::Open {
            return None;
        }
        if let HeldJob::Done(frames) = &job {
            self.moved_at = Some(Instant::now());
            held.bytes += frames.len();
            held.is_split |= held.bytes > MOST_BYTES && held.jobs.len() > 1;
        }
        held.jobs[index] = job;
        held.left -= 1;
        self.open -= 1;
        Some(held)
    }
}

/// Marks a job with its message and its place there. The pool gives that back with the result.
pub(super) fn mark(job: &mut Job, id: u64, index: usize) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..].copy_from_slice(&(index as u64).to_le_bytes());
    job.key = Some(Key { digest: Digest128(bytes), nth: NonZeroU32::MIN });
}

/// The message of a job, and its place there.
pub(super) fn mark_of(job: &Job) -> Option<(u64, usize)> {
    let bytes = job.key?.digest.0;
    let (id, index) = bytes.split_at(8);
    let index = u64::from_le_bytes(index.try_into().ok()?);
    Some((u64::from_le_bytes(id.try_into().ok()?), usize::try_from(index).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back() {
        let mut job = Job::message(7, b"x");
        assert_eq!(mark_of(&job), None);
        mark(&mut job, u64::MAX, 999);
        assert_eq!(mark_of(&job), Some((u64::MAX, 999)));
    }
}
