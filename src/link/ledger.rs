//! The ledger: the jobs that an agent has, those of them that it has begun, and the fate of each when
//! the agent is lost. Each job leaves it exactly once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::job::Job;
use crate::util::clock::Moment;

/// No bundle has more jobs.
const MOST_AT_ONCE: u64 = 1 << 20;

/// Where a slot has taken jobs this many times, those that are over are looked for.
const MANY_TAKINGS: usize = 64;

/// The jobs that an agent has.
#[derive(Debug, Default)]
pub(crate) struct JobLedger {
    /// By the number of the first job of a bundle.
    sent: BTreeMap<u64, Sent>,
    /// The jobs that each slot has taken, in order: the first number and the count. Some are over.
    taken: HashMap<u64, VecDeque<Taking>>,
    unfinished: usize,
    begun: usize,
    bytes: usize,
}

/// Successive jobs that a slot has taken.
#[derive(Clone, Copy, Debug)]
struct Taking {
    first: u64,
    count: u64,
    since: Moment,
}

impl Taking {
    fn all(self) -> std::ops::Range<u64> {
        self.first..self.first + self.count
    }
}

/// A job or a bundle that was sent.
#[derive(Debug)]
struct Sent {
    job: Job,
    over: Bits,
    begun: Bits,
    /// How many of its jobs are not over.
    left: usize,
}

/// A job that is over.
#[derive(Debug)]
pub(crate) enum Finished {
    /// It was sent alone.
    Alone(Box<Job>),
    /// It is one of a bundle. The caller's scratch has its texts.
    OfBundle,
}

/// The jobs of an agent that was lost.
#[derive(Debug, Default)]
pub(crate) struct LostJobs {
    /// Those that its slots ran.
    pub(crate) ran: Vec<Job>,
    /// Those that had not begun.
    pub(crate) waited: Vec<Job>,
}

impl JobLedger {
    /// How many jobs are not over.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// How many jobs no slot has taken.
    pub(crate) fn waiting(&self) -> usize {
        self.unfinished - self.begun
    }

    /// How many bytes the jobs have that are not over, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A job was sent.
    pub(crate) fn send(&mut self, job: Job) {
        let left = job.count();
        self.unfinished += left;
        self.bytes += job.size();
        self.sent
            .insert(job.seq, Sent { job, over: Bits::default(), begun: Bits::default(), left });
    }

    fn find(&mut self, seq: u64) -> Option<(&mut Sent, usize)> {
        let (first, sent) = self.sent.range_mut(..=seq).next_back()?;
        let nth = usize::try_from(seq - first).ok()?;
        (nth < sent.job.count()).then_some((sent, nth))
    }

    fn is_over(&self, seq: u64) -> bool {
        let Some((first, sent)) = self.sent.range(..=seq).next_back() else { return true };
        let nth = usize::try_from(seq - first).unwrap_or(usize::MAX);
        nth >= sent.job.count() || sent.over.has(nth)
    }

    /// A slot of the agent has taken these jobs.
    pub(crate) fn begin(&mut self, slot: u64, seq: u64, count: u64, now: Moment) {
        let mut known = 0;
        for one in seq..seq.saturating_add(count) {
            let Some((sent, nth)) = self.find(one) else { break };
            if !sent.over.has(nth) && sent.begun.set(nth) {
                self.begun += 1;
            }
            known += 1;
        }
        let mut taken = self.taken.remove(&slot).unwrap_or_default();
        // Most slots finish jobs in order, so the last one is the last to be over.
        while taken.front().is_some_and(|taking| taking.all().rev().all(|one| self.is_over(one))) {
            taken.pop_front();
        }
        // Behind a slow job of a worker that works on several, many may be over.
        if taken.len() >= MANY_TAKINGS && taken.len().is_power_of_two() {
            taken.retain(|taking| taking.all().any(|one| !self.is_over(one)));
        }
        if known > 0 {
            taken.push_back(Taking { first: seq, count: known, since: now });
        }
        self.taken.insert(slot, taken);
    }

    /// A job that the agent has, if it was sent alone.
    pub(crate) fn alone(&self, seq: u64) -> Option<&Job> {
        self.sent.get(&seq).map(|sent| &sent.job).filter(|job| job.count() == 1)
    }

    /// Calls `look` with a job that is not over, alone.
    pub(crate) fn look_at(&self, seq: u64, look: impl FnOnce(&Job)) {
        let Some((first, sent)) = self.sent.range(..=seq).next_back() else { return };
        match usize::try_from(seq - first) {
            _ if self.is_over(seq) => {}
            Ok(nth) if sent.job.count() > 1 => look(&sent.job.one(nth)),
            _ => look(&sent.job),
        }
    }

    /// The jobs of calls that were dropped.
    pub(crate) fn abandoned(&self) -> impl Iterator<Item = u64> {
        self.sent.values().filter(|sent| sent.job.is_abandoned()).map(|sent| sent.job.seq)
    }

    /// Calls `each` with the jobs that each slot is on, `at_a_time` at most, and since when.
    pub(crate) fn each_running(&self, at_a_time: usize, mut each: impl FnMut(u64, &Job, Moment)) {
        for (&slot, taken) in &self.taken {
            for (seq, since) in self.on(taken, at_a_time) {
                self.look_at(seq, |job| each(slot, job, since));
            }
        }
    }

    /// The jobs of those that a slot has taken that it may be on, `at_a_time` at most, and since when. A suspect is alone
    /// in its process.
    fn on<'a>(
        &'a self,
        taken: &'a VecDeque<Taking>,
        at_a_time: usize,
    ) -> impl Iterator<Item = (u64, Moment)> + 'a {
        let all = taken.iter().flat_map(|taking| taking.all().map(|seq| (seq, taking.since)));
        let mut left = all.filter(|&(seq, _)| !self.is_over(seq));
        let first = left.next();
        let is_alone = first.is_some_and(|(seq, _)| self.is_suspect(seq));
        let others = left.take(at_a_time.saturating_sub(1));
        let others = others.take_while(move |&(seq, _)| !is_alone && !self.is_suspect(seq));
        first.into_iter().chain(others)
    }

    fn is_suspect(&self, seq: u64) -> bool {
        let sent = self.sent.range(..=seq).next_back();
        sent.is_some_and(|(_, sent)| sent.job.is_suspect)
    }

    /// A job is over. `None`: the agent does not have it. For a job of a bundle, `scratch` is made equal
    /// to it.
    pub(crate) fn finish(&mut self, seq: u64, scratch: &mut Job) -> Option<Finished> {
        let (sent, nth) = self.find(seq)?;
        if sent.over.has(nth) {
            return None;
        }
        let is_alone = sent.job.count() == 1;
        if !is_alone {
            if sent.job.lines().is_some() {
                *scratch = sent.job.one(nth);
            } else {
                sent.job.show(nth, scratch);
                scratch.attempt = sent.job.attempt;
            }
        }
        let removed = self.mark_over(seq);
        Some(match removed.filter(|_| is_alone) {
            Some(job) => Finished::Alone(Box::new(job)),
            None => Finished::OfBundle,
        })
    }

    /// The jobs of a range are over. Returns whether the agent had all of them.
    pub(crate) fn finish_range(&mut self, seq: u64, count: u64) -> bool {
        (seq..seq.saturating_add(count)).all(|one| {
            let has_it = !self.is_over(one);
            if has_it {
                self.mark_over(one);
            }
            has_it
        })
    }

    /// Marks one job as over. Returns the job or bundle that was sent if all of it is over.
    fn mark_over(&mut self, seq: u64) -> Option<Job> {
        let (sent, nth) = self.find(seq)?;
        sent.over.set(nth);
        sent.left -= 1;
        let (was_begun, is_last, first) = (sent.begun.has(nth), sent.left == 0, sent.job.seq);
        self.unfinished -= 1;
        self.begun -= usize::from(was_begun);
        if !is_last {
            return None;
        }
        let job = self.sent.remove(&first)?.job;
        self.bytes -= job.size();
        Some(job)
    }

    /// Jobs of a range come back: they were not begun. Those that the agent does not have are left out.
    pub(crate) fn take_back(&mut self, seq: u64, count: u64) -> Vec<Job> {
        let mut back = Vec::new();
        for one in seq..seq.saturating_add(count.min(MOST_AT_ONCE)) {
            if self.is_over(one) {
                continue;
            }
            let Some((sent, nth)) = self.find(one) else { continue };
            if sent.job.count() > 1 {
                let job = with_history(sent.job.one(nth), &sent.job);
                back.push(job);
                self.mark_over(one);
            } else {
                back.extend(self.mark_over(one));
            }
        }
        back
    }

    /// The agent is lost. A slot was on the first jobs that it had taken and not finished, `at_a_time` at most; those
    /// after them had not begun.
    pub(crate) fn lose(&mut self, at_a_time: usize) -> LostJobs {
        let mut lost = LostJobs::default();
        let on = self.taken.values().flat_map(|taken| self.on(taken, at_a_time));
        let mut running: Vec<u64> = on.map(|(seq, _)| seq).collect();
        running.sort_unstable();
        running.dedup();
        for seq in running {
            lost.ran.extend(self.take_back(seq, 1));
        }
        for (_, Sent { job, over, .. }) in std::mem::take(&mut self.sent) {
            lost.waited.extend(rest_of(job, &over));
        }
        *self = Self::default();
        lost
    }
}

/// A job of a bundle, with the facts about the bundle.
fn with_history(mut job: Job, bundle: &Job) -> Job {
    job.attempt = bundle.attempt;
    job.losses = bundle.losses;
    job
}

/// The jobs that were sent and are not over, in as few bundles as possible.
fn rest_of(mut job: Job, over: &Bits) -> Vec<Job> {
    let mut rest = Vec::new();
    let count = job.count();
    let mut begin = 0;
    while begin < count {
        let is_over = over.has(begin);
        let end = (begin..count).find(|&nth| over.has(nth) != is_over).unwrap_or(count);
        let is_last = end == count;
        if is_last {
            if !is_over {
                rest.push(job);
            }
            break;
        }
        let piece = job.split_off_first(end - begin);
        if !is_over {
            rest.push(piece);
        }
        begin = end;
    }
    rest
}

/// A set of small numbers.
#[derive(Debug, Default)]
struct Bits {
    first: u64,
    more: Vec<u64>,
}

impl Bits {
    fn has(&self, nth: usize) -> bool {
        let word = match nth / 64 {
            0 => self.first,
            at => self.more.get(at - 1).copied().unwrap_or_default(),
        };
        word >> (nth % 64) & 1 == 1
    }

    /// Adds a number. Returns whether it is new.
    fn set(&mut self, nth: usize) -> bool {
        let is_new = !self.has(nth);
        let word = match nth / 64 {
            0 => &mut self.first,
            at => {
                if self.more.len() < at {
                    self.more.resize(at, 0);
                }
                &mut self.more[at - 1]
            }
        };
        *word |= 1 << (nth % 64);
        is_new
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
