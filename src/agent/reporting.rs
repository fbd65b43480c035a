//! Sends the outcomes of an agent's jobs, and its messages, over the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::outbox::LinkOutbox;
use crate::job::printed::{Capture, Printed};
use crate::job::{Done, Failure, Job, Kind, Sink, Value, Watcher, Why, WorkerEnd};
use crate::link::from_agent::{
    FromAgent, PIECE, RemoteCommand, RemoteOutcome, RemoteValue, RemoteWorkerEnd,
};
use crate::process::pause;

/// Who kills all processes of a machine, or all of a Slurm step, kills the agent this long after a job at most.
const SWEEP: Duration = Duration::from_millis(200);

/// Reports to the coordinator.
#[derive(Debug)]
pub(crate) struct LinkReporter {
    pub(crate) outbox: Arc<LinkOutbox>,
    /// It is another machine's coordinator: what kills a job there may kill the agent as well.
    pub(crate) is_elsewhere: bool,
    /// A job that could not be started has not failed: no worker starts here.
    pub(crate) has_workers: AtomicBool,
    /// The number of a job in the pool, minus its number at the coordinator.
    pub(crate) before: u64,
}

impl LinkReporter {
    pub(crate) fn new(outbox: Arc<LinkOutbox>, before: u64) -> Self {
        Self { outbox, is_elsewhere: false, has_workers: AtomicBool::new(true), before }
    }

    fn number_of(&self, job: &Job) -> u64 {
        job.seq - self.before
    }

    /// A job or a bundle of jobs will not be run here.
    pub(crate) fn give_back(&self, job: &Job) {
        self.outbox
            .say(&FromAgent::Returned { seq: self.number_of(job), count: job.count() as u64 });
    }

    fn send_printed(&self, seq: u64, capture: &Capture, is_stderr: bool) {
        let sent = capture.each(|bytes| {
            for bytes in bytes.chunks(PIECE) {
                self.outbox.wait_for_room();
                self.outbox.add(&FromAgent::Printed { seq, is_stderr, bytes });
            }
            self.outbox.flush();
            Ok(())
        });
        if let Err(error) = sent {
            self.outbox.say(&FromAgent::OutputLost(&format!(
                "what a command printed can't be read back from the temporary file: {error}"
            )));
        }
    }

    /// Sends a part of a result, if there is room for it. `more`: this many bytes more may wait to be sent.
    pub(crate) fn send_part(&self, job: &Job, part: Value<'_>, more: usize) -> bool {
        let has_room = self.outbox.has_room(more);
        if has_room {
            let part = RemoteValue::of(part);
            self.outbox.say(&FromAgent::Part { seq: self.number_of(job), part });
        }
        has_room
    }

    fn command(&self, seq: u64, printed: &Printed) -> RemoteCommand {
        self.send_printed(seq, &printed.stdout, false);
        self.send_printed(seq, &printed.stderr, true);
        RemoteCommand::of(printed)
    }
}

/// Whether the process of a job was killed by somebody else.
fn was_killed(done: &Done<'_>) -> bool {
    done.outcome.is_err_and(|failure| {
        matches!(failure.kind, Kind::Exit | Kind::Crash) && failure.message.contains("SIGKILL")
    })
}

impl Sink for LinkReporter {
    fn deliver(&self, done: &Done<'_>) {
        let seq = self.number_of(done.job);
        let is_unstarted = done.outcome.is_err_and(|failure| failure.kind == Kind::Spawn);
        if is_unstarted && self.has_workers.load(Ordering::Relaxed) {
            return self.give_back(done.job);
        }
        if self.is_elsewhere && was_killed(done) {
            // If the agent is about to be killed as well, the job is run elsewhere and has not failed.
            pause(SWEEP);
        }
        let command = done.printed.map(|printed| self.command(seq, printed));
        self.outbox.wait_for_room();
        self.outbox.add(&FromAgent::Done(RemoteOutcome::of(seq, done, command)));
    }

    fn flush(&self) {
        self.outbox.flush();
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        self.outbox.wait_for_room();
        self.outbox.add(&FromAgent::Texts { seq: seq - self.before, count, texts });
    }

    fn proved(&self, number: u64) {
        self.outbox.say(&FromAgent::Proved(number));
    }

    fn unprovable(&self, number: u64) {
        self.outbox.say(&FromAgent::Unprovable(number));
    }

    fn doubt(&self, done: &Done<'_>) {
        if let (Some(key), Err(failure)) = (done.job.key, done.outcome) {
            self.outbox.say(&FromAgent::Doubt { key, failure: failure.clone() });
        }
    }

    fn lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        let has_room = self.outbox.has_room(0);
        if has_room {
            self.outbox.say(&FromAgent::Lines { seq: self.number_of(job), out, err });
        }
        has_room
    }

    fn part(&self, job: &Job, part: Value<'_>) -> bool {
        self.send_part(job, part, 0)
    }

    fn await_room(&self, most: Duration) -> bool {
        self.outbox.await_room_for(most);
        true
    }

    fn wants_begun(&self) -> bool {
        true
    }

    fn begun(&self, slot: usize, job: &Job) {
        let (seq, count) = (self.number_of(job), job.count() as u64);
        self.outbox.add(&FromAgent::Begun { slot: slot as u64, seq, count });
    }

    fn process(&self, slot: usize, pid: u32) {
        self.outbox.say(&FromAgent::Process { slot: slot as u64, pid });
    }

    fn works_at_a_time(&self, jobs: usize, is_concurrent: bool) {
        self.outbox.say(&FromAgent::AtATime { jobs: jobs as u64, is_concurrent });
    }

    fn dropped(&self, job: &Job) {
        self.give_back(job);
    }
}

impl Watcher for LinkReporter {
    fn worker_stderr(&self, lines: &[u8]) {
        self.outbox.wait_for_room();
        self.outbox.say(&FromAgent::Stderr(lines));
    }

    fn note(&self, text: &str) {
        self.outbox.say(&FromAgent::Note(text));
    }

    fn doubtful(&self, text: &str) {
        self.outbox.say(&FromAgent::Doubtful(text));
    }

    fn start_limit_reached(&self, failure: &Failure) {
        self.outbox.say(&FromAgent::Unfit(&failure.message));
    }

    fn output_lost(&self, message: &str) {
        self.outbox.say(&FromAgent::OutputLost(message));
    }

    fn worker_ended(&self, worker: &WorkerEnd) {
        let why = Why::ALL.iter().position(|why| *why == worker.why).unwrap_or_default();
        self.outbox.say(&FromAgent::WorkerEnded(RemoteWorkerEnd {
            slot: worker.slot as u64,
            pid: worker.pid,
            generation: worker.generation,
            time: Duration::try_from_secs_f64(worker.seconds).unwrap_or_default(),
            jobs: worker.jobs,
            why: why as u64,
        }));
    }
}
