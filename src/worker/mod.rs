//! A persistent worker: a process, the requests it has been given, and the replies as they come.

pub(crate) mod buffering;
pub(crate) mod doubt;
pub(crate) mod window;

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Config;
use crate::job::{Failure, Job, Place, Value, Watcher, Why, WorkerEnd};
use crate::process::{Groups, Process, Transfer, Wake};
use crate::protocol::Protocol;
use crate::protocol::envelope::{Body, Message};
use crate::protocol::framing::{Scan, Split};
use crate::util::buffer::TypicalSize;
use crate::util::clock::{Clock, Moment};
use crate::util::random::random;
use crate::util::text::quote;
use crate::worker::doubt::Unproven;
use crate::worker::window::Window;

/// While so many bytes of requests are in flight no more are sent: many small ones or one large one.
const WINDOW_BYTES: usize = 256 << 10;

/// For messages that are larger than this, in bytes, pipes are made wide.
const LARGE: usize = 128 << 10;

/// Before a message there are no more bytes than this: no framing needs more.
const LONGEST_HEAD: usize = 4 << 10;

/// So many bytes of answers to its own questions, at most, a worker may leave unread.
const MOST_ANSWERS: usize = 4 << 20;

/// A worker that has had no job for so long, and is silent, has answered all it was asked.
const PROOF: Duration = Duration::from_secs(1);

/// With so many replies it is looked whether a worker had read its request by then.
const PROBATION: u64 = 64;

/// A worker's memory is looked at no more often than this.
const MEMORY_TICK: Duration = Duration::from_millis(5);

/// Whether a request has been read is looked at first after so long, or after a tenth of the timeout…
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// …and then ever less often, but never less often than this.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A worker that prints more than this before it has read anything is not starting any more.
const FLOOD: usize = 1 << 20;

/// Jobs that take no longer than this together may be taken at once, whoever else might take them.
const PORTION: Duration = Duration::from_micros(200);

/// A rest that is shorter brings nothing…
const SHORTEST_REST: Duration = Duration::from_micros(150);
/// …and none is longer.
const LONGEST_REST: Duration = Duration::from_millis(1);

/// So few replies that come together were written one by one…
const FEW: usize = 16;
/// …and for so many rests it is taken that those behind them are.
const RESTS: u32 = 32;

/// A job at a worker.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) job: Job,
    /// When it was handed to the worker.
    pub(crate) start: Moment,
    /// When its time began, as far as is known: not before its request was read.
    pub(crate) clock: Moment,
    /// What it goes by at the worker. The jobs of a bundle are counted on from there.
    id: u64,
    /// Where its request begins in all that the worker has been sent.
    begins_at: u64,
    /// …and where it ends.
    ends_at: u64,
    /// Of a bundle: how many of its jobs have been answered.
    answered: usize,
}

impl Flight {
    /// How many jobs are in flight with it.
    fn pending(&self) -> usize {
        self.job.count() - self.answered
    }

    /// Whether it is several jobs that are to be answered one by one.
    fn is_many(&self) -> bool {
        self.job.count() > 1 && self.job.lines().is_none()
    }

    /// Where the next job of it to be answered stood.
    fn place(&self) -> Place {
        let place = self.job.place;
        Place { line: place.line + self.answered as u64, ..place }
    }

    /// What the next job of it to be answered goes by.
    fn next_id(&self) -> u64 {
        self.id + self.answered as u64
    }

    /// The next job of a bundle of JSON, by itself.
    fn next(&self) -> Self {
        Self { job: self.job.nth(self.answered), id: self.next_id(), answered: 0, ..*self }
    }

    /// What is not answered yet.
    pub(crate) fn into_job(mut self) -> Job {
        if self.answered > 0 {
            drop(self.job.split_off_first(self.answered));
        }
        self.job
    }
}

/// What a worker has answered.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(crate) enum Answer<'a> {
    /// A job.
    One(Flight, Result<Value<'a>, &'a Failure>),
    /// One of a bundle, which the worker was handed at `start`.
    Next { job: &'a Job, start: Moment, clock: Moment, value: Value<'a> },
    /// So many of a bundle, from the one with this number on, with texts.
    Texts { seq: u64, count: usize, texts: &'a [u8] },
}

/// A worker did what no worker may do. The oldest job is charged with it.
#[derive(Debug)]
pub(crate) struct Violation {
    /// What is wrong, as a phrase.
    pub(crate) what: String,
    /// The offending bytes.
    pub(crate) bytes: Vec<u8>,
    /// It is a message too many, so that others may have been taken for replies to other requests.
    pub(crate) is_surplus: bool,
}

/// What the replies in one batch came to.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many jobs have been answered.
    pub(crate) answered: usize,
    /// A reply to a request that had its reply already. It harms no job, since the others still
    /// have theirs to come, but such a worker is not to be trusted with more.
    pub(crate) stale: Option<u64>,
}

/// How much of its oldest request a worker has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Nothing,
    Some,
    All,
}

/// A worker and what it has been asked.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process,
    protocol: Protocol,
    pub(crate) flights: VecDeque<Flight>,
    /// How many jobs it has been given.
    pub(crate) requests: u64,
    /// How many of them it has answered.
    pub(crate) replies: u64,
    /// It gets no more jobs.
    pub(crate) is_spent: bool,
    /// It has answered a younger job before an older one.
    pub(crate) is_unordered: bool,
    /// It has read something, or answered: it has started.
    pub(crate) has_started: bool,
    /// How many bytes it had printed before, in about.
    printed_unasked: usize,
    /// It has closed its stdin: it can only answer what it has read.
    pub(crate) is_deaf: bool,
    /// Why it ends, as far as it is known yet.
    pub(crate) why: Why,
    /// Its slot, from 1, and which one it is there.
    pub(crate) place: (usize, u64),
    /// When it was started.
    pub(crate) born: Moment,
    /// When the oldest job became the one that the worker is on; without jobs, when it became idle.
    pub(crate) turn_began: Moment,
    /// When it was looked at last how much it had read, and how much that was.
    looked: Moment,
    seen: u64,
    /// The request of the oldest job has been read or, by a worker without order, all of them.
    is_read: bool,
    /// Nothing of the request of the oldest job had been read at the last look.
    pub(crate) is_unread: bool,
    /// How many start-up failures had been counted when it was started.
    pub(crate) failures_before: u32,
    /// It gets so many jobs in all.
    max_reqs: u64,
    window: Window,
    /// How many jobs are in flight: more than flights where those are bundles.
    in_flight: usize,
    /// How many bytes of requests are in flight.
    flight_bytes: usize,
    /// How long a job takes, about.
    pace: Duration,
    /// When its memory was looked at last.
    weighed: Moment,
    /// So often it is still to be left alone for a while, since it writes its replies one by one.
    rests: u32,
    outbox: Vec<u8>,
    /// How much of the outbox has been written.
    written: usize,
    /// How much of the outbox is answers to questions of the worker.
    said: usize,
    /// How many bytes the worker was sent before those in the outbox.
    sent_before: u64,
    out_size: TypicalSize,
    /// Its pipes were made wide, since its messages are large.
    is_wide: bool,
    inbox: Vec<u8>,
    in_size: TypicalSize,
    /// How far the inbox was looked through that holds no whole message.
    scan: Scan,
    /// The job of a bundle that is being looked at.
    shown: Job,
    /// Its replies do not say which request they answer.
    is_anonymous: bool,
    pub(crate) unproven: Unproven,
    /// How much of its stderr had been read before it was last waited for.
    pub(crate) words_before: u64,
}

impl Worker {
    pub(crate) fn new(
        process: Process,
        config: &Config,
        now: Moment,
        failures_before: u32,
    ) -> Self {
        let max_reqs = match config.max_reqs {
            0 => u64::MAX,
            max => max.saturating_add(random(config.max_reqs_jitter)),
        };
        Self {
            process,
            protocol: config.protocol,
            flights: VecDeque::new(),
            requests: 0,
            replies: 0,
            is_spent: false,
            is_unordered: false,
            has_started: false,
            printed_unasked: 0,
            is_deaf: false,
            why: Why::Done,
            place: (0, 0),
            born: now,
            turn_began: now,
            looked: now,
            seen: 0,
            is_read: false,
            is_unread: false,
            failures_before,
            max_reqs,
            window: Window::new(config.depth),
            in_flight: 0,
            flight_bytes: 0,
            pace: Duration::ZERO,
            weighed: now,
            rests: 0,
            outbox: Vec::new(),
            out_size: TypicalSize::default(),
            is_wide: false,
            written: 0,
            said: 0,
            sent_before: 0,
            inbox: Vec::new(),
            in_size: TypicalSize::default(),
            scan: Scan::default(),
            shown: Job::new(0, "", "", ""),
            is_anonymous: config.protocol.is_raw(),
            unproven: Unproven::default(),
            words_before: 0,
        }
    }

    /// How many more jobs the worker may be given now.
    pub(crate) fn room(&self, now: Moment) -> usize {
        let in_flight = self.in_flight;
        if self.is_spent || (in_flight > 0 && self.flight_bytes >= WINDOW_BYTES) {
            return 0;
        }
        if in_flight > 0 && self.window.is_slow(now.since(self.turn_began)) {
            return 0;
        }
        // A window is filled up when it is half empty, so that a write carries many requests.
        let size = self.window.size();
        let window = if in_flight <= size / 2 { size - in_flight } else { 0 };
        let left = self.max_reqs.saturating_sub(self.requests);
        window.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// How many bytes of requests it may be given.
    pub(crate) fn room_bytes(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.flight_bytes)
    }

    /// Whether its time has come: it has had all its jobs, is old, or holds too much memory.
    pub(crate) fn has_served(&mut self, config: &Config, now: Moment) -> bool {
        if self.requests >= self.max_reqs {
            self.spend(Why::MaxReqs);
        }
        if config.max_age.is_some_and(|age| now >= self.born.after(age)) {
            self.spend(Why::MaxAge);
        }
        if let Some(limit) = config.max_rss
            && now >= self.weighed.after(MEMORY_TICK)
        {
            self.weighed = now;
            if self.process.memory().is_some_and(|bytes| bytes > limit) {
                self.spend(Why::MaxRss);
            }
        }
        self.is_spent
    }

    /// It gets no more jobs. The first reason counts.
    fn spend(&mut self, why: Why) {
        if !self.is_spent {
            (self.is_spent, self.why) = (true, why);
        }
    }

    /// What it did, now that it is gone.
    pub(crate) fn ended(&self, clock: &Clock) -> WorkerEnd {
        let (slot, generation) = self.place;
        WorkerEnd {
            slot,
            pid: self.process.pid(),
            generation,
            start: clock.unix_seconds(self.born),
            seconds: clock.now().since(self.born).as_secs_f64(),
            jobs: self.replies,
            why: self.why,
        }
    }

    /// When it will have served its time, about. Where its own pace is not known yet, `pace` is
    /// that of the others.
    pub(crate) fn end(&self, config: &Config, pace: Duration) -> Moment {
        let age = config.max_age.map_or(Moment::NEVER, |age| self.born.after(age));
        if self.max_reqs == u64::MAX {
            return age;
        }
        let pace = if self.pace.is_zero() { pace } else { self.pace };
        // It is on the oldest of its jobs, and will get those that it may still have.
        let left = self.max_reqs - (self.requests - self.in_flight as u64);
        if pace.is_zero() {
            // Nothing is known: with the last job the end comes near.
            return if left <= 1 { self.turn_began } else { age };
        }
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        age.min(self.turn_began.after(pace.saturating_mul(left)))
    }

    /// How long a job takes, about.
    pub(crate) fn pace(&self) -> Duration {
        self.pace
    }

    /// How many jobs are done in next to no time.
    pub(crate) fn portion(&self) -> usize {
        match self.pace.as_nanos() {
            0 => 1,
            nanos => usize::try_from(PORTION.as_nanos() / nanos).unwrap_or(1).clamp(1, 256),
        }
    }

    /// How long to leave a worker alone that has much to do and writes its replies one by one, so that
    /// each does not wake the slot; `None`: it is to be waited for as usual.
    pub(crate) fn rest_time(&mut self) -> Option<Duration> {
        if self.rests == 0 || self.in_flight < 8 || self.has_unsent() {
            return None;
        }
        let queued = self.pace * u32::try_from(self.in_flight).unwrap_or(u32::MAX);
        let rest = queued / 4;
        let is_worth_it = (SHORTEST_REST..=LONGEST_REST).contains(&rest);
        self.rests -= u32::from(is_worth_it);
        is_worth_it.then_some(rest)
    }

    /// Takes a job on: its request goes to the outbox.
    ///
    /// # Errors
    /// The job, and why it can't be asked for.
    pub(crate) fn accept(&mut self, job: Job, now: Moment) -> Result<(), Box<(Job, String)>> {
        let (start, id) = (self.outbox.len(), self.requests + 1);
        if let Err(message) = self.ask(id, &job) {
            self.outbox.truncate(start);
            return Err(Box::new((job, message)));
        }
        if self.flights.is_empty() {
            self.begin_turn(now);
            self.process.ignore_stderr_before(self.process.stderr_count());
        }
        self.requests += job.count() as u64;
        self.in_flight += job.count();
        self.flight_bytes += job.size();
        let begins_at = self.sent_before + start as u64;
        let ends_at = self.sent_before + self.outbox.len() as u64;
        if self.outbox.len() > LARGE && !std::mem::replace(&mut self.is_wide, true) {
            self.process.widen();
        }
        let (start, clock) = (now, now);
        self.flights.push_back(Flight { job, start, clock, id, begins_at, ends_at, answered: 0 });
        Ok(())
    }

    /// When the time of a job began.
    pub(crate) fn clock(&self, flight: &Flight) -> Moment {
        flight.clock.max(self.turn_clock())
    }

    /// When that of the oldest job began at the earliest: a worker without order is on all of them.
    pub(crate) fn turn_clock(&self) -> Moment {
        if self.is_unordered { Moment::ZERO } else { self.turn_began }
    }

    /// How many jobs more it may be given before its time is over; 0 where age may end it as well.
    pub(crate) fn left(&self, config: &Config) -> usize {
        let left = if config.max_age.is_some() { 0 } else { self.max_reqs - self.requests };
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// It has closed its stdin, and gets no more.
    pub(crate) fn be_deaf(&mut self) {
        self.process.ignore_stdin();
        (self.is_deaf, self.is_spent) = (true, true);
    }

    /// All jobs that it has not answered.
    pub(crate) fn take_jobs(&mut self) -> VecDeque<Job> {
        self.flights.drain(..).map(Flight::into_job).collect()
    }

    /// The worker is idle, or another job is the oldest.
    pub(crate) fn begin_turn(&mut self, now: Moment) {
        (self.turn_began, self.looked, self.is_read, self.is_unread) = (now, now, false, false);
    }

    /// Appends the requests for a job, or for those of a bundle, to the outbox.
    fn ask(&mut self, id: u64, job: &Job) -> Result<(), String> {
        let Self { outbox, protocol, shown, .. } = self;
        match (job.lines(), job.count()) {
            // They are sealed already.
            (Some(lines), _) => outbox.extend_from_slice(lines),
            (None, 1) => request(outbox, *protocol, id, job)?,
            (None, count) => {
                for nth in 0..count {
                    job.show(nth, shown);
                    request(outbox, *protocol, id + nth as u64, shown)?;
                }
            }
        }
        Ok(())
    }

    /// It has been warmed up: what it did before does not count.
    pub(crate) fn be_fresh(&mut self, now: Moment) {
        // Request ids go on from where they are, since late replies must not be taken for others.
        self.max_reqs = self.max_reqs.saturating_add(self.requests);
        (self.replies, self.pace) = (0, Duration::ZERO);
        self.unproven = Unproven::default();
        self.begin_turn(now);
    }

    /// Tells the worker something that it does not answer.
    ///
    /// # Errors
    /// Why that can't be told.
    pub(crate) fn notify(&mut self, job: &Job) -> Result<(), String> {
        let notice = self.protocol.notice()?;
        let start = self.outbox.len();
        let seal = self.protocol.framing.seal;
        notice(&mut self.outbox, job).and_then(|()| seal(&mut self.outbox, start))
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.written < self.outbox.len() && !self.is_deaf
    }

    /// Writes as much of the outbox as the worker takes now. `Closed`: it takes no more, ever.
    pub(crate) fn send(&mut self) -> Transfer {
        while self.has_unsent() {
            match self.process.write(&self.outbox[self.written..]) {
                Transfer::Moved(count) => self.written += count,
                other => return other,
            }
        }
        self.sent_before += self.outbox.len() as u64;
        self.out_size.empty(&mut self.outbox);
        (self.written, self.said) = (0, 0);
        Transfer::Blocked
    }

    /// Reads what the worker has printed, once.
    pub(crate) fn read(&mut self) -> Transfer {
        if self.inbox.len() > LARGE && !std::mem::replace(&mut self.is_wide, true) {
            self.process.widen();
        }
        let progress = self.process.read(&mut self.inbox);
        if let (Transfer::Moved(count), false) = (progress, self.has_started) {
            self.printed_unasked = self.printed_unasked.saturating_add(count);
        }
        progress
    }

    /// Whether it prints and prints though it has read nothing.
    pub(crate) fn is_flooding(&self) -> bool {
        !self.has_started && self.printed_unasked > FLOOD
    }

    /// Takes the whole replies out of the inbox and hands each on with the job it answers.
    pub(crate) fn receive(
        &mut self,
        max_reply: usize,
        now: Moment,
        mut answer: impl FnMut(Answer<'_>),
    ) -> Result<Received, Violation> {
        let mut received = Received::default();
        let (began, mut at) = (self.turn_began, 0);
        if self.is_early() {
            return Err(Violation {
                what: EARLY.into(),
                bytes: self.inbox.clone(),
                is_surplus: true,
            });
        }
        // What is in it is handed on while the worker changes.
        let inbox = std::mem::take(&mut self.inbox);
        let outcome = loop {
            match self.receive_next(&inbox[at..], max_reply, &mut received, &mut answer) {
                Ok(0) => break Ok(()),
                Ok(len) => at += len,
                Err(violation) => break Err(violation),
            }
            self.scan = Scan::default();
        };
        self.inbox = inbox;
        match at == self.inbox.len() {
            true => self.in_size.empty(&mut self.inbox),
            false => drop(self.inbox.drain(..at)),
        }
        if received.answered > 0 {
            self.learn(received.answered, now.since(began));
            self.begin_turn(now);
            self.process.ignore_stderr_before(self.words_before);
        }
        outcome.map(|()| received)
    }

    /// Takes the first message out of some bytes, or the first lines where those are replies. Returns
    /// how many bytes that were; 0: there is no whole message.
    fn receive_next(
        &mut self,
        bytes: &[u8],
        max_reply: usize,
        received: &mut Received,
        answer: &mut impl FnMut(Answer<'_>),
    ) -> Result<usize, Violation> {
        let Protocol { envelope, .. } = self.protocol;
        let len = self.receive_lines(bytes, max_reply, received, answer)?;
        if len > 0 {
            return Ok(len);
        }
        let (message, next) = match self.protocol.split(bytes, &mut self.scan) {
            Split::Message { begin, end, next } => (&bytes[begin..end], next),
            Split::More(len) if len > max_reply => {
                return Err(too_long(self.protocol, len, bytes, max_reply));
            }
            // What is no part of a message, such as blanks, has an end as well.
            Split::More(_) if bytes.len() > max_reply.saturating_add(LONGEST_HEAD) => {
                return Err(too_long(self.protocol, 0, bytes, max_reply));
            }
            Split::More(_) => return Ok(0),
            Split::Broken(what) => return Err(no_message(self.protocol, what, bytes)),
        };
        if message.len() > max_reply {
            return Err(too_long(self.protocol, 0, message, max_reply));
        }
        match (envelope.read)(message) {
            Ok(Message::Reply { id, outcome }) => {
                let behind = if envelope.only_replies { &bytes[next..] } else { &[] };
                let outcome = outcome.as_ref().map(Body::value);
                self.replied(id, outcome, (message, behind), received, answer)?;
            }
            Ok(Message::Nothing) => {}
            Ok(Message::Question(answer)) => self.say(&answer, message)?,
            Err(what) => {
                let what = self.protocol.why(message, what);
                return Err(Violation {
                    what: format!("what it printed is no reply: {what}"),
                    bytes: message.to_vec(),
                    is_surplus: false,
                });
            }
        }
        Ok(next)
    }

    /// Takes lines that answer jobs of a bundle of lines, as many as there are.
    fn receive_lines(
        &mut self,
        bytes: &[u8],
        max_reply: usize,
        received: &mut Received,
        answer: &mut impl FnMut(Answer<'_>),
    ) -> Result<usize, Violation> {
        let is_only = self.flights.len() == 1;
        let Some(front) = self.flights.front_mut().filter(|flight| flight.job.lines().is_some())
        else {
            return Ok(0);
        };
        let Some((mut count, mut len)) = first_lines(bytes, front.pending(), max_reply) else {
            return Ok(0);
        };
        // As for jobs one by one: with its last reply a worker must have nothing more to say.
        let is_surplus =
            is_only && count == front.pending() && !bytes[len..].trim_ascii().is_empty();
        if is_surplus {
            count -= 1;
            len = memchr::memrchr(b'\n', &bytes[..len - 1]).map_or(0, |at| at + 1);
        }
        if count > 0 {
            let seq = front.job.seq + front.answered as u64;
            self.unproven.add((seq, front.place()), count, None);
            answer(Answer::Texts { seq, count, texts: &bytes[..len] });
        }
        front.answered += count;
        self.have_been_answered(count, received);
        if is_surplus {
            let end = first_lines(&bytes[len..], 1, usize::MAX).map_or(0, |line| line.1);
            let (message, behind) = bytes[len..].split_at(end);
            return Err(surplus(self.protocol, None, message, behind));
        }
        Ok(len)
    }

    /// So many jobs of the oldest request have been answered.
    fn have_been_answered(&mut self, count: usize, received: &mut Received) {
        self.in_flight -= count;
        received.answered += count;
        if self.flights.front().is_some_and(|flight| flight.pending() == 0)
            && let Some(flight) = self.flights.pop_front()
        {
            self.flight_bytes -= flight.job.size();
        }
    }

    /// A reply has come: `message`, with `behind` behind it.
    fn replied(
        &mut self,
        id: Option<u64>,
        outcome: Result<Value<'_>, &Failure>,
        (message, behind): (&[u8], &[u8]),
        received: &mut Received,
        answer: &mut impl FnMut(Answer<'_>),
    ) -> Result<(), Violation> {
        // With its last reply a worker must have nothing more to say.
        let is_surplus = self.in_flight == 1 && !behind.trim_ascii().is_empty();
        let protocol = self.protocol;
        let surplus = || surplus(protocol, id, &[message, b"\n"].concat(), behind);
        self.is_anonymous |= id.is_none();
        if let Some(front) = self.flights.front_mut().filter(|flight| flight.is_many())
            && id.is_none_or(|id| id == front.next_id())
        {
            if is_surplus {
                return Err(surplus());
            }
            if id.is_none() {
                let seq = front.job.seq + front.answered as u64;
                self.unproven.add((seq, front.place()), 1, None);
            }
            match outcome {
                Ok(value) => {
                    front.job.show(front.answered, &mut self.shown);
                    let (job, start, clock) = (&self.shown, front.start, front.clock);
                    answer(Answer::Next { job, start, clock, value });
                }
                Err(failure) => answer(Answer::One(front.next(), Err(failure))),
            }
            front.answered += 1;
            self.have_been_answered(1, received);
            return Ok(());
        }
        if self.flights.front().is_some_and(|front| id.is_some_and(|id| id != front.next_id())) {
            self.take_apart();
        }
        let index = match find(&self.flights, id, message, self.requests)? {
            Ok(_) if is_surplus => return Err(surplus()),
            Ok(index) => index,
            Err(id) => {
                received.stale = Some(id);
                self.spend(Why::Protocol);
                return Ok(());
            }
        };
        if let Some(flight) = self.flights.remove(index) {
            self.is_unordered |= index > 0;
            self.in_flight -= 1;
            self.flight_bytes -= flight.job.size();
            received.answered += 1;
            if id.is_none() {
                let job = &flight.job;
                self.unproven.add((job.seq, job.place), 1, job.key.filter(|_| outcome.is_ok()));
            }
            answer(Answer::One(flight, outcome));
        }
        Ok(())
    }

    /// Makes single jobs of bundles: they are not answered in their order. That is done once, since to
    /// look at all flights for each reply takes long; a worker that has no order gets no more bundles.
    fn take_apart(&mut self) {
        if self.is_unordered || !self.flights.iter().any(Flight::is_many) {
            return;
        }
        for mut flight in std::mem::take(&mut self.flights) {
            self.forget_answered(&mut flight);
            while flight.is_many() {
                let first = self.take_first(&mut flight);
                self.flights.push_back(first);
            }
            self.flights.push_back(flight);
        }
        self.flight_bytes = self.flights.iter().map(|flight| flight.job.size()).sum();
    }

    /// Answers a question of the worker.
    fn say(&mut self, answer: &[u8], question: &[u8]) -> Result<(), Violation> {
        let start = self.outbox.len();
        self.outbox.extend_from_slice(answer);
        // An answer is JSON on one line, which any framing takes, unless it is longer than its length
        // can tell: then there is none.
        match (self.protocol.framing.seal)(&mut self.outbox, start) {
            Ok(()) => self.said += self.outbox.len() - start,
            Err(_) => self.outbox.truncate(start),
        }
        match self.said > MOST_ANSWERS {
            true => Err(Violation {
                what: "it asks much and does not read the answers".into(),
                bytes: question.to_vec(),
                is_surplus: false,
            }),
            false => Ok(()),
        }
    }

    /// Learns from so many replies how fast the worker is.
    fn learn(&mut self, answered: usize, time: Duration) {
        // The first reply tells of the start-up, not of the jobs.
        let is_first = self.replies == 0 && answered == 1;
        self.replies += answered as u64;
        self.has_started = true;
        if answered < FEW {
            self.rests = RESTS;
        }
        if is_first {
            return;
        }
        self.window.observe(answered, time);
        let each = time / u32::try_from(answered).unwrap_or(u32::MAX);
        self.pace = match self.pace {
            Duration::ZERO => each,
            pace => (pace * 7 + each) / 8,
        };
    }

    /// The jobs that it is on, as `show` makes them of a job and the moment from which its time counts,
    /// and how many wait behind them.
    pub(crate) fn underway<T>(&self, show: impl Fn(&Job, Moment) -> T) -> (Vec<T>, usize) {
        if self.is_unordered {
            let flights = self.flights.iter();
            return (flights.map(|flight| show(&flight.job, flight.start)).collect(), 0);
        }
        let Some(Flight { job, answered, .. }) = self.flights.front() else { return (vec![], 0) };
        let shown = match job.count() {
            1 => show(job, self.turn_began),
            _ => show(&job.one(*answered), self.turn_began),
        };
        (vec![shown], self.in_flight - 1)
    }

    /// Takes the oldest job out of those in flight, also out of a bundle.
    pub(crate) fn take_oldest(&mut self) -> Option<Flight> {
        let mut flight = self.flights.pop_front()?;
        self.in_flight -= 1;
        self.forget_answered(&mut flight);
        if flight.job.count() == 1 {
            return Some(flight);
        }
        let oldest = self.take_first(&mut flight);
        self.flights.push_front(flight);
        Some(oldest)
    }

    /// Takes what has been answered out of a bundle.
    fn forget_answered(&self, flight: &mut Flight) {
        if flight.answered > 0 {
            (flight.id, flight.begins_at) = (flight.next_id(), self.next_begins_at(flight));
            drop(flight.job.split_off_first(std::mem::take(&mut flight.answered)));
        }
    }

    /// Takes the first job out of a bundle of which none has been answered.
    fn take_first(&self, flight: &mut Flight) -> Flight {
        let job = flight.job.split_off_first(1);
        let mut first = Flight { job, ..*flight };
        flight.begins_at += self.len_of(first.id, &first.job);
        flight.id += 1;
        first.ends_at = flight.begins_at;
        first
    }

    /// Where the request for the next job of a flight begins that has not been answered.
    fn next_begins_at(&self, flight: &Flight) -> u64 {
        let (job, answered) = (&flight.job, flight.answered);
        let len = match job.lines() {
            Some(_) => job.offset(answered) as u64,
            None => {
                (0..answered).map(|nth| self.len_of(flight.id + nth as u64, &job.nth(nth))).sum()
            }
        };
        flight.begins_at + len
    }

    /// How long the request for a job is.
    fn len_of(&self, id: u64, job: &Job) -> u64 {
        let mut bytes = Vec::new();
        match job.as_message() {
            // It was one of some lines.
            Some(message) => message.len() as u64 + 1,
            None => match request(&mut bytes, self.protocol, id, job) {
                Ok(()) => bytes.len() as u64,
                // It was asked for, so this does not happen.
                Err(_) => 0,
            },
        }
    }

    /// What was printed last and is no whole message.
    pub(crate) fn rest(&self) -> &[u8] {
        self.inbox.trim_ascii()
    }

    /// The framing that this looks like, as a phrase; empty: none but its own.
    pub(crate) fn likely_framing(&self) -> String {
        self.protocol.likely_framing(&self.inbox)
    }

    /// What was printed of a message without an end, as a phrase; empty: nothing.
    pub(crate) fn unfinished(&self) -> String {
        match self.rest() {
            [] => String::new(),
            rest => format!(
                "it has printed {}, which is no whole message{}",
                quote(rest),
                self.likely_framing()
            ),
        }
    }

    /// Whether it has printed something before it had read its first request, or the only one: no reply,
    /// for sure. One that has a reply too many is mostly found out so within a few replies.
    fn is_early(&self) -> bool {
        let may_be = self.replies == 0 || (self.in_flight == 1 && self.replies < PROBATION);
        may_be
            && self.protocol.is_raw()
            && !self.flights.is_empty()
            && !self.inbox.is_empty()
            && self.reading() == Reading::Nothing
    }

    /// Whether it may have printed something unasked that would be taken for a reply.
    pub(crate) fn may_mislead(&self) -> bool {
        self.is_anonymous && self.flights.is_empty()
    }

    /// What it has printed that would be taken for a reply, though it has no job.
    pub(crate) fn unasked(&self) -> &[u8] {
        if !self.may_mislead() {
            return &[];
        }
        if self.protocol.is_raw() {
            return self.protocol.without_blanks(&self.inbox);
        }
        let mut at = 0;
        while let Split::Message { begin, end, next } =
            self.protocol.split(&self.inbox[at..], &mut Scan::default())
        {
            let message = &self.inbox[at + begin..at + end];
            if let Ok(Message::Reply { id: None, .. }) = (self.protocol.envelope.read)(message) {
                return &self.inbox[at..];
            }
            at += next;
        }
        &[]
    }

    /// It has been silent for so long that it has nothing more to say.
    pub(crate) fn has_rested(&mut self, now: Moment) {
        if now >= self.turn_began.after(PROOF) {
            self.unproven.prove();
        }
    }

    /// Reads what is left of its stdout, after its end.
    pub(crate) fn read_rest(&mut self) {
        while self.inbox.len() < LARGE
            && matches!(self.process.read(&mut self.inbox), Transfer::Moved(_))
        {}
    }

    /// Waits for the process to exit; what it prints meanwhile is kept.
    pub(crate) fn await_exit(
        &mut self,
        groups: &Groups,
        wake: Option<&Wake>,
        patience: Duration,
        watcher: &dyn Watcher,
    ) -> bool {
        self.process.await_exit(groups, wake, patience, watcher, Some(&mut self.inbox))
    }

    /// How many bytes the worker has read; `None`: that can't be told.
    pub(crate) fn taken(&self) -> Option<u64> {
        let unread = self.process.unread()?;
        // A worker can open its stdin for writing, and so have more unread than it was sent.
        Some((self.sent_before + self.written as u64).saturating_sub(unread))
    }

    /// Whether it had read anything of the oldest request when it had read so many bytes.
    pub(crate) fn had_begun(&self, taken: Option<u64>) -> bool {
        let Some(flight) = self.flights.front() else { return false };
        let begins_at = self.next_begins_at(flight);
        taken.is_none_or(|taken| taken > begins_at)
    }

    /// How much of its oldest request the worker has read. Where that can't be told, all of it.
    pub(crate) fn reading(&self) -> Reading {
        let (Some(flight), Some(taken)) = (self.flights.front(), self.taken()) else {
            return Reading::All;
        };
        match () {
            () if taken <= self.next_begins_at(flight) => Reading::Nothing,
            () if taken < self.next_ends_at(flight) => Reading::Some,
            () => Reading::All,
        }
    }

    /// Where the request for the next job of a flight ends that has not been answered.
    fn next_ends_at(&self, flight: &Flight) -> u64 {
        match flight.job.count() {
            1 => flight.ends_at,
            _ if flight.job.lines().is_some() => {
                flight.begins_at + flight.job.offset(flight.answered + 1) as u64
            }
            _ => {
                let next = flight.next();
                self.next_begins_at(flight) + self.len_of(next.id, &next.job)
            }
        }
    }

    /// When to look next how much has been read; `timeout` is that of the oldest job.
    pub(crate) fn next_look(&self, timeout: Duration) -> Moment {
        if self.is_read {
            return Moment::NEVER;
        }
        let wait = self.looked.since(self.turn_began) / 8;
        self.looked.after(wait.clamp(FIRST_LOOK.min(timeout / 10), LAST_LOOK))
    }

    /// Whether it is known that the request of the oldest job has been read.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Looks how much has been read: the time of a job whose request has not been does not run. It
    /// runs while a worker has read a part and reads no more.
    pub(crate) fn look(&mut self, now: Moment) {
        let Some(oldest) = self.flights.front() else { return };
        let (taken, seen) = (self.taken().unwrap_or(u64::MAX), self.seen);
        let (begins_at, ends_at) = (self.next_begins_at(oldest), self.next_ends_at(oldest));
        let is_read = taken >= ends_at;
        // What is found read at the first look was read at once, but for a worker that was starting.
        let is_late = self.looked > self.turn_began || !self.has_started;
        self.has_started |= taken > begins_at;
        self.is_unread = taken <= begins_at;
        let is_new = if is_read { is_late && seen < ends_at } else { taken > seen };
        if (self.is_unread || is_new)
            && let Some(oldest) = self.flights.front_mut()
        {
            oldest.clock = now;
        }
        // They were sent one after the other: what had been read before is in front.
        for flight in self.flights.iter_mut().skip(1).rev().take_while(|one| one.ends_at > seen) {
            if flight.begins_at >= taken || taken > seen {
                flight.clock = now;
            }
        }
        let last = self.flights.back().map_or(0, |last| last.ends_at);
        self.is_read = is_read && (!self.is_unordered || taken >= last);
        (self.looked, self.seen) = (now, taken);
    }

    /// Takes those jobs out that the worker has not read anything of and can't have begun.
    pub(crate) fn take_unread(&mut self, taken: Option<u64>) -> Vec<Job> {
        let Some(taken) = taken else { return Vec::new() };
        let read = self.flights.iter().take_while(|flight| flight.begins_at < taken).count();
        let unread = self.flights.split_off(read);
        let jobs: Vec<Job> = unread.into_iter().map(Flight::into_job).collect();
        let (count, bytes) = jobs
            .iter()
            .fold((0, 0), |(count, bytes), job| (count + job.count(), bytes + job.size()));
        self.in_flight -= count;
        self.flight_bytes = self.flight_bytes.saturating_sub(bytes);
        jobs
    }
}

/// The first so many whole lines, or as many as there are: their number and their length in bytes;
/// `None`: there is none, or the first one is too long.
fn first_lines(bytes: &[u8], most: usize, longest: usize) -> Option<(usize, usize)> {
    let (mut count, mut len) = (0, 0);
    for at in memchr::memchr_iter(b'\n', bytes).take(most) {
        if at - len > longest {
            break;
        }
        (count, len) = (count + 1, at + 1);
    }
    (count > 0).then_some((count, len))
}

/// What is wrong with a worker that does not wait for its request.
pub(crate) const EARLY: &str = "it printed this before it had read the request";

/// The place of a job among those in flight, or the number of a request that has been answered before.
type Match = Result<usize, u64>;

/// Finds the job that a message answers.
fn find(
    flights: &VecDeque<Flight>,
    id: Option<u64>,
    message: &[u8],
    requests: u64,
) -> Result<Match, Violation> {
    let violation =
        |what: String| Violation { what, bytes: message.to_vec(), is_surplus: id.is_none() };
    let at = match id {
        None => Some(0),
        Some(id) => flights.iter().position(|flight| flight.id == id),
    };
    match (at.filter(|&at| at < flights.len()), id) {
        (Some(at), _) => Ok(Ok(at)),
        (None, Some(id)) if (1..=requests).contains(&id) => Ok(Err(id)),
        (None, Some(id)) => Err(violation(format!("its reply has an unknown id, {id}"))),
        (None, None) => Err(violation("it printed a reply without being asked".into())),
    }
}

/// Appends the request for a job.
fn request(out: &mut Vec<u8>, protocol: Protocol, id: u64, job: &Job) -> Result<(), String> {
    let start = out.len();
    (protocol.envelope.request)(out, id, job)?;
    (protocol.framing.seal)(out, start)
}

fn surplus(protocol: Protocol, id: Option<u64>, message: &[u8], behind: &[u8]) -> Violation {
    Violation {
        what: protocol.surplus(message, behind),
        bytes: [message, behind].concat(),
        is_surplus: id.is_none(),
    }
}

fn too_long(protocol: Protocol, len: usize, bytes: &[u8], max_reply: usize) -> Violation {
    let announced =
        if len > bytes.len() { format!(" (it is to have {len})") } else { String::new() };
    let likely = protocol.likely_framing(bytes);
    Violation {
        what: format!(
            "its reply is longer than the limit of {max_reply} bytes \
             (--max-reply){announced}{likely}"
        ),
        bytes: bytes[..bytes.len().min(200)].to_vec(),
        is_surplus: false,
    }
}

fn no_message(protocol: Protocol, what: &str, bytes: &[u8]) -> Violation {
    let (name, likely) = (protocol.framing.name, protocol.likely_framing(bytes));
    Violation {
        what: format!("what it printed is no message in the framing '{name}': {what}{likely}"),
        bytes: bytes[..bytes.len().min(200)].to_vec(),
        is_surplus: false,
    }
}
