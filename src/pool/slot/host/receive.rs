//! Deals with the messages of an agent: jobs that are begun and over, their output, jobs that come back, and
//! messages for people.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::job::key::Key;
use crate::job::printed::{Capture, Printed};
use crate::job::{Done, Failure, Job, Value, Watcher as _, Why, WorkerEnd};
use crate::link::from_agent::{FromAgent, RemoteOutcome, RemoteValue, RemoteWorkerEnd};
use crate::link::incoming::Garbled;
use crate::link::ledger::Finished;
use crate::pool::slot::deliver::Attempt;
use crate::pool::slot::host::connection::HostWatcher;
use crate::pool::slot::host::record::Hitch;
use crate::pool::slot::host::state::HostSlot;
use crate::util::clock::Moment;

/// Lines that the output does not take now are offered again after this time.
const OFFER_TICK: Duration = Duration::from_millis(10);

impl HostSlot {
    /// Waits until something comes from the agent or something is due, and deals with it.
    pub(super) fn attend(&mut self, due: Moment) {
        let timeout = self.timeout();
        let Some(connection) = &mut self.connection else { return };
        let shared = Arc::clone(&self.slot.shared);
        let silent_at = connection.heard.after(timeout);
        let due = due.min(silent_at).min(self.said.due).min(self.said.turn_at);
        let wait = due.until(shared.now());
        let ready = connection.wait(&shared, &self.desk, &self.slot.wake, wait);
        let is_silent = !ready.stdout && shared.now() >= connection.heard.after(timeout);
        let is_closed = connection.is_closed;
        match self.read_messages() {
            Err(hitch) => self.failed(&hitch),
            Ok(()) if self.record.has_said_bye => {}
            Ok(()) if is_closed => self.closed(),
            Ok(()) if is_silent => {
                let time = humantime::format_duration(timeout);
                self.failed(&Hitch::passing(format!("it has given no sign of life for {time}")));
            }
            Ok(()) => {}
        }
        if let Some(why) = self.record.is_unfit.take() {
            self.turn_away(&why);
        }
    }

    /// Deals with all messages that have come.
    pub(super) fn read_messages(&mut self) -> Result<(), Hitch> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let mut incoming = std::mem::take(&mut connection.incoming);
        let mut refusal = None;
        let read = incoming.each(|kind, message| {
            let message = FromAgent::read(kind, message)?;
            refusal = refusal.take().or(self.receive(message));
            Some(())
        });
        if let Some(connection) = &mut self.connection {
            connection.incoming = incoming;
        }
        match (refusal, read) {
            (Some(why), _) => Err(Hitch::lasting(why)),
            (None, Err(Garbled)) => {
                Err(Hitch::passing("what came from it is no message of an agent"))
            }
            (None, Ok(())) => Ok(()),
        }
    }

    /// Deals with a message. Returns why the host is of no use, if the message says so.
    fn receive(&mut self, message: FromAgent<'_>) -> Option<String> {
        match message {
            FromAgent::Begun { slot, seq, count } => {
                self.ledger.begin(slot, seq, count, self.slot.now());
            }
            FromAgent::Process { slot, pid } => {
                self.said.pids.insert(slot, pid);
            }
            FromAgent::Done(outcome) => self.done(outcome),
            FromAgent::Texts { seq, count, texts } => self.texts(seq, count, texts),
            FromAgent::Printed { seq, is_stderr, bytes } => self.keep(seq, is_stderr, bytes),
            FromAgent::Lines { seq, out, err } => self.pass_lines(seq, out, err),
            FromAgent::Part { seq, part } => self.pass_part(seq, part.value()),
            FromAgent::Returned { seq, count } => self.returned(seq, count),
            FromAgent::Recalled => self.said.recall = false,
            FromAgent::Pong(stamp) => {
                if let Some(stamp) = stamp.filter(|stamp| *stamp > 0) {
                    self.pong(stamp);
                }
            }
            FromAgent::Ready { slots } => {
                self.ready();
                if self.desk.is_server() && slots > self.capacity as u64 {
                    // Whoever takes fewer slots than a server has says how many jobs may run at a time.
                    self.window.limit();
                }
            }
            FromAgent::AtATime { jobs, is_concurrent } => {
                self.window.widen(usize::try_from(jobs).unwrap_or(usize::MAX), is_concurrent);
            }
            FromAgent::Refused(why) => return Some(why.to_owned()),
            FromAgent::Unfit(why) if self.desk.is_server() => {
                self.record.is_unfit = Some(why.to_owned());
            }
            FromAgent::Unfit(why) => return Some(why.to_owned()),
            FromAgent::Bye => self.bye(),
            // A server has said what it is before there was a slot for it.
            FromAgent::Pool(_) | FromAgent::Status(_) => {}
            FromAgent::Proved(number) => self.prove(number, true),
            FromAgent::Unprovable(number) => self.prove(number, false),
            FromAgent::Doubt { key, failure } => self.doubt(key, &failure),
            FromAgent::Stderr(lines) => self.watcher().worker_stderr(lines),
            FromAgent::Note(text) => self.watcher().note(text),
            FromAgent::Doubtful(text) => {
                self.slot.shared.watcher.doubtful(&self.desk.named(text));
            }
            FromAgent::OutputLost(text) => {
                self.slot.shared.watcher.output_lost(&self.desk.named(text));
            }
            FromAgent::WorkerEnded(end) => self.worker_ended(end),
        }
        None
    }

    /// The agent has finished. A server that was told to stop leaves the jobs that it has ended to this end.
    fn bye(&mut self) {
        self.record.has_said_bye = true;
        if self.ledger.unfinished() > 0 {
            self.give_jobs_back("it has ended");
        }
    }

    fn watcher(&self) -> HostWatcher<'_> {
        HostWatcher { watcher: &*self.slot.shared.watcher, host: self.desk.label() }
    }

    /// A job is over.
    fn done(&mut self, done: RemoteOutcome<'_>) {
        let Some(finished) = self.ledger.finish(done.seq, &mut self.scratch) else { return };
        self.window.finished(1, Instant::now());
        self.record.idle_losses = 0;
        let captures = self.printed.remove(&done.seq);
        let printed = done.command.map(|command| {
            let spool = &self.slot.shared.files.spool;
            let [mut stdout, mut stderr] =
                captures.unwrap_or_else(|| [Capture::new(spool), Capture::new(spool)]);
            if let Err(error) = stdout.finish().and_then(|()| stderr.finish()) {
                self.slot.shared.watcher.output_lost(&not_kept(&error));
            }
            stdout.count_passed(command.passed[0]);
            stderr.count_passed(command.passed[1]);
            Arc::new(Printed { exit: command.exit, signal: command.signal, stdout, stderr })
        });
        let now = self.slot.now();
        let time = done.run.map_or(Duration::ZERO, |run| run.time);
        let start = now.before(time);
        let pid = done.run.map_or(0, |run| run.pid);
        let unproven = done.unproven.map(|number| self.said.number_of(number));
        let attempt = Attempt { pid, start, clock: start, now, unproven };
        let slot = done.run.map_or(0, |run| usize::try_from(run.slot).unwrap_or_default());
        self.slot.elsewhere = Some((slot, self.desk.label()));
        match &done.outcome {
            Ok(_) => self.note_success(),
            Err(failure) => self.note_failure(failure.kind),
        }
        let outcome = done.outcome.as_ref().map(RemoteValue::value);
        match finished {
            Finished::Alone(job) => self.slot.deliver(attempt, *job, outcome, printed.as_ref()),
            Finished::OfBundle if outcome.is_ok() => {
                self.slot.give_to_sink(attempt, &self.scratch, outcome, printed.as_ref());
                self.slot.finished += 1;
            }
            Finished::OfBundle => {
                let job = std::mem::replace(&mut self.scratch, Job::new(0, "", "", ""));
                self.slot.deliver(attempt, job, outcome, printed.as_ref());
            }
        }
        if self.slot.shared.config.is_live() {
            // Lines of the next job must not be printed after those of a job that follows it.
            self.slot.flush();
        }
    }

    /// Successive jobs are over.
    fn texts(&mut self, seq: u64, count: u64, texts: &[u8]) {
        let before = self.ledger.unfinished();
        let has_all = self.ledger.finish_range(seq, count);
        let finished = before - self.ledger.unfinished();
        self.slot.finished += finished;
        self.window.finished(finished, Instant::now());
        self.record.idle_losses = 0;
        if has_all {
            self.note_success();
            self.slot.shared.deliveries.deliver_texts(seq, count, texts);
        }
    }

    /// Keeps the output of a command.
    fn keep(&mut self, seq: u64, is_stderr: bool, bytes: &[u8]) {
        if self.ledger.alone(seq).is_none() {
            return;
        }
        let spool = &self.slot.shared.files.spool;
        let captures =
            self.printed.entry(seq).or_insert_with(|| [Capture::new(spool), Capture::new(spool)]);
        if let Err(error) = captures[usize::from(is_stderr)].write_all(bytes) {
            self.slot.shared.watcher.output_lost(&not_kept(&error));
        }
    }

    /// Gives lines to the output as soon as it takes them.
    fn pass_lines(&mut self, seq: u64, out: &[u8], err: &[u8]) {
        let shared = &*self.slot.shared;
        let Some(job) = self.ledger.alone(seq) else { return };
        self.offer(|| shared.deliveries.pass_lines(job, out, err));
    }

    /// Gives a part of a result to the output as soon as it takes it.
    fn pass_part(&self, seq: u64, part: Value<'_>) {
        let deliveries = &self.slot.shared.deliveries;
        self.ledger.look_at(seq, |job| self.offer(|| deliveries.pass_part(job, part)));
    }

    /// Makes an offer to the output until it takes it.
    fn offer(&self, mut is_taken: impl FnMut() -> bool) {
        let mut has_waited = false;
        while !is_taken() && !self.slot.shared.groups.is_killing() {
            self.slot.shared.deliveries.await_room(&self.slot.wake, OFFER_TICK);
            has_waited = true;
        }
        if has_waited {
            // A wake-up may have been cleared.
            self.slot.wake.notify();
        }
    }

    /// Jobs come back that were not begun.
    fn returned(&mut self, seq: u64, count: u64) {
        self.said.calls.cancelled.remove(&seq);
        let back = self.ledger.take_back(seq, count);
        self.slot.put_back(back.into_iter());
        let fresh = self.slot.shared.queue.set_aside(self.slot.index);
        self.slot.shared.start_slots(fresh);
    }

    /// The results with this number are proven, or never will be.
    fn prove(&mut self, number: u64, is_proven: bool) {
        let number = self.said.number_of(number);
        self.said.unproven.remove(&number);
        // The records of the results come first.
        self.slot.flush();
        if let Some(sink) = self.slot.shared.deliveries.sink() {
            if is_proven { sink.proved(number) } else { sink.unprovable(number) }
        }
    }

    fn doubt(&mut self, key: Key, failure: &Failure) {
        let mut job = Job::new(0, "", "", "");
        job.key = Some(key);
        // The records of successes come first.
        self.slot.flush();
        if let Some(sink) = self.slot.shared.deliveries.sink() {
            sink.doubt(&Done {
                job: &job,
                outcome: Err(failure),
                printed: None,
                run: None,
                unproven: None,
            });
        }
    }

    fn worker_ended(&mut self, end: RemoteWorkerEnd) {
        let now = self.slot.now();
        let clock = &self.slot.shared.groups.clock;
        self.slot.shared.watcher.worker_ended(&WorkerEnd {
            slot: usize::try_from(end.slot).unwrap_or_default(),
            pid: end.pid,
            generation: end.generation,
            start: clock.unix_seconds(now.before(end.time)),
            seconds: end.time.as_secs_f64(),
            jobs: end.jobs,
            why: usize::try_from(end.why)
                .ok()
                .and_then(|nth| Why::ALL.get(nth).copied())
                .unwrap_or(Why::Died),
        });
    }
}

fn not_kept(error: &std::io::Error) -> String {
    format!(
        "what a command printed could not be kept in a temporary file in '{}': {error}; make room \
         there, or set TMPDIR to another folder",
        crate::util::temporary::temporary_folder().display()
    )
}
