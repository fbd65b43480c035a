//! The traits between the layers: a [`Feed`] takes jobs, a [`Sink`] takes their outcomes, and a
//! [`Watcher`] is notified of other events in the pool.

use std::time::Duration;

use super::done::{Done, ResultStreak};
use super::outcome::{Failure, Value};
use super::unit::Job;

/// Takes jobs in batches.
pub trait Feed: Sync {
    /// Takes all jobs of a batch, as `Pool::feed` does.
    ///
    /// # Errors
    /// No more jobs are taken. The batch still has the jobs that were not taken.
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

/// Takes the outcome of every job that no call waits for.
///
/// Slots call a sink on their own threads, several at a time. While a call blocks, the worker of that
/// slot gets no new job: a sink that blocks slows the run down.
pub trait Sink: Send + Sync {
    /// Takes one outcome. The sink may keep it back until the same thread calls [`Sink::flush`].
    fn deliver(&self, done: &Done<'_>);

    /// Passes on all outcomes that this thread has delivered. Called soon after each outcome.
    fn flush(&self) {}

    /// Waits a moment until the outcomes that were passed on are printed.
    fn settle(&self) {}

    /// Takes the results of `count` successive jobs. `seq` is the number of the first job. `texts` has a
    /// newline after each result. Called only if a [`Reader`](crate::input::Reader) may bundle jobs. By
    /// default each result is delivered alone, with a job that has nothing but its number.
    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        for (seq, text) in (seq..seq + count).zip(texts.split(|&byte| byte == b'\n')) {
            let job = Job::message(seq, b"");
            let outcome = Ok(Value::Bytes(text));
            self.deliver(&Done { job: &job, outcome, printed: None, run: None, unproven: None });
        }
    }

    /// Takes results that came together. Returns whether it took them. If not, each is delivered alone.
    fn results(&self, _results: &ResultStreak<'_>) -> bool {
        false
    }

    /// The results that were delivered with this number in [`Done::unproven`] belong to their jobs.
    fn proved(&self, _number: u64) {}

    /// The results that were delivered with this number in [`Done::unproven`] may be wrong. They must not
    /// be recorded as successes.
    fn unprovable(&self, _number: u64) {}

    /// A result that was delivered may be wrong. `done` says why, and has no texts of the job. A sink that
    /// records results must not count this one as a success.
    fn doubt(&self, _done: &Done<'_>) {}

    /// A try of a job has failed, and the job will be tried again: this is not its outcome. Called on
    /// the thread of the slot.
    fn retried(&self, _done: &Done<'_>) {}

    /// Whether [`Sink::begun`] is to be called.
    fn wants_begun(&self) -> bool {
        false
    }

    /// A slot, counted from 1, has taken a job or a bundle of jobs. It may still put them back. The same
    /// thread calls [`Sink::flush`] before the job can have been on for long.
    fn begun(&self, _slot: usize, _job: &Job) {}

    /// A slot, counted from 1, has this process from now on: a worker, or a command that takes a while. Called only if [`Sink::wants_begun`].
    fn process(&self, _slot: usize, _pid: u32) {}

    /// From now on, workers may have this many jobs at a time, even if jobs are slow: because they work on them at a time
    /// (`is_concurrent`), or because the user says so.
    fn works_at_a_time(&self, _jobs: usize, _is_concurrent: bool) {}

    /// A job or a bundle of jobs will not be run, since the run was ended.
    fn dropped(&self, _job: &Job) {}

    /// Takes lines that a running command has printed to stdout and to stderr. They are not delivered again
    /// at its end. Called only with `Commands::live`. Returns whether the sink took them. If not, they are
    /// offered again soon, so this call need not block.
    fn lines(&self, _job: &Job, _out: &[u8], _err: &[u8]) -> bool {
        true
    }

    /// Takes a part of the result of a job that goes on. Called only if the pool passes parts on. Returns as
    /// [`Sink::lines`].
    fn part(&self, _job: &Job, _part: Value<'_>) -> bool {
        true
    }

    /// Waits until the sink may take what [`Sink::lines`] or [`Sink::part`] has not taken, but no longer than
    /// this. Returns whether the sink can wait for that.
    fn await_room(&self, _most: Duration) -> bool {
        false
    }
}

/// A worker that has ended: how long it lived, how many jobs it did, and why it ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerEnd {
    /// The slot, from 1.
    pub slot: usize,
    /// Its process id.
    pub pid: u32,
    /// Its number among the workers of its slot, from 1.
    pub generation: u64,
    /// When it was started, in seconds since 1970.
    pub start: f64,
    /// How long it lived, in seconds. Time in which the run was stopped does not count.
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
    /// No more jobs came.
    Done,
    /// It has had as many jobs as a worker may have.
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
    /// It printed something that is no reply.
    Protocol,
    /// Its first messages failed.
    Unfit,
    /// Nobody waited for its job any more, or the run was ended.
    Cancelled,
    /// All workers were to be replaced.
    Renewed,
    /// Its job used more memory than it may.
    MaxMemory,
}

impl Why {
    /// All reasons. Another machine is sent the index in this list.
    pub(crate) const ALL: [Self; 12] = [
        Self::Done,
        Self::MaxReqs,
        Self::MaxAge,
        Self::MaxRss,
        Self::Idle,
        Self::Died,
        Self::Timeout,
        Self::Protocol,
        Self::Unfit,
        Self::Cancelled,
        Self::Renewed,
        Self::MaxMemory,
    ];

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
            Self::Renewed => "renewed",
            Self::MaxMemory => "max-memory",
        }
    }
}

/// Is notified of events that are not outcomes of jobs: stderr of workers, notes for a person, ends of
/// workers. It also decides whether a command may run.
pub trait Watcher: Send + Sync {
    /// A worker wrote to its stderr. `lines` are whole lines. Only a line that is over 64 KiB, or not
    /// finished after 0.1 s, or the last one, comes in pieces.
    fn worker_stderr(&self, lines: &[u8]);

    /// The same, of the worker with this process id in this slot, which is counted from 1.
    fn worker_wrote(&self, _slot: usize, _pid: u32, lines: &[u8]) {
        self.worker_stderr(lines);
    }

    /// Something happened that a person should know: one sentence, no line break.
    fn note(&self, text: &str);

    /// Results that were delivered may be wrong: a worker has printed more than it was asked for. The
    /// sentence says which results, and what the worker has printed.
    fn doubtful(&self, text: &str) {
        self.note(text);
    }

    /// Too many workers in a row have died before their first reply, or could not be started. Their jobs
    /// have failed with the same failure.
    fn start_limit_reached(&self, failure: &Failure);

    /// A job wanted to use the terminal, and was stopped for it. A person may be typing an answer to it.
    fn terminal_wanted(&self) {}

    /// The job with the terminal was stopped (Ctrl-Z). Returns whether this process may be stopped as well: a shell can
    /// continue it.
    fn may_stop(&self) -> bool {
        false
    }

    /// A signal from the terminal (Ctrl-C) has ended the job that had the terminal. It is meant for this process
    /// as well.
    fn interrupted(&self, _signal: i32) {}

    /// Outcomes of jobs, or the output of a command, could not be kept. The job has failed with the same
    /// message, unless its outcome was delivered before.
    fn output_lost(&self, message: &str) {
        self.note(message);
    }

    /// A worker has ended, perhaps before it was ready.
    fn worker_ended(&self, _worker: &WorkerEnd) {}

    /// Whether a command may be run. It is given as it would be typed into a shell. Called only with
    /// `Commands::confirm`.
    fn confirms(&self, _command: &[u8]) -> bool {
        true
    }
}
