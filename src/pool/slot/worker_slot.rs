//! A slot that keeps a worker: it takes jobs, starts a worker, hands the jobs over, waits, and deals
//! with what happened.

use std::time::Duration;

use crate::job::{Failure, Job, Kind, Why};
use crate::pool::queue::{Ask, STEP, Taken};
use crate::pool::shared::Shared;
use crate::pool::slot::deadline::{Deadlines, Due};
use crate::pool::slot::death::EndSign;
use crate::pool::slot::deliver::Attempt;
use crate::pool::slot::doubt::{doubt_for, prove_results};
use crate::pool::slot::lending::Lending;
use crate::pool::slot::renewal::Renewal;
use crate::pool::slot::shell::ShellLimit;
use crate::pool::slot::silence::remark_on_silence;
use crate::pool::slot::spare::SparePlace;
use crate::pool::slot::steps::{self, Slot, unbundled};
use crate::pool::slot::stopped::stopped_for_terminal;
use crate::pool::underway::Underway;
use crate::process::stops::Stopped;
use crate::process::{Readiness, Transfer};
use crate::util::clock::Moment;
use crate::worker::{Pace, Reading, Received, Refused, Violation, Worker};

/// A slot with a worker, as soon as it has jobs for one.
pub(super) struct WorkerSlot {
    pub(super) slot: Slot,
    pub(super) worker: Option<Worker>,
    pub(super) spare: SparePlace,
    /// How fast the worker was that has served its time.
    pub(super) pace: Option<Pace>,
    /// A worker is to be started before there is a job for it.
    prestarts: bool,
    /// When the worker may get more jobs, even if it answers nothing until then.
    refill_at: Moment,
    pub(super) lending: Lending,
    pub(super) renewal: Renewal,
    pub(super) shell: ShellLimit,
}

/// What is left of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// There is more to do.
    GoOn,
    /// The slot waits for a job, and may be lent to a caller meanwhile.
    Lend,
    /// There is nothing left to do.
    Leave,
}

impl WorkerSlot {
    pub(super) fn new(slot: Slot) -> Self {
        let prestarts = slot.index < slot.shared.config.worker.prestart;
        let lending = Lending::of(&slot.shared);
        let shell = ShellLimit::of(&slot.shared.config);
        Self {
            slot,
            worker: None,
            spare: SparePlace::default(),
            pace: None,
            prestarts,
            refill_at: Moment::NEVER,
            lending,
            renewal: Renewal::default(),
            shell,
        }
    }

    /// Works until the queue is closed and empty; then the worker is retired.
    pub(super) fn run(mut self) {
        while self.turn() != NextStep::Leave {}
        self.finish();
    }

    /// Retires the worker.
    pub(super) fn finish(&mut self) {
        self.end_renewal();
        let spare = self.spare.abandon();
        for worker in [spare, self.worker.take()].into_iter().flatten() {
            self.slot.retire_last(worker);
        }
        self.slot.nursery = None;
        self.slot.flush();
    }

    /// One round: take jobs, hand them to the worker, wait, deal with the events.
    pub(super) fn turn(&mut self) -> NextStep {
        if std::mem::take(&mut self.prestarts) {
            self.prestart();
        }
        let worker = self.worker.as_ref();
        self.slot.answer_roll_call(1, |shared, slot| {
            worker.map_or_else(Vec::new, |worker| underway(shared, worker, slot))
        });
        if self.is_renewing() {
            self.renew();
        }
        // A borrower of the slot may have taken jobs that are not its own.
        if self.slot.jobs.is_empty() && self.take() == Taken::Leave && self.in_flight() == 0 {
            return NextStep::Leave;
        }
        if !self.slot.jobs.is_empty() && !self.waits_with_suspect() && !self.put_to_work() {
            return NextStep::GoOn;
        }
        let Some(worker) = &mut self.worker else {
            self.slot.flush();
            self.slot.pause_until_due();
            return NextStep::GoOn;
        };
        if worker.has_unsent() && worker.send() == Transfer::Closed {
            self.stdin_closed();
            return NextStep::GoOn;
        }
        if self.lending.is_allowed && self.may_be_lent() {
            self.slot.flush();
            return NextStep::Lend;
        }
        self.wait();
        NextStep::GoOn
    }

    pub(super) fn in_flight(&self) -> usize {
        self.worker.as_ref().map_or(0, |worker| worker.flights.len())
    }

    /// Takes as many jobs as the worker may have now.
    pub(super) fn take(&mut self) -> Taken {
        let has_gates = self.slot.shared.gates.any();
        if self.in_flight() == 0 {
            self.slot.give_token_back();
        } else if has_gates {
            return Taken::Wait;
        }
        let is_spent = |worker: &Worker| worker.is_spent() && worker.flights.is_empty();
        if self.worker.as_ref().is_some_and(is_spent) {
            // It would get no job, and keep the slot forever.
            self.retire();
        }
        let now = self.slot.now();
        self.slot.forget_due();
        let (max, max_bytes) = match &self.worker {
            Some(worker) if worker.is_on_suspect() => (0, 0),
            Some(worker) if !has_gates => (worker.room(now), worker.room_bytes()),
            _ => (1, 1),
        };
        let at_a_time = self.worker.as_ref().filter(|_| !has_gates).map_or(1, Worker::at_a_time);
        if at_a_time > 1 {
            let is_concurrent = self.worker.as_ref().is_some_and(Worker::is_concurrent);
            self.slot.shared.deliveries.note_at_a_time(at_a_time, is_concurrent);
        }
        if max == 0 {
            let refill_at = |worker: &Worker| worker.refill_at(now);
            self.refill_at = self.worker.as_ref().map_or(Moment::NEVER, refill_at);
            return Taken::Wait;
        }
        let ask = Ask {
            warm: self.worker.is_some(),
            busy: self.in_flight() > 0,
            finished: std::mem::take(&mut self.slot.finished),
            now,
            max,
            max_bytes,
            portion: self.worker.as_ref().map_or(1, Worker::portion),
            shares: usize::from(at_a_time > 1),
            holder: self.slot.index,
        };
        self.slot.take(ask)
    }

    /// Hands the jobs in hand to the worker, which is started if there is none. Returns whether to wait
    /// for the worker now; otherwise the next round begins.
    fn put_to_work(&mut self) -> bool {
        if !self.slot.pass_gates() {
            return false;
        }
        if self.worker.is_none() && self.slot.forget_abandoned() {
            return false;
        }
        let is_new = self.worker.is_none();
        if is_new && !self.start() {
            return false;
        }
        self.look_out();
        self.hand_over();
        if self.in_flight() == 0 {
            // The callers of all jobs are gone: the queue must learn that.
            return false;
        }
        // A fresh worker may get more jobs than the one that it was started for, and the queue must learn of the room
        // at one that works on several at a time.
        let gets_more = |worker: &Worker| {
            (is_new || worker.at_a_time() > 1) && worker.room(self.slot.now()) > 0
        };
        !self.worker.as_ref().is_some_and(gets_more)
    }

    /// Ends a worker that has printed something while it had no job: that would be taken for the reply
    /// to the next one.
    fn look_out(&mut self) {
        let Some(worker) = self.worker.as_mut().filter(|worker| worker.may_mislead()) else {
            return;
        };
        if !worker.process.may_be_read() {
            prove_results(&self.slot.shared, worker, self.slot.now());
        } else if let Transfer::Moved(_) = worker.read() {
            self.receive();
        }
        self.end_unasked();
        if self.worker.is_none() {
            let jobs = std::mem::take(&mut self.slot.jobs);
            self.slot.shared.queue.put_back(self.slot.index, jobs.into_iter());
        }
    }

    /// Ends the worker if it has printed something that nobody asked for. Returns whether it has.
    fn end_unasked(&mut self) -> bool {
        let has_printed = |worker: &mut Worker| !worker.unasked().is_empty();
        let Some(worker) = self.worker.take_if(has_printed) else { return false };
        self.slot.end_unasked(worker);
        true
    }

    /// Hands the jobs in hand to the worker.
    pub(super) fn hand_over(&mut self) {
        let now = self.slot.now();
        self.lending.count_jobs(self.slot.jobs.len());
        if self.worker.as_ref().is_some_and(|worker| worker.is_unordered()) {
            self.slot.jobs = unbundled(std::mem::take(&mut self.slot.jobs));
        }
        while let Some(job) = self.slot.jobs.pop_front() {
            if self.must_be_apart(&job) {
                self.slot.jobs.push_front(job);
                return self.keep_apart();
            }
            if job.is_suspect {
                // It may end more than its worker: no result before it is to be lost.
                self.slot.flush();
            }
            if let Some(caller) = &job.caller {
                caller.is_at(self.slot.index);
            }
            if job.is_abandoned() {
                self.slot.finished += job.count();
            } else if let Some(worker) = &mut self.worker
                && let Err(refused) = worker.accept(job, now)
            {
                let Refused { job, message } = *refused;
                self.refused(job, message);
            }
        }
    }

    /// A job can't be put into a request: it fails. The jobs of a bundle are tried one by one.
    fn refused(&mut self, job: Job, message: String) {
        if job.count() > 1 {
            let others = std::mem::take(&mut self.slot.jobs);
            self.slot.jobs = unbundled([job].into());
            self.slot.jobs.extend(others);
            return;
        }
        let message = self.slot.shared.deliveries.with_place(&job, message);
        let failure = Failure::new(Kind::Invalid, message);
        self.slot.deliver(Attempt::at_once(0, self.slot.now()), job, Err(&failure), None);
    }

    /// Waits for the worker, a deadline or a wake-up, and deals with the event.
    fn wait(&mut self) {
        self.slot.flush();
        let Some(worker) = &mut self.worker else { return };
        self.spare.prepare(&mut self.slot, worker);
        let deadline = next_deadline(&self.slot.shared, worker, &self.spare);
        let refill_at = std::mem::replace(&mut self.refill_at, Moment::NEVER);
        let timeout = match deadline.min(self.slot.due()).min(self.renewal.due).min(refill_at) {
            Moment::NEVER => None,
            deadline => deadline.until(self.slot.now()),
        };
        // While slots are held back, a job that takes long must show soon.
        let watched = self.slot.shared.queue.is_ramping().then(|| self.slot.now());
        let timeout = watched.map(|_| STEP).into_iter().chain(timeout).min();
        let timeout = self.shell.wait_for(worker, timeout);
        if let Some(time) = worker.pause() {
            self.slot.wake.wait_briefly(time);
            self.spare.receive(&self.slot);
        }
        let spare = self.spare.ready().map(|worker| &worker.process);
        let has_unsent = worker.has_unsent();
        let ready = worker.process.wait(Some(&self.slot.wake), has_unsent, spare, timeout);
        if let Some(since) = watched.filter(|_| !ready.stdout && !worker.flights.is_empty())
            && self.slot.now() >= since.after(STEP)
            && worker.reading() == Reading::All
        {
            self.slot.shared.queue.note_slow_job();
        }
        self.forward_stderr(&ready);
        self.attend(&ready);
    }

    /// Deals with what has come already.
    pub(super) fn look_around(&mut self) {
        let Some(worker) = &self.worker else { return };
        let ready = worker.process.wait(None, worker.has_unsent(), None, Some(Duration::ZERO));
        self.forward_stderr(&ready);
        self.attend(&ready);
    }

    /// Forwards the stderr of the worker and of the spare.
    fn forward_stderr(&mut self, ready: &Readiness) {
        let watcher = &*self.slot.shared.watcher;
        if let Some(worker) = &mut self.worker {
            worker.words_before = worker.process.stderr_count();
            if ready.stderr {
                worker.process.forward_stderr(watcher);
            }
        }
        if ready.other_stderr
            && let Some(spare) = self.spare.ready_mut()
        {
            spare.process.forward_stderr(watcher);
        }
    }

    /// Deals with the events: replies, the end of the worker, a caller that is gone, a deadline.
    fn attend(&mut self, ready: &Readiness) {
        let Some(worker) = &mut self.worker else { return };
        let pid = worker.process.pid();
        if (ready.stdout || ready.stderr) && self.slot.shared.config.failures.silence.is_some() {
            worker.note_heard(self.slot.now());
        }
        if ready.stdout {
            match worker.read() {
                Transfer::Moved(_) => self.receive(),
                Transfer::Closed => return self.worker_ended(&EndSign::ClosedStdout),
                Transfer::Blocked => {}
            }
        }
        // The worker may have been replaced after its last reply.
        let is_same = self.worker.as_ref().is_some_and(|worker| worker.process.pid() == pid);
        if ready.exited && is_same {
            return self.worker_ended(&EndSign::Exited);
        }
        if ready.stdin_closed && is_same {
            return self.stdin_closed();
        }
        if is_same && let Some(stopped) = self.worker_stopped() {
            return self.worker_ended(&EndSign::Stopped(stopped));
        }
        if is_same && (self.is_over_memory() || self.has_printed_too_much()) {
            return;
        }
        self.note_abandoned();
        self.hold_clocks();
        // The replies that have come are handled first: a late reply counts if it is there.
        self.look_at_clock();
    }

    /// Whether the worker was stopped because it wanted the terminal.
    fn worker_stopped(&self) -> Option<Stopped> {
        let worker = self.worker.as_ref()?;
        let shared = &*self.slot.shared;
        let who = || {
            let job = worker.flights.front().map(|flight| shared.deliveries.name(&flight.job));
            let on = job.map(|job| format!(" on {job}")).unwrap_or_default();
            format!("the worker (pid {}){on}", worker.process.pid())
        };
        stopped_for_terminal(shared, &worker.process, who)
    }

    /// Notes of the jobs at the worker that their callers are gone.
    fn note_abandoned(&mut self) {
        // Only calls have callers, and only a pool without a sink has many calls.
        if let Some(worker) = &mut self.worker
            && worker.flights.front().is_some_and(|flight| flight.job.is_of_call())
        {
            let now = self.slot.now();
            worker.flights.note_abandoned(now);
        }
    }

    /// Ends the worker for a job whose caller is gone.
    fn fail_abandoned(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        if let Some((index, _)) = worker.flights.longest_abandoned() {
            worker.flights.move_to_front(index);
        }
        let now = self.slot.now();
        let cancelled = Failure::new(Kind::Cancelled, "its caller is gone");
        if worker.end_job(0, now, cancelled) {
            return;
        }
        self.fail_oldest(None);
    }

    /// Does the work that is due now, if there is any.
    fn look_at_clock(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        let shared = &*self.slot.shared;
        let deadline = next_deadline(shared, worker, &self.spare);
        if deadline == Moment::NEVER {
            return;
        }
        let now = shared.now();
        if now < deadline {
            return;
        }
        if Deadlines::new(shared, worker).needs_look(now) {
            worker.look(now);
            if now < next_deadline(shared, worker, &self.spare) {
                return;
            }
        }
        if let Some(late) = Deadlines::new(shared, worker).late_job(now) {
            worker.flights.move_to_front(late);
        }
        match Deadlines::new(shared, worker).due(now) {
            Due::Nothing => {}
            Due::Retirement => self.retire_unused(now),
            Due::EndOfRun => self.cancel(),
            Due::NotStarted => self.not_started(),
            Due::Unread => self.request_unread(now),
            Due::JobTimeout => self.job_timed_out(),
            Due::Quiet => self.job_is_quiet(),
            Due::Abandoned => self.fail_abandoned(),
            Due::Proof => {
                prove_results(shared, worker, now);
                self.end_unasked();
            }
            Due::Silence => {
                if shared.start_ups.end_silence()
                    && let Some(flight) = worker.flights.front()
                {
                    remark_on_silence(shared, worker, &flight.job);
                }
            }
        }
    }

    /// The worker has closed its stdin, or does not read it any more. It may answer what it has read.
    fn stdin_closed(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        worker.stdin_closed();
        if worker.flights.is_empty() || worker.reading() != Reading::All {
            self.worker_ended(&EndSign::ClosedStdin);
        }
    }

    /// Delivers the replies that have come, and ends or replaces a worker that must not go on.
    fn receive(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        let now = self.slot.now();
        let was_spent = worker.is_spent();
        let outcome = self.slot.deliver_replies(worker, now);
        self.settle(&outcome, was_spent, now);
    }

    /// Ends or replaces a worker that must not go on after its replies were delivered.
    pub(super) fn settle(
        &mut self,
        outcome: &Result<Received, Violation>,
        was_spent: bool,
        now: Moment,
    ) {
        match outcome {
            Ok(received) => self.received(received, was_spent, now),
            Err(violation) => self.protocol_broken(violation),
        }
    }

    /// The worker has sent replies, which were delivered.
    fn received(&mut self, received: &Received, was_spent: bool, now: Moment) {
        let Some(worker) = &mut self.worker else { return };
        let shared = &*self.slot.shared;
        if received.answered > 0 || received.has_parts {
            shared.start_ups.worker_answered();
        }
        if received.answered > 0 {
            shared.estimates.learn_pace(worker.pace());
        }
        if let Some(id) = received.stale.filter(|_| !was_spent) {
            shared.watcher.note(&format!(
                "the worker in slot {} (pid {}) answered request {id} twice: it is replaced after \
                 the job it is on",
                self.slot.number(),
                worker.process.pid()
            ));
        }
        if worker.replies() == received.answered as u64 {
            shared.estimates.learn_start_time(now.since(worker.born()));
        }
        if received.is_ahead {
            self.end_ahead();
        } else if worker.has_closed_stdin() && !worker.flights.is_empty() {
            self.stdin_closed();
        } else if worker.has_served(&shared.config, now) && worker.flights.is_empty() {
            self.retire();
        }
    }

    /// A worker without a job has been idle for long enough, or is old.
    fn retire_unused(&mut self, now: Moment) {
        let age = self.slot.shared.config.recycling.max_age;
        if let Some(worker) = &mut self.worker {
            let is_old = age.is_some_and(|age| now >= worker.born().after(age));
            worker.set_why(if is_old { Why::MaxAge } else { Why::Idle });
        }
        self.retire();
    }

    /// The worker has served its time: it ends in the background, and the spare takes its place.
    pub(super) fn retire(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        self.spare.stop_waiting_for_input(&mut self.slot, &worker);
        self.pace = worker.pace_for_next();
        self.slot.retire(worker);
        self.spare.allow_next();
        self.spare.receive(&self.slot);
        // A spare that is not ready yet is waited for when there is a job for it.
        if let Some(spare) = self.spare.take_ready() {
            self.take_on(spare);
        }
    }

    /// The worker has broken the protocol: it is ended, and its oldest job fails.
    fn protocol_broken(&mut self, violation: &Violation) {
        if self.end_unasked() {
            return;
        }
        let Some(worker) = &mut self.worker else { return };
        let shared = &*self.slot.shared;
        let message = violation.message();
        doubt_for(shared, worker, violation);
        if worker.flights.is_empty() {
            let slot = self.slot.number();
            let pid = worker.process.pid();
            shared
                .watcher
                .note(&format!("the worker in slot {slot} (pid {pid}) is replaced: {message}"));
        }
        let id = violation.id.filter(|id| worker.flights.iter().any(|flight| flight.has_id(*id)));
        let failure = Failure::new(Kind::Protocol, message);
        self.fail_at_fault(&failure, |flight| id.is_none_or(|id| flight.has_id(id)));
    }

    /// Ends the worker. Its oldest job fails, or is forgotten if there is no failure.
    pub(super) fn fail_oldest(&mut self, failure: Option<&Failure>) {
        if let Some(worker) = self.worker.take() {
            self.slot.fail_oldest(worker, failure);
        }
    }

    fn end_ahead(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.slot.end_ahead(worker);
        }
    }

    fn cancel(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.slot.cancel(worker);
        }
    }

    fn worker_ended(&mut self, end: &EndSign) {
        if let Some(worker) = self.worker.take() {
            self.slot.worker_ended(worker, end);
        }
    }
}

/// When something is due next.
fn next_deadline(shared: &Shared, worker: &Worker, spare: &SparePlace) -> Moment {
    Deadlines::new(shared, worker).next(|| spare.due(shared, worker))
}

/// The jobs that a worker is on.
fn underway(shared: &Shared, worker: &Worker, slot: usize) -> Vec<Underway> {
    let pid = worker.process.pid();
    let show = |job: &Job, since| steps::underway(shared, job, slot, pid, since);
    let (mut jobs, waiting) = worker.underway(show);
    if let Some(first) = jobs.first_mut() {
        first.waiting = waiting;
        first.is_starting = worker.replies() == 0 && worker.reading() == Reading::Nothing;
    }
    jobs
}
