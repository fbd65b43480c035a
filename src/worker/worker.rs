//! A worker: its process, its parts, and the steps that a slot takes with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::card::{Duty, WorkerCard, WorkerId};
use super::flights::{Flight, Flights};
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::pace::Pace;
use super::reading::{ReadProgress, Reading};
use super::replies::{Received, Receiver, Reply};
use super::service::Service;
use super::unproven::Unproven;
use super::violation::Violation;
use crate::config::Config;
use crate::job::{Failure, Job, Watcher, Why, WorkerEnd};
use crate::process::{Groups, Process, Transfer, Wake};
use crate::protocol::Protocol;
use crate::util::clock::{Clock, Moment};

/// Pipes are made wide for messages of more bytes than this.
const LARGE: usize = 128 << 10;

/// For the first replies of a worker, up to this many, it is checked that the request had been read.
const PROBATION: u64 = 64;

/// A worker and its open requests.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) card: Arc<WorkerCard>,
    pub(super) protocol: Protocol,
    pub(crate) flights: Flights,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pace: Pace,
    service: Service,
    pub(super) reading: ReadProgress,
    pub(crate) unproven: Unproven,
    /// When the oldest job became the oldest. Without jobs: when the worker became idle.
    pub(crate) turn_began: Moment,
    /// How many start-up failures had been counted when the worker was started.
    pub(crate) failures_before: u32,
    /// How much of its stderr had been read before the last wait.
    pub(crate) words_before: u64,
    /// Its pipes were made wide, since its messages are large.
    is_wide: bool,
}

/// A job that can't be put into a request.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) job: Job,
    /// Why, as a sentence.
    pub(crate) message: String,
}

// ---- Its life

impl Worker {
    pub(crate) fn new(
        process: Process,
        config: &Config,
        now: Moment,
        failures_before: u32,
        id: WorkerId,
    ) -> Self {
        let protocol = config.worker.protocol.clone();
        Self {
            card: Arc::new(WorkerCard::new(id, process.pid(), now)),
            process,
            flights: Flights::with(config.worker.parts),
            outbox: Outbox::new(),
            inbox: Inbox::default(),
            pace: Pace::new(config.worker.depth),
            service: Service::new(&config.recycling, now),
            reading: ReadProgress::new(now),
            unproven: Unproven::new(protocol.is_raw()),
            protocol,
            turn_began: now,
            failures_before,
            words_before: 0,
            is_wide: false,
        }
    }

    /// When the worker was started.
    pub(crate) fn born(&self) -> Moment {
        self.service.born()
    }

    /// How many jobs the worker has answered.
    pub(crate) fn replies(&self) -> u64 {
        self.service.replies()
    }

    /// Whether the worker gets no more jobs.
    pub(crate) fn is_spent(&self) -> bool {
        self.service.is_spent()
    }

    /// Whether the worker has answered a younger job before an older one.
    pub(crate) fn is_unordered(&self) -> bool {
        self.flights.is_unordered()
    }

    /// Whether the worker has served its time: it has had all its jobs, is old, or holds too much
    /// memory.
    pub(crate) fn has_served(&mut self, config: &Config, now: Moment) -> bool {
        self.service.has_served(&config.recycling, &self.process, now)
    }

    /// How many more jobs the worker may be given before its time is over; 0 if its age may end it
    /// first.
    pub(crate) fn left(&self, config: &Config) -> usize {
        let left = if config.recycling.max_age.is_some() { 0 } else { self.service.left() };
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Whether the worker may be given several more jobs.
    pub(crate) fn may_have_several(&self) -> bool {
        !self.service.is_spent() && self.service.left() > 1
    }

    /// When the worker will have served its time, about. `pace` is that of the other workers. It is
    /// used until this worker's own is known.
    pub(crate) fn expected_end(&self, config: &Config, pace: Duration) -> Moment {
        let by_age = self.service.end_by_age(&config.recycling);
        // The worker is on its oldest job, and will get all jobs that it may still have.
        let Some(left) = self.service.until_last(self.flights.jobs()) else { return by_age };
        let own = self.pace();
        let pace = if own.is_zero() { pace } else { own };
        if pace.is_zero() {
            // No pace is known: the last job alone shows that the end is near.
            return if left <= 1 { self.turn_began } else { by_age };
        }
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        by_age.min(self.turn_began.after(pace.saturating_mul(left)))
    }

    /// Sets why the worker ends.
    pub(crate) fn set_why(&mut self, why: Why) {
        self.service.set_why(why);
    }

    /// Gives the worker no more jobs, for this reason. The first reason counts.
    pub(crate) fn spend_for(&mut self, why: Why) {
        self.service.spend_for(why);
    }

    /// Describes what the worker did, once it is gone.
    pub(crate) fn ended(&self, clock: &Clock) -> WorkerEnd {
        WorkerEnd {
            slot: self.card.id.slot,
            pid: self.process.pid(),
            generation: self.card.id.generation,
            start: clock.unix_seconds(self.born()),
            seconds: clock.now().since(self.born()).as_secs_f64(),
            jobs: self.replies(),
            why: self.service.why(),
        }
    }

    /// The worker has been warmed up: what it did before does not count.
    pub(crate) fn finish_warm_up(&mut self, now: Moment) {
        self.service.restart();
        self.card.set_jobs(0);
        self.card.set_duty(Duty::Serving);
        self.pace.forget_time();
        self.unproven.forget();
        self.begin_turn(now);
    }

    /// The worker is idle, or another job is the oldest.
    pub(crate) fn begin_turn(&mut self, now: Moment) {
        self.turn_began = now;
        self.reading.begin_turn(now);
    }

    /// Makes the pipes wide for a message of this length.
    fn widen_for(&mut self, len: usize) {
        if len > LARGE && !self.is_wide {
            self.is_wide = true;
            self.process.widen();
        }
    }
}

// ---- How much it is given

impl Worker {
    /// How many more jobs the worker may be given now.
    pub(crate) fn room(&self, now: Moment) -> usize {
        if self.service.is_spent() || now >= self.unproven.break_at(self.pace.slowest()) {
            return 0;
        }
        let (in_flight, left) = (self.flights.jobs(), self.service.left());
        let (window, quiet) = (&self.pace.window, now.since(self.turn_began));
        let is_full = window.room_bytes(self.flights.bytes()) == 0;
        if in_flight > 0 && (is_full || window.is_slow(quiet)) {
            return 0;
        }
        window.room(in_flight, quiet).min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// When a worker that has no room now may have some, even if it answers nothing until then.
    pub(crate) fn refill_at(&self, now: Moment) -> Moment {
        let (window, jobs) = (&self.pace.window, self.flights.jobs());
        window.lull(jobs).map_or(Moment::NEVER, |lull| self.turn_began.after(lull).if_after(now))
    }

    /// Whether the worker is on a job that must be alone in its process.
    pub(crate) fn is_on_suspect(&self) -> bool {
        self.flights.front().is_some_and(|flight| flight.job.is_suspect)
    }

    /// How many bytes of requests the worker may be given.
    pub(crate) fn room_bytes(&self) -> usize {
        self.pace.window.room_bytes(self.flights.bytes())
    }

    /// How long a job takes, about; zero: it is not known yet.
    pub(crate) fn pace(&self) -> Duration {
        self.pace.per_job()
    }

    /// What the next worker of the slot need not learn anew. `None`: this worker says that itself.
    pub(crate) fn pace_for_next(&self) -> Option<Pace> {
        (!self.pace.window.is_concurrent()).then(|| self.pace.clone())
    }

    /// The worker is expected to be as fast as the one before it.
    pub(crate) fn expect_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// How many jobs may be taken at once, since together they take almost no time.
    pub(crate) fn portion(&self) -> usize {
        self.pace.portion()
    }

    /// How long to leave the worker alone. A worker that has much to do and writes its replies one at a
    /// time would wake the slot for each of them. `None`: wait for the worker as usual.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        if self.has_unsent() { None } else { self.pace.pause(self.flights.jobs()) }
    }
}

// ---- What it is sent

impl Worker {
    /// Takes a job on: its request goes to the outbox.
    ///
    /// # Errors
    /// The job can't be put into a request.
    pub(crate) fn accept(&mut self, job: Job, now: Moment) -> Result<(), Box<Refused>> {
        let id = self.service.requests() + 1;
        let span = match self.outbox.add(&self.protocol, id, &job) {
            Ok(span) => span,
            Err(message) => return Err(Box::new(Refused { job, message })),
        };
        if self.flights.is_empty() {
            self.begin_turn(now);
            self.unproven.begin_job(now);
            self.process.ignore_stderr_before(self.process.stderr_count());
        }
        self.service.count_requests(job.count());
        self.widen_for(self.outbox.len());
        self.flights.push(job, now, id, span);
        self.card.set_in_flight(self.flights.jobs());
        Ok(())
    }

    /// Tells a worker that works on several jobs at a time to end one of them, given by its place. The job gets
    /// this failure when the worker answers. Returns whether the worker was told.
    pub(crate) fn end_job(&mut self, index: usize, now: Moment, failure: Failure) -> bool {
        if !self.is_concurrent() || self.outbox.is_closed() {
            return false;
        }
        let Some(id) = self.flights.cancel(index, now, failure) else { return false };
        self.outbox.add_end_of(&self.protocol, id);
        true
    }

    /// Whether the worker has said that it works on several jobs at a time.
    pub(crate) fn is_concurrent(&self) -> bool {
        self.pace.window.is_concurrent()
    }

    /// How many jobs the worker may have even if they are slow.
    pub(crate) fn at_a_time(&self) -> usize {
        self.pace.window.at_a_time()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.outbox.has_unsent()
    }

    /// Writes as much of the outbox as the worker takes now. `Closed`: the worker has closed its stdin.
    pub(crate) fn send(&mut self) -> Transfer {
        self.outbox.send(&self.process)
    }

    /// Whether the worker has closed its stdin. Then it can only answer what it has read.
    pub(crate) fn has_closed_stdin(&self) -> bool {
        self.outbox.is_closed()
    }

    /// The worker has closed its stdin, and gets no more.
    pub(crate) fn stdin_closed(&mut self) {
        self.process.ignore_stdin();
        self.outbox.close();
        self.service.spend();
    }
}

// ---- What it prints

impl Worker {
    /// Reads once from the worker's stdout.
    pub(crate) fn read(&mut self) -> Transfer {
        self.widen_for(self.inbox.len());
        let progress = self.inbox.read(&self.process);
        if let Transfer::Moved(count) = progress {
            self.reading.note_output(count);
        }
        progress
    }

    /// Takes all complete replies out of the inbox, and hands each to `answer` with its job.
    pub(crate) fn receive(
        &mut self,
        max_reply: usize,
        now: Moment,
        answer: impl FnMut(Reply<'_>),
    ) -> Result<Received, Violation> {
        if self.is_early() {
            return Err(Violation::early(&self.protocol, self.replies(), self.inbox.bytes()));
        }
        let mut receiver = Receiver {
            protocol: &self.protocol,
            bulk: self.protocol.bulk(),
            max_reply,
            requests: self.service.requests(),
            replies: self.service.replies(),
            read_at_end: self.reading.at_end(),
            now,
            flights: &mut self.flights,
            outbox: &mut self.outbox,
            unproven: &mut self.unproven,
            received: Received::default(),
            answer,
        };
        let outcome = self.inbox.take_messages(|bytes, scan| receiver.take(bytes, scan));
        let mut received = receiver.received;
        if received.is_concurrent {
            self.pace.window.become_concurrent();
        }
        if received.stale.is_some() {
            self.service.spend_for(Why::Protocol);
        }
        if received.answered > 0 {
            self.learn(received.answered, now.since(self.turn_began));
            self.begin_turn(now);
            self.process.ignore_stderr_before(self.words_before);
            received.is_ahead = self.is_on_probation() && self.is_ahead();
        }
        outcome.map(|()| received)
    }

    /// Learns from this many replies how fast the worker is.
    fn learn(&mut self, answered: usize, time: Duration) {
        let is_first = self.service.replies() == 0;
        self.service.count_replies(answered);
        self.card.set_jobs(self.service.replies());
        self.card.set_in_flight(self.flights.jobs());
        self.reading.note_reply();
        self.pace.learn_replies(answered);
        // The first reply shows how long the start-up took, not how long a job takes.
        if !is_first || self.pace.is_met_by(answered, time) {
            self.pace.learn_time(answered, time);
        }
    }

    /// Whether the worker has printed something before it read its oldest request. That is no reply.
    fn is_early(&self) -> bool {
        self.is_on_probation()
            && self.protocol.is_raw()
            && !self.flights.is_empty()
            && !self.inbox.is_empty()
            && self.reading() == Reading::Nothing
    }

    /// Whether each reply is checked: a worker that prints one too many mostly does so among its first.
    fn is_on_probation(&self) -> bool {
        self.service.replies() < PROBATION
    }

    /// Whether the worker has answered a request of which it has read nothing. Then it has printed
    /// something that was taken for a reply.
    pub(crate) fn is_ahead(&self) -> bool {
        self.unproven.is_anonymous()
            && self.service.replies() > 0
            && self.bytes_read().is_some_and(|read| read <= self.flights.answered_from())
    }

    /// Whether output that nobody asked for would be taken for the reply to the next request.
    pub(crate) fn may_mislead(&self) -> bool {
        self.unproven.is_anonymous() && self.flights.is_empty()
    }

    /// The output of a worker without a job that would be taken for a reply.
    pub(crate) fn unasked(&self) -> &[u8] {
        if self.may_mislead() { self.inbox.unasked(&self.protocol) } else { &[] }
    }

    /// The same for a worker that is at its end.
    pub(crate) fn unasked_at_end(&self) -> &[u8] {
        if self.may_mislead() { self.inbox.unasked_at_end(&self.protocol) } else { &[] }
    }

    /// When to check whether the results so far are proven, if records wait for that.
    pub(crate) fn proof_at(&self) -> Moment {
        match self.flights.jobs() {
            _ if !self.unproven.is_kept() => Moment::NEVER,
            0 => self.unproven.proof_at(self.turn_began, self.pace.slowest()),
            1 if self.is_on_one() => self.unproven.next_look(),
            _ => Moment::NEVER,
        }
    }

    /// Whether a single request is open, and it was sent after all replies so far had come. If it was
    /// sent earlier, the worker may have read it before it printed them.
    pub(crate) fn is_on_one(&self) -> bool {
        let was_idle = |flight: &Flight| flight.start >= self.turn_began;
        self.flights.jobs() == 1 && self.flights.front().is_some_and(was_idle)
    }

    /// Whether it is proven that the worker has printed nothing that would be taken for a reply to
    /// another request. It has been idle and silent for long enough, or it has read its next request
    /// and printed nothing.
    pub(crate) fn has_proof(&mut self, now: Moment) -> bool {
        let has_proof = match self.flights.jobs() {
            0 => now >= self.unproven.proof_at(self.turn_began, self.pace.slowest()),
            _ if !self.is_on_one() => false,
            _ => self.bytes_read().is_some() && self.reading() == Reading::All,
        };
        // All that it printed before it read its request has arrived by now.
        let is_silent =
            self.unparsed().is_empty() && !self.process.may_be_read() && !self.is_ahead();
        if !(has_proof && is_silent) {
            self.unproven.look_again(self.turn_began, now);
        }
        has_proof && is_silent
    }

    /// The end of the worker's output, which is no whole message.
    pub(crate) fn unparsed(&self) -> &[u8] {
        self.inbox.unparsed()
    }

    /// The framing that the unparsed bytes look like, as a phrase; empty: they look like no other than
    /// the worker's own.
    pub(crate) fn likely_framing(&self) -> String {
        self.protocol.likely_framing(self.inbox.bytes())
    }

    /// Describes the printed part of an incomplete message, as a phrase; empty: there is none.
    pub(crate) fn unfinished(&self) -> String {
        self.inbox.describe_unparsed(&self.protocol)
    }

    /// Reads the rest of the stdout of a worker that has ended.
    pub(crate) fn read_rest(&mut self) {
        while self.inbox.len() < LARGE
            && matches!(self.inbox.read(&self.process), Transfer::Moved(_))
        {}
    }

    /// Waits for the process to exit. What it prints meanwhile is kept.
    pub(crate) fn await_exit(
        &mut self,
        groups: &Groups,
        wake: Option<&Wake>,
        patience: Duration,
        watcher: &dyn Watcher,
    ) -> bool {
        self.process.await_exit(groups, wake, patience, watcher, Some(self.inbox.buffer()))
    }
}

// ---- Its jobs

impl Worker {
    /// When the time of a job began.
    pub(crate) fn clock(&self, flight: &Flight) -> Moment {
        flight.clock.max(self.turn_clock())
    }

    /// The earliest moment at which the time of a job can have begun. A worker that answers out of
    /// order is on all of its jobs at once.
    pub(crate) fn turn_clock(&self) -> Moment {
        if self.is_unordered() { Moment::ZERO } else { self.turn_began }
    }

    /// The jobs that the worker is on, and how many wait after them. `show` is called with each of
    /// these jobs and the moment at which its time began.
    pub(crate) fn underway<T>(&self, show: impl Fn(&Job, Moment) -> T) -> (Vec<T>, usize) {
        if self.is_unordered() {
            let flights = self.flights.iter();
            return (flights.map(|flight| show(&flight.job, flight.start)).collect(), 0);
        }
        let Some(oldest) = self.flights.front() else { return (vec![], 0) };
        let shown = oldest.look_at_next(|job| show(job, self.turn_began));
        (vec![shown], self.flights.jobs() - 1)
    }

    /// Takes out the oldest job, even if it is in a bundle.
    pub(crate) fn take_oldest(&mut self) -> Option<Flight> {
        self.flights.take_oldest()
    }

    /// Takes out all jobs that the worker has not answered.
    pub(crate) fn take_jobs(&mut self) -> VecDeque<Job> {
        self.flights.take_jobs()
    }

    /// Takes out the jobs that the worker can't have begun, since it has read only `bytes_read` bytes.
    pub(crate) fn take_unread(&mut self, bytes_read: Option<u64>) -> Vec<Job> {
        bytes_read.map_or_else(Vec::new, |read| self.flights.take_unread(read))
    }
}

// ---- What it has read

impl Worker {
    /// The worker is at its end, and reads no more. This comes before its stdin is closed: afterwards
    /// the system does not say how much it has read.
    pub(crate) fn note_end(&mut self) {
        let bytes_read = self.bytes_read();
        self.reading.note_end(bytes_read);
    }

    /// How many bytes the worker has read; `None`: the system does not say.
    pub(crate) fn bytes_read(&self) -> Option<u64> {
        self.reading.at_end().or_else(|| {
            let unread = self.process.unread()?;
            // A worker can open its stdin for writing, and so have more unread than it was sent.
            Some(self.outbox.written().saturating_sub(unread))
        })
    }

    /// Whether the worker had read a part of the oldest request once it had read `bytes_read` bytes.
    pub(crate) fn had_begun(&self, bytes_read: Option<u64>) -> bool {
        let Some((begins_at, _)) = self.flights.oldest_span() else { return false };
        bytes_read.is_none_or(|read| read > begins_at)
    }

    /// How much of its oldest request the worker has read. All of it, if the system does not say.
    pub(crate) fn reading(&self) -> Reading {
        match (self.flights.oldest_span(), self.bytes_read()) {
            (Some(span), Some(read)) => Reading::of(span, read),
            _ => Reading::All,
        }
    }

    /// Whether it is known that the request of the oldest job has been read.
    pub(crate) fn is_read(&self) -> bool {
        self.reading.is_read()
    }

    /// Whether the worker had read nothing of the oldest job's request at the last look.
    pub(crate) fn is_unread(&self) -> bool {
        self.reading.is_unread()
    }

    /// Whether the worker has read something, or has answered.
    pub(crate) fn has_started(&self) -> bool {
        self.reading.has_started()
    }

    /// Whether the worker prints much although it has read nothing.
    pub(crate) fn is_flooding(&self) -> bool {
        self.reading.is_flooding()
    }

    /// When to check again how much has been read. `timeout` is that of the oldest job.
    pub(crate) fn next_look(&self, timeout: Duration) -> Moment {
        self.reading.next_look(self.turn_began, timeout)
    }

    /// Checks how much has been read. The time of a job begins when its request has been read.
    pub(crate) fn look(&mut self, now: Moment) {
        let read = self.bytes_read().unwrap_or(u64::MAX);
        self.reading.look(&mut self.flights, read, self.turn_began, now);
    }
}
