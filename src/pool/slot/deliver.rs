//! Hands an outcome on: to the sink, to the caller, or to the queue for another try.

use std::sync::Arc;
use std::time::Duration;

use crate::job::caller::CallResult;
use crate::job::joint;
use crate::job::printed::Printed;
use crate::job::{Answer, CommandOutput, Done, Failure, Job, Kind, ResultStreak, Run, Value};
use crate::pool::slot::steps::Slot;
use crate::util::clock::Moment;
use crate::util::held;
use crate::util::json::Json;
use crate::util::random::random;
use crate::worker::{Flight, Received, Reply, Violation, Worker};

/// A part that nobody has taken is offered again after this time.
const PART_TICK: Duration = Duration::from_millis(1);

/// The longest wait before another try, without the jitter.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// When a job was tried, and by which process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// 0: the job never ran.
    pub(super) pid: u32,
    pub(super) start: Moment,
    /// When the time of the job began.
    pub(super) clock: Moment,
    pub(super) now: Moment,
    /// See [`Done::unproven`].
    pub(super) unproven: Option<u64>,
}

impl Attempt {
    /// A job that never ran, or had no time to run.
    pub(super) fn at_once(pid: u32, now: Moment) -> Self {
        Self { pid, start: now, clock: now, now, unproven: None }
    }
}

/// The failure of a job that was running when the run was ended.
pub(super) fn running_at_end() -> Failure {
    Failure::new(Kind::Cancelled, "it was running when the run was ended")
}

impl Slot {
    /// Delivers the outcome of a job, or puts the job off if it is to be tried again.
    pub(super) fn deliver(
        &mut self,
        attempt: Attempt,
        mut job: Job,
        outcome: Result<Value<'_>, &Failure>,
        printed: Option<&Arc<Printed>>,
    ) {
        if job.is_joint() {
            return self.deliver_joint(attempt, job, outcome);
        }
        let exit = printed.and_then(|printed| printed.exit);
        if let Err(failure) = outcome
            && self.may_retry(&job, failure, exit)
        {
            let run = self.run_of(attempt, &job);
            self.shared.deliveries.retried(&Done {
                job: &job,
                outcome,
                printed,
                run,
                unproven: None,
            });
            match self.put_off(job, failure, attempt.now) {
                PutOff::Queued => return,
                PutOff::RunEnded(back) => job = *back,
            }
        }
        self.give_to_sink(attempt, &job, outcome, printed);
        if let Some(caller) = job.caller {
            let time = (attempt.pid > 0).then(|| attempt.now.since(attempt.clock));
            self.answers.push((caller, answer(outcome, printed), time));
        }
        self.finished += 1;
    }

    /// Delivers the results of a joint job, or splits it if it has failed.
    fn deliver_joint(
        &mut self,
        attempt: Attempt,
        mut job: Job,
        outcome: Result<Value<'_>, &Failure>,
    ) {
        let count = job.singles().len();
        let outcome = match outcome {
            Ok(value) => joint::results(value, count),
            Err(failure) => Err(failure.clone()),
        };
        // What was lost may have run, and whoever reports that has decided that it is not to run again.
        let may_split = |failure: &Failure| count > 1 && failure.kind != Kind::Lost;
        if outcome.as_ref().is_err_and(may_split) && !self.shared.stopping.has_begun() {
            match self.shared.queue.split(self.index, job) {
                Ok(()) => return,
                Err(back) => job = *back,
            }
        } else if let Err(failure) = &outcome
            && self.may_retry(&job, failure, None)
        {
            let run = self.run_of(attempt, &job);
            for job in job.singles() {
                let outcome = Err(failure);
                self.shared.deliveries.retried(&Done {
                    job,
                    outcome,
                    printed: None,
                    run,
                    unproven: None,
                });
            }
            match self.put_off(job, failure, attempt.now) {
                PutOff::Queued => return,
                PutOff::RunEnded(back) => job = *back,
            }
        }
        for (nth, job) in job.singles().iter().enumerate() {
            let outcome = outcome.as_ref().map(|results| Value::Json(Json::of(&results[nth])));
            self.give_to_sink(attempt, job, outcome, None);
        }
        self.finished += 1;
    }

    /// Delivers the failure of a job that a worker was on.
    pub(super) fn deliver_failure(&mut self, pid: u32, flight: Flight, failure: &Failure) {
        let Flight { job, start, clock, .. } = flight;
        let attempt = Attempt { pid, start, clock, now: self.now(), unproven: None };
        self.deliver(attempt, job, Err(failure), None);
    }

    /// Delivers the replies that a worker has printed and that were read.
    pub(super) fn deliver_replies(
        &mut self,
        worker: &mut Worker,
        now: Moment,
    ) -> Result<Received, Violation> {
        let max_reply = self.shared.config.worker.max_reply;
        let pid = worker.process.pid();
        let since = worker.turn_clock();
        let attempt = |start, clock: Moment, unproven| {
            let clock = clock.max(since);
            Attempt { pid, start, clock, now, unproven }
        };
        let received = worker.receive(max_reply, now, |answer| match answer {
            Reply::One(Flight { job, start, clock, .. }, outcome, unproven) => {
                self.deliver(attempt(start, clock, unproven), job, outcome, None);
            }
            Reply::Result { job, start, clock, value, unproven } => {
                self.give_to_sink(attempt(start, clock, unproven), job, Ok(value), None);
                self.finished += 1;
            }
            Reply::Results { results, start, clock } => {
                self.give_results_to_sink(attempt(start, clock, None), results);
                self.finished += results.count();
            }
            Reply::Part { job, part } => self.pass_part(job, part),
            Reply::Texts { seq, count, texts } => {
                self.shared.deliveries.deliver_texts(seq, count as u64, texts);
                self.finished += count;
            }
        })?;
        for news in &received.news {
            let line = format!("{news}\n");
            self.shared.watcher.worker_wrote(self.number(), pid, line.as_bytes());
        }
        Ok(received)
    }

    /// Gives a part of a result to the sink. Waits while the reader of stdout is slow.
    fn pass_part(&self, job: &Job, part: Value<'_>) {
        let deliveries = &self.shared.deliveries;
        deliveries.flush();
        if !deliveries.pass_part(job, part) {
            held::hold(|| {
                while !deliveries.pass_part(job, part) {
                    deliveries.await_room(&self.wake, PART_TICK);
                }
            });
        }
    }

    /// Gives an outcome to the sink.
    pub(super) fn give_to_sink(
        &self,
        attempt: Attempt,
        job: &Job,
        outcome: Result<Value<'_>, &Failure>,
        printed: Option<&Arc<Printed>>,
    ) {
        if outcome.is_ok() {
            self.learn_durations(attempt, 1);
        }
        let run = self.run_of(attempt, job);
        let unproven = attempt.unproven;
        self.shared.deliveries.deliver(&Done { job, outcome, printed, run, unproven });
    }

    /// Gives results that came together to the sink.
    fn give_results_to_sink(&self, attempt: Attempt, mut results: ResultStreak<'_>) {
        self.learn_durations(attempt, results.count());
        results.run = self.run_of(attempt, results.bundle());
        self.shared.deliveries.deliver_results(&results);
    }

    /// Learns how long each of these jobs took, which have succeeded.
    fn learn_durations(&self, attempt: Attempt, jobs: usize) {
        let time = attempt.now.since(attempt.clock);
        if self.shared.estimates.learn_durations(time, jobs) {
            self.shared.queue.wake_all();
        }
    }

    /// Where and when a job ran; `None`: it never did.
    fn run_of(&self, attempt: Attempt, job: &Job) -> Option<Run> {
        let run = Run {
            slot: self.elsewhere.map_or(self.number(), |(slot, _)| slot),
            pid: attempt.pid,
            attempt: job.attempt,
            start: self.shared.groups.clock.unix_seconds(attempt.start),
            seconds: attempt.now.since(attempt.start).as_secs_f64(),
            host: self.elsewhere.map_or_else(|| self.shared.this_host(), |(_, host)| host),
        };
        Some(run).filter(|run| run.pid > 0)
    }

    /// Whether a job that has failed is to be tried again. `exit`: the exit status of its command.
    fn may_retry(&self, job: &Job, failure: &Failure, exit: Option<i32>) -> bool {
        let config = &self.shared.config;
        let is_final = |exit| config.failures.no_retry_exit.has(exit);
        if failure.kind == Kind::Exit && exit.is_some_and(is_final) {
            return false;
        }
        // A job that was on a process which another one made too large has lost its process, as in a crash.
        let as_crash = failure.is_shared && failure.kind == Kind::Memory;
        let kind = if as_crash { Kind::Crash } else { failure.kind };
        let retry_on = &config.failures.retry_on;
        (retry_on.contains(&failure.kind) || retry_on.contains(&kind))
            && job.attempt <= job.retries.unwrap_or(config.failures.retries)
            && !self.shared.stopping.has_begun()
            && !job.is_abandoned()
    }

    /// Puts a job off until its next try.
    fn put_off(&self, mut job: Job, failure: &Failure, now: Moment) -> PutOff {
        let due = now.after(backoff(self.shared.config.failures.retry_delay, job.attempt));
        job.set_attempt(job.attempt + 1);
        job.is_suspect |= failure.is_shared;
        match self.shared.queue.put_off(self.index, job, due) {
            Ok(()) => PutOff::Queued,
            Err(mut back) => {
                back.set_attempt(back.attempt - 1);
                PutOff::RunEnded(back)
            }
        }
    }
}

/// The fate of a job that was to be tried again.
enum PutOff {
    /// It waits in the queue.
    Queued,
    /// The run was ended just now: there is no other try.
    RunEnded(Box<Job>),
}

/// The answer to a caller. For a command, it is the output.
fn answer(outcome: Result<Value<'_>, &Failure>, printed: Option<&Arc<Printed>>) -> CallResult {
    match outcome {
        Ok(result) => match printed.map(|printed| CommandOutput::of(printed)) {
            None => Ok(Answer::of(result)),
            Some(Ok(output)) => Ok(Answer::Command(Box::new(output))),
            Some(Err(error)) => Err(Failure::new(
                Kind::Exit,
                format!("it has succeeded, but what it printed can't be read back: {error}"),
            )),
        },
        Err(failure) => {
            let output = printed.and_then(|printed| CommandOutput::of(printed).ok());
            Err(Failure { output: output.map(Box::new), ..failure.clone() })
        }
    }
}

/// How long a job waits for another try: twice as long each time, and up to a half more or less, so
/// that jobs that failed together do not come back together.
fn backoff(first: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(LONGEST_BACKOFF);
    let jitter = random(1000) as f64 / 1000.0;
    doubled.mul_f64(0.5 + jitter)
}
