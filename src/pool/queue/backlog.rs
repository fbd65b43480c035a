//! The jobs that wait: those that can run now, in the order of the input, the calls, and those that are
//! to be tried again later. Owns the limits on how many jobs wait.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::calls::{Left, WaitingCalls};
use super::turns::Turns;
use crate::job::Job;
use crate::job::call::{self, OpenCall};
use crate::job::caller::Waits;
use crate::util::clock::Moment;

/// The queue is full with this many jobs, or with 64 for each slot if that is more.
pub(super) const MAX_JOBS: usize = 4096;

/// The queue is full with jobs of this many bytes.
const MAX_BYTES: usize = 4 << 20;

/// The queue is also full while this many jobs wait to be tried again.
const MAX_LATER: usize = 1 << 16;

/// The queue is also full while jobs of this many bytes wait to be tried again.
const MAX_LATER_BYTES: usize = 16 << 20;

/// All jobs that no slot has taken.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The jobs that can run now. An entry may be a bundle of several jobs.
    pub(super) jobs: Turns,
    /// The calls that can run now.
    calls: WaitingCalls,
    /// The jobs that are to be tried again.
    later: Later,
    /// How many slots there are.
    slots: usize,
    /// The most entries that `jobs` should have.
    max_jobs: usize,
}

impl Backlog {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            jobs: Turns::default(),
            calls: WaitingCalls::default(),
            later: Later::default(),
            slots,
            max_jobs: MAX_JOBS.max(slots * 64),
        }
    }

    /// Whether feeders must wait.
    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= self.max_jobs || self.jobs.bytes() >= MAX_BYTES || self.later.is_full()
    }

    /// Whether there is room for many jobs: feeders are not woken for a single one.
    pub(super) fn has_much_room(&self) -> bool {
        self.jobs.len() <= self.max_jobs / 2
            && self.jobs.bytes() <= MAX_BYTES / 2
            && !self.is_full()
    }

    /// Whether no job can run now.
    pub(super) fn has_none_now(&self) -> bool {
        self.jobs.is_empty() && self.calls.len() == 0
    }

    /// Whether no job can run now at this slot.
    pub(super) fn has_none_for(&self, slot: usize) -> bool {
        self.jobs.is_empty() && self.calls.has_none_for(slot)
    }

    /// How many calls can run now.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether no job is to be tried again.
    pub(super) fn has_none_later(&self) -> bool {
        self.later.len() == 0
    }

    /// Whether no job waits at all.
    pub(super) fn is_empty(&self) -> bool {
        self.has_none_now() && self.has_none_later()
    }

    /// How many jobs can run now. Each job of a bundle counts.
    pub(super) fn queued(&self) -> usize {
        self.jobs.jobs() + self.calls.len()
    }

    /// How many jobs wait at all.
    pub(super) fn waiting(&self) -> usize {
        self.queued() + self.later.len()
    }

    /// Appends all jobs of a batch.
    pub(super) fn append(&mut self, batch: &mut Vec<Job>) {
        self.jobs.append(batch);
    }

    /// Appends a call.
    pub(super) fn append_call(&mut self, call: Arc<OpenCall>) {
        self.calls.append(call, self.slots);
    }

    /// Puts a job at the head.
    pub(super) fn prepend(&mut self, job: Job) {
        let job = match job.into_call(Waits::Now) {
            Ok(Some(call)) => return self.calls.prepend(call, self.slots),
            Ok(None) => return,
            Err(job) => *job,
        };
        self.jobs.prepend(job);
    }

    /// Moves up to `count` jobs for a slot to `into`, about `max_bytes` of them. Returns how many jobs were
    /// moved, and how many places in a queue with a bound they had.
    pub(super) fn take(
        &mut self,
        slot: usize,
        count: usize,
        max_bytes: usize,
        into: &mut VecDeque<Job>,
    ) -> (usize, usize) {
        let (mut taken, mut places) = (0, 0);
        let mut room = max_bytes;
        while taken < count
            && (taken == 0 || room > 0)
            && let Some((job, has_place)) = self.calls.take(slot)
        {
            room = room.saturating_sub(job.size());
            taken += 1;
            places += usize::from(has_place);
            into.push_back(job);
        }
        if taken == 0 {
            taken = self.jobs.take(count, max_bytes, into);
        }
        (taken, places)
    }

    /// Keeps a job that is to be tried again when it is due.
    pub(super) fn put_off(&mut self, job: Job, due: Moment) {
        self.later.put(job, due);
    }

    /// When the next job is to be tried again.
    pub(super) fn next_due(&self) -> Moment {
        self.later.heap.peek().map_or(Moment::NEVER, |retry| retry.due)
    }

    /// Moves the jobs that are due to the head. Returns how many there were.
    pub(super) fn requeue_due(&mut self, now: Moment) -> usize {
        let mut count = 0;
        while let Some(waiting) = self.later.pop_due(now) {
            match waiting {
                LaterJob::Fed(job) => self.jobs.prepend(job),
                LaterJob::OfCall(call) => self.calls.prepend(call, self.slots),
            }
            count += 1;
        }
        count
    }

    /// A call was dropped that waited here.
    pub(super) fn call_dropped(&mut self, shelf: Waits) {
        match shelf {
            Waits::Now => self.calls.one_dropped(),
            Waits::Later => self.later.one_dropped(),
        }
    }

    /// Many calls were dropped at once. Returns whether any of them waited here.
    pub(super) fn forget_dropped(&mut self) -> bool {
        let is_any_now = self.calls.forget_dropped();
        self.later.forget_dropped() || is_any_now
    }

    /// Removes the calls that have waited for as long as they may, as [`WaitingCalls::expire`].
    pub(super) fn expire(&mut self, now: Moment) -> (Left, Moment) {
        self.calls.expire(now)
    }

    /// The calls of a slot that has no thread go to any other.
    pub(super) fn rehome(&mut self, slot: usize) {
        self.calls.rehome(slot);
    }

    /// Removes all jobs.
    pub(super) fn remove_all(&mut self) -> Left {
        let Left { jobs: of_calls, places } = self.calls.remove_all();
        let jobs = self.jobs.remove_all();
        let jobs = jobs.chain(of_calls).chain(std::mem::take(&mut self.later).into_jobs());
        Left { jobs: jobs.collect(), places }
    }

    /// The bytes of the jobs that can run now, those of the jobs to be tried again, and the count of
    /// bundled jobs.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let (bytes, bundled) = self.jobs.sizes();
        (bytes, self.later.bytes, bundled)
    }
}

/// The jobs that are to be tried again.
#[derive(Debug, Default)]
struct Later {
    heap: BinaryHeap<Retry>,
    bytes: usize,
    /// How many calls in the heap were dropped.
    dropped: usize,
}

/// A job that is to be tried again.
#[derive(Debug)]
enum LaterJob {
    Fed(Job),
    OfCall(Arc<OpenCall>),
}

impl Later {
    /// How many there are, without those of calls that were dropped.
    fn len(&self) -> usize {
        self.heap.len() - self.dropped
    }

    fn is_full(&self) -> bool {
        self.len() >= MAX_LATER || self.bytes >= MAX_LATER_BYTES
    }

    fn put(&mut self, job: Job, due: Moment) {
        let (seq, size) = (job.seq, job.size());
        let job = match job.into_call(Waits::Later) {
            Ok(Some(call)) => LaterJob::OfCall(call),
            Ok(None) => return,
            Err(job) => LaterJob::Fed(*job),
        };
        self.bytes += size;
        self.heap.push(Retry { due, seq, size, job });
    }

    fn pop_due(&mut self, now: Moment) -> Option<LaterJob> {
        while self.heap.peek()?.due <= now {
            let Retry { job, size, .. } = self.heap.pop()?;
            self.bytes -= size;
            if job.is_wanted() {
                return Some(job);
            }
            // Nobody waits for it any more.
            self.dropped = self.dropped.saturating_sub(1);
        }
        None
    }

    fn one_dropped(&mut self) {
        self.dropped += 1;
        // A search for each dropped call would take long where there are many jobs.
        if self.dropped * 2 > self.heap.len() {
            self.forget_dropped();
        }
    }

    /// Removes the jobs that nobody waits for any more. Returns whether there were any.
    fn forget_dropped(&mut self) -> bool {
        let before = self.heap.len();
        self.heap.retain(|retry| retry.job.is_wanted());
        self.bytes = self.heap.iter().map(|retry| retry.size).sum();
        self.dropped = 0;
        self.heap.len() < before
    }

    fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.heap.into_iter().filter_map(|retry| match retry.job {
            LaterJob::Fed(job) => Some(job),
            LaterJob::OfCall(call) => call::start(call, usize::MAX).map(|(job, _)| job),
        })
    }
}

impl LaterJob {
    fn is_wanted(&self) -> bool {
        match self {
            Self::Fed(_) => true,
            Self::OfCall(call) => call.is_waiting(),
        }
    }
}

/// A job that is to be tried again when it is due. A heap has the earliest first.
#[derive(Debug)]
struct Retry {
    due: Moment,
    seq: u64,
    size: usize,
    job: LaterJob,
}

impl Ord for Retry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.seq).cmp(&(self.due, self.seq))
    }
}

impl PartialOrd for Retry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Retry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Retry {}
