//! What runs now: asked of all slots, which answer between their other work. A job costs nothing for
//! that while nobody asks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A job that is running.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Underway {
    /// The slot it runs in, from 1.
    pub slot: usize,
    /// The process that it runs in, or that it was handed to.
    pub pid: u32,
    /// What it is called in messages.
    pub job: String,
    /// What is run: a command line, or what the worker is asked. It is fit for a message, and cut if it is
    /// long.
    pub what: String,
    /// How long it has run, without the time that the run was stopped.
    pub time: Duration,
    /// How many more jobs wait at the same worker.
    pub waiting: usize,
}

/// The question, and the answers to it.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// How often it was asked.
    asked: AtomicU32,
    answers: Mutex<Answers>,
    /// Told of each answer.
    answered: Condvar,
    /// One asks at a time.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Answers {
    /// How many slots have answered.
    count: usize,
    jobs: Vec<Underway>,
}

/// Up to which question a slot has answered.
#[derive(Debug)]
pub(crate) struct Seen {
    slot: usize,
    asked: u32,
}

impl Roll {
    /// For a slot that begins now.
    pub(crate) fn seen(&self, slot: usize) -> Seen {
        Seen { slot, asked: self.asked.load(Ordering::Relaxed) }
    }

    /// Asks all slots what they run, in the order of their numbers. `wake` wakes them, and says how many
    /// there are. One that does not answer in time, since it waits for a stream or a lock, is left out.
    pub(crate) fn call(&self, patience: Duration, wake: impl FnOnce() -> usize) -> Vec<Underway> {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = self.lock();
        *answers = Answers::default();
        self.asked.fetch_add(1, Ordering::Release);
        let count = wake();
        let (mut answers, _) = self
            .answered
            .wait_timeout_while(answers, patience, |answers| answers.count < count)
            .unwrap_or_else(PoisonError::into_inner);
        let mut jobs = std::mem::take(&mut answers.jobs);
        jobs.sort_by_key(|job| job.slot);
        jobs
    }

    /// Answers for a slot, if it was asked since it last did.
    pub(crate) fn answer(&self, seen: &mut Seen, jobs: impl FnOnce(usize) -> Vec<Underway>) {
        let asked = self.asked.load(Ordering::Acquire);
        if seen.asked == asked {
            return;
        }
        seen.asked = asked;
        let jobs = jobs(seen.slot);
        let mut answers = self.lock();
        answers.count += 1;
        answers.jobs.extend(jobs);
        self.answered.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
