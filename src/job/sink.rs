//! Where jobs go, and where what became of them goes: the seams between the layers.

use std::sync::Arc;

use super::outcome::{Failure, Value};
use super::printed::Printed;
use super::unit::Job;

/// Takes jobs in batches.
pub trait Feed: Sync {
    /// As [`Pool::feed`].
    ///
    /// # Errors
    /// No more jobs are taken; those that were not taken are still in the batch.
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed>;
}

/// The queue takes no more jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the pool takes no more jobs")
    }
}

impl std::error::Error for Closed {}

/// A job that is over: what a [`Sink`] is given, once for each job.
#[derive(Debug)]
pub struct Done<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its result, or why there is none. Of a command it is `null`: its result is what it has
    /// printed.
    pub outcome: Result<Value<'a>, &'a Failure>,
    /// What a command printed and how it ended; `None`: it is none, or was not started.
    pub printed: Option<&'a Arc<Printed>>,
    /// Where and when it ran; `None`: it never did.
    pub run: Option<Run>,
}

/// Where and when a job ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The slot, from 1.
    pub slot: usize,
    /// The worker's process id.
    pub pid: u32,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// When it was handed to the worker, in seconds since 1970.
    pub start: f64,
    /// How long it took, in seconds, without the time that the run was stopped.
    pub seconds: f64,
}

/// Takes the outcome of every job that no call waits for.
///
/// A sink is called by the slots, on their own threads, several at a time. While it blocks, that
/// slot's worker gets no new job: a sink that blocks is back-pressure.
pub trait Sink: Send + Sync {
    /// Takes one outcome. It may be kept back until the same thread calls [`Sink::flush`].
    fn deliver(&self, done: &Done<'_>);

    /// Passes on what this thread has delivered: called after every few outcomes, without delay.
    fn flush(&self) {}

    /// Takes the results of `count` successive jobs, from the one with the number `seq` on: texts with a
    /// newline behind each. Called only where a [`Reader`](crate::input::Reader) was told that it may
    /// bundle jobs.
    fn texts(&self, _seq: u64, _count: u64, _texts: &[u8]) {}

    /// A job's result, which was delivered, may be wrong: `done` says why, and has none of the job's
    /// texts. Whoever keeps results for later must not count this one as a success.
    fn doubt(&self, _done: &Done<'_>) {}

    /// A try of a job has failed, and the job will be tried again: this is not its outcome. Called on
    /// the thread of the slot, and only to be taken note of.
    fn retried(&self, _done: &Done<'_>) {}

    /// Takes lines that a command has printed while it runs, to stdout and to stderr. They are not
    /// in what is delivered at its end. Called only where that was asked for. Returns whether it took
    /// them; otherwise they are offered again soon, so that this need not block.
    fn lines(&self, _job: &Job, _out: &[u8], _err: &[u8]) -> bool {
        true
    }
}

/// A worker that is gone: how long it lived, and what it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerEnd {
    /// The slot, from 1.
    pub slot: usize,
    /// Its process id.
    pub pid: u32,
    /// Which one it was in its slot, from 1.
    pub generation: u64,
    /// When it was started, in seconds since 1970.
    pub start: f64,
    /// How long it lived, in seconds, without the time that the run was stopped.
    pub seconds: f64,
    /// How many jobs it has answered.
    pub jobs: u64,
    /// Why it ended.
    pub why: Why,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Why {
    /// It was not needed any more.
    Done,
    /// It has had all the jobs that a worker may have.
    MaxReqs,
    /// It had lived as long as a worker may.
    MaxAge,
    /// It held more memory than a worker may.
    MaxRss,
    /// It had no job for a while.
    Idle,
    /// It died by itself.
    Died,
    /// Its job took too long.
    Timeout,
    /// What it printed was no reply.
    Protocol,
    /// It could not be made ready for work.
    Unfit,
    /// Nobody waited for its job any more, or the run was ended.
    Cancelled,
}

impl Why {
    /// The reason's name in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::MaxReqs => "max-reqs",
            Self::MaxAge => "max-age",
            Self::MaxRss => "max-rss",
            Self::Idle => "idle-timeout",
            Self::Died => "died",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Unfit => "unfit",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Is told what is worth a person's notice. What it is told is not the outcome of a job.
pub trait Watcher: Send + Sync {
    /// A worker wrote to its stderr: whole lines as they came, the last one perhaps unfinished when
    /// the worker has ended.
    fn worker_stderr(&self, lines: &[u8]);

    /// Something happened that a person should know: one sentence, no line break.
    fn note(&self, text: &str);

    /// Results that were delivered may be wrong: a worker has printed more than it was asked for. One
    /// sentence says which results, and what it has printed.
    fn doubtful(&self, text: &str) {
        self.note(text);
    }

    /// Too many workers in a row have died before their first reply, or could not be started. The
    /// jobs they were to run have failed with the same words.
    fn start_limit_reached(&self, failure: &Failure);

    /// A job wanted to use the terminal, and was stopped for that. A person may be typing what it has
    /// asked for.
    fn terminal_wanted(&self) {}

    /// Outcomes of jobs, or what a command printed, could not be kept. Such a job has failed with the
    /// same words, if it still could.
    fn output_lost(&self, message: &str) {
        self.note(message);
    }

    /// A worker is gone. One that ended while it was started is told of as well.
    fn worker_ended(&self, _worker: &WorkerEnd) {}

    /// Whether a command may be run, which is given as it would be typed into a shell. Called only
    /// where that was asked for.
    fn confirms(&self, _command: &[u8]) -> bool {
        true
    }
}
