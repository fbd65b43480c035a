//! The jobs that wait: those that can run now, in the order of the input, and those that are to be
//! tried again later. Owns the limits on how many jobs wait.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use crate::job::Job;
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
    jobs: VecDeque<Job>,
    /// How many jobs the entries of `jobs` have besides their first ones.
    bundled: usize,
    /// The bytes of the jobs in `jobs`.
    bytes: usize,
    /// The jobs that are to be tried again.
    later: Later,
    /// The most entries that `jobs` should have.
    max_jobs: usize,
}

impl Backlog {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            bundled: 0,
            bytes: 0,
            later: Later::default(),
            max_jobs: MAX_JOBS.max(slots * 64),
        }
    }

    /// Whether feeders must wait.
    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() >= self.max_jobs || self.bytes >= MAX_BYTES || self.later.is_full()
    }

    /// Whether there is room for many jobs: feeders are not woken for a single one.
    pub(super) fn has_much_room(&self) -> bool {
        self.jobs.len() <= self.max_jobs / 2 && self.bytes <= MAX_BYTES / 2 && !self.is_full()
    }

    /// Whether no job can run now.
    pub(super) fn has_none_now(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether no job is to be tried again.
    pub(super) fn has_none_later(&self) -> bool {
        self.later.heap.is_empty()
    }

    /// Whether no job waits at all.
    pub(super) fn is_empty(&self) -> bool {
        self.has_none_now() && self.has_none_later()
    }

    /// How many jobs can run now. Each job of a bundle counts.
    pub(super) fn queued(&self) -> usize {
        self.jobs.len() + self.bundled
    }

    /// How many jobs wait at all.
    pub(super) fn waiting(&self) -> usize {
        self.queued() + self.later.heap.len()
    }

    /// Appends all jobs of a batch.
    pub(super) fn append(&mut self, batch: &mut Vec<Job>) {
        self.bytes += batch.iter().map(Job::size).sum::<usize>();
        self.bundled += batch.iter().map(bundled).sum::<usize>();
        self.jobs.extend(batch.drain(..));
    }

    /// Puts a job at the head.
    pub(super) fn prepend(&mut self, job: Job) {
        self.bytes += job.size();
        self.bundled += bundled(&job);
        self.jobs.push_front(job);
    }

    /// Moves up to `count` jobs to `into`, about `max_bytes` of them. Returns how many jobs were moved.
    pub(super) fn take(
        &mut self,
        count: usize,
        max_bytes: usize,
        into: &mut VecDeque<Job>,
    ) -> usize {
        let mut bytes = 0;
        let mut taken = 0;
        while taken < count
            && let Some((job, size)) = self.next(count - taken)
        {
            bytes += size;
            taken += job.count();
            into.push_back(job);
            if bytes >= max_bytes {
                break;
            }
        }
        self.bytes -= bytes;
        taken
    }

    /// Takes up to `most` of the last jobs that can run now.
    pub(super) fn take_last(&mut self, most: usize) -> Vec<Job> {
        let mut taken = Vec::new();
        let mut left = most;
        while left > 0
            && let Some(mut job) = self.jobs.pop_back()
        {
            self.bytes -= job.size();
            self.bundled -= bundled(&job);
            if let Some(stays) = job.count().checked_sub(left).filter(|stays| *stays > 0) {
                let first = job.split_off_first(stays);
                self.bytes += first.size();
                self.bundled += bundled(&first);
                self.jobs.push_back(first);
            }
            left -= job.count();
            taken.push(job);
        }
        taken.reverse();
        taken
    }

    /// Takes the first entry, or the first `most` jobs of a bundle that has more. Also returns how many
    /// bytes that frees: a job that is split off a bundle is smaller than it was in the bundle.
    fn next(&mut self, most: usize) -> Option<(Job, usize)> {
        let front = self.jobs.front_mut()?;
        let bundled_before = bundled(front);
        let size_before = front.size();
        if front.count() <= most {
            self.bundled -= bundled_before;
            return Some((self.jobs.pop_front()?, size_before));
        }
        let job = front.split_off_first(most);
        self.bundled -= bundled_before - bundled(front);
        Some((job, size_before - front.size()))
    }

    /// Keeps a job that is to be tried again when it is due.
    pub(super) fn put_off(&mut self, job: Job, due: Moment) {
        self.later.bytes += job.size();
        self.later.heap.push(Retry { due, job });
    }

    /// When the next job is to be tried again.
    pub(super) fn next_due(&self) -> Moment {
        self.later.heap.peek().map_or(Moment::NEVER, |retry| retry.due)
    }

    /// Moves the jobs that are due to the head. Returns how many there were.
    pub(super) fn requeue_due(&mut self, now: Moment) -> usize {
        let mut count = 0;
        while let Some(job) = self.later.pop_due(now) {
            self.bytes += job.size();
            self.jobs.push_front(job);
            count += 1;
        }
        count
    }

    /// Nobody waits any more for the jobs of `calls` more calls. Returns whether that removed any job.
    pub(super) fn calls_dropped(&mut self, calls: usize) -> bool {
        self.later.calls_dropped(calls)
    }

    /// Removes all jobs.
    pub(super) fn remove_all(&mut self) -> VecDeque<Job> {
        self.bundled = 0;
        self.bytes = 0;
        self.later.bytes = 0;
        let later = std::mem::take(&mut self.later.heap).into_iter().map(|retry| retry.job);
        std::mem::take(&mut self.jobs).into_iter().chain(later).collect()
    }

    /// The bytes of the jobs that can run now, those of the jobs to be tried again, and the count of
    /// bundled jobs.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.bytes, self.later.bytes, self.bundled)
    }
}

/// How many jobs a bundle has besides the first one.
fn bundled(job: &Job) -> usize {
    job.count() - 1
}

/// The jobs that are to be tried again.
#[derive(Debug, Default)]
struct Later {
    heap: BinaryHeap<Retry>,
    bytes: usize,
    /// How many calls were dropped since the heap was last searched for their jobs.
    dropped: usize,
}

impl Later {
    fn is_full(&self) -> bool {
        self.heap.len() >= MAX_LATER || self.bytes >= MAX_LATER_BYTES
    }

    fn pop_due(&mut self, now: Moment) -> Option<Job> {
        if self.heap.peek()?.due > now {
            return None;
        }
        let job = self.heap.pop()?.job;
        self.bytes -= job.size();
        Some(job)
    }

    fn calls_dropped(&mut self, calls: usize) -> bool {
        self.dropped = self.dropped.saturating_add(calls);
        // A search for each dropped call would take long where there are many jobs.
        self.dropped.saturating_mul(2) > self.heap.len() && self.forget_dropped()
    }

    /// Removes the jobs that nobody waits for any more. Returns whether there were any.
    fn forget_dropped(&mut self) -> bool {
        let before = self.heap.len();
        let mut bytes = 0;
        self.heap.retain(|retry| {
            let is_wanted = !retry.job.is_abandoned();
            bytes += if is_wanted { retry.job.size() } else { 0 };
            is_wanted
        });
        self.bytes = bytes;
        self.dropped = 0;
        self.heap.len() < before
    }
}

/// A job that is to be tried again when it is due. A heap has the earliest first.
#[derive(Debug)]
struct Retry {
    due: Moment,
    job: Job,
}

impl Ord for Retry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.job.seq).cmp(&(self.due, self.job.seq))
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
