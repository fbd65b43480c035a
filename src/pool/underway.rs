//! The roll call: all slots are asked which jobs they run now, and answer between their other work.
//! While nobody asks, this costs a job nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::pool::worker_list::WorkerList;

/// A job that is running.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Underway {
    /// Its place among all jobs read, from 1. 0: a call has queued it.
    pub seq: u64,
    /// The slot it runs in, from 1.
    pub slot: usize,
    /// The process that it runs in, or that it was handed to; 0: it is not known yet.
    pub pid: u32,
    /// The other machine that it runs on; `None`: this machine.
    pub host: Option<&'static str>,
    /// Its name in messages.
    pub job: String,
    /// Its text: a command line, or the worker's request. It is fit for a message, and cut if it is
    /// long.
    pub what: String,
    /// The same in the form of failures: a command line, or a call.
    pub label: String,
    /// Its id and its place in the input, as details in brackets: `job j1, line 3`.
    pub details: String,
    /// Its difference from others: its args, with blanks between them, or its message. They are fit for a
    /// message, and cut if they are long.
    pub args: String,
    /// Its worker has read nothing yet: it is still starting.
    pub is_starting: bool,
    /// How long it has run, without the time that the run was stopped.
    pub time: Duration,
    /// How many more jobs wait at the same worker.
    pub waiting: usize,
}

impl Underway {
    /// The process and its machine: `pid 4711 on alpha`.
    pub fn process(&self) -> String {
        match (self.pid, self.host) {
            (pid, None) => format!("pid {pid}"),
            // What says which process it is may be under way.
            (0, Some(host)) => format!("on {host}"),
            (pid, Some(host)) => format!("pid {pid} on {host}"),
        }
    }
}

/// The question which jobs run, and the answers of all slots.
#[derive(Debug, Default)]
pub(crate) struct RollCall {
    /// The workers that are alive.
    pub(crate) workers: WorkerList,
    /// How often it was asked.
    asked: AtomicU32,
    answers: Mutex<Answers>,
    /// Notified of each answer.
    answered: Condvar,
    /// Held by the thread that asks: one asks at a time.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Answers {
    /// How many slots have answered.
    count: usize,
    jobs: Vec<Underway>,
}

/// A slot's part in the roll call, and the last question that it has answered or need not answer.
#[derive(Debug)]
pub(crate) struct Responder {
    slot: usize,
    asked: u32,
}

impl Responder {
    /// The number of the slot.
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }
}

impl RollCall {
    /// The part of a slot that begins now.
    pub(crate) fn responder(&self, slot: usize) -> Responder {
        Responder { slot, asked: self.asked.load(Ordering::Relaxed) }
    }

    /// Asks all slots which jobs they run, and returns them in the order in which they were read. `wake`
    /// wakes the slots, and returns how many there are. A slot that does not answer in time, because it
    /// waits for a stream or a lock, is left out.
    pub(crate) fn ask(&self, patience: Duration, wake: impl FnOnce() -> usize) -> Vec<Underway> {
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
        jobs.sort_by_key(|job| (job.seq, job.slot));
        jobs
    }

    /// Answers for this number of slots, if there was a question since the last answer.
    pub(crate) fn answer(
        &self,
        responder: &mut Responder,
        slots: usize,
        jobs: impl FnOnce(usize) -> Vec<Underway>,
    ) {
        let asked = self.asked.load(Ordering::Acquire);
        if responder.asked == asked {
            return;
        }
        responder.asked = asked;
        let jobs = jobs(responder.slot);
        let mut answers = self.lock();
        answers.count += slots;
        answers.jobs.extend(jobs);
        self.answered.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
