//! Both ends of a link over pipes in memory: a coordinator with its ledger, and an agent that runs the
//! jobs it gets. At each byte of each direction a fault is injected: the link is cut, a bit is turned, a byte is
//! missing or comes twice. Whatever happens, each job leaves the ledger once.

use std::collections::VecDeque;
use std::time::Duration;

use super::from_agent::{FromAgent, RemoteOutcome, RemoteValue};
use super::greeting::{GreetingFinder, MarkedLine, check, greeting};
use super::incoming::Incoming;
use super::ledger::JobLedger;
use super::outgoing::Outgoing;
use super::to_agent::{Setup, ToAgent};
use super::window::AgentWindow;
use crate::job::{Failure, Job, Kind, PartsConfig};
use crate::util::clock::Moment;
use crate::util::json::Json;

const JOBS: u64 = 12;
const SLOTS: u64 = 2;

/// What is wrong with a stream from one byte on.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Bit(u8),
    Missing,
    Twice,
}

/// One direction of a link. It takes a few bytes at a time.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// How many bytes it has taken.
    taken: usize,
    fault: Option<(usize, Fault)>,
    is_cut: bool,
}

impl Pipe {
    fn write(&mut self, from: &mut Outgoing, most: usize) {
        let count = from.rest().len().min(most);
        for &byte in &from.rest()[..count] {
            let fault = self.fault.filter(|(at, _)| *at == self.taken).map(|(_, fault)| fault);
            self.taken += 1;
            match fault {
                _ if self.is_cut => {}
                None => self.bytes.push_back(byte),
                Some(Fault::Cut) => self.is_cut = true,
                Some(Fault::Bit(bit)) => self.bytes.push_back(byte ^ (1 << bit)),
                Some(Fault::Missing) => {}
                Some(Fault::Twice) => self.bytes.extend([byte, byte]),
            }
        }
        from.advance(count);
    }

    fn read(&mut self, into: &mut Vec<u8>, most: usize) {
        let count = most.min(self.bytes.len());
        into.extend(self.bytes.drain(..count));
    }
}

/// An end of a link: what has come, and what is to be said.
struct LinkEnd {
    finder: Option<GreetingFinder>,
    incoming: Incoming,
    outgoing: Outgoing,
    /// What came has no meaning, or the other end has another version.
    is_broken: bool,
}

impl LinkEnd {
    fn new(finder: Option<GreetingFinder>) -> Self {
        Self { finder, incoming: Incoming::default(), outgoing: Outgoing::new(), is_broken: false }
    }

    /// Reads what has come. Returns the words of a greeting.
    fn greeted(&mut self) -> Option<MarkedLine> {
        match self.finder.as_mut()?.next(self.incoming.end()) {
            Ok(line) => line,
            Err(_) => {
                self.is_broken = true;
                None
            }
        }
    }
}

/// A coordinator, as far as the link matters to it.
struct CoordinatorModel {
    end: LinkEnd,
    ledger: JobLedger,
    window: AgentWindow,
    next: u64,
    /// The jobs that have a result, and those that came back.
    left: Vec<u64>,
    has_recalled: bool,
    is_ready: bool,
    has_heard_bye: bool,
}

/// An agent: jobs wait until a slot takes them.
struct AgentModel {
    end: LinkEnd,
    waiting: VecDeque<Job>,
    running: VecDeque<(u64, Job)>,
    turn: u64,
}

impl CoordinatorModel {
    fn turn(&mut self) {
        if let Some(line) = self.end.greeted() {
            let is_agent = line.0.first().is_some_and(|word| word == "agent");
            if !is_agent || check(&line.0[1..]).is_err() {
                self.end.is_broken = true;
                return;
            }
            self.end.finder = None;
            let setup = Setup {
                host: "alpha",
                slots: Some(SLOTS),
                slots_before: 0,
                timeout: Duration::from_secs(15),
                parts: PartsConfig::default(),
                folder: b"/",
                task: b"cat\0",
            };
            ToAgent::Setup(setup).put(self.end.outgoing.end());
        }
        if self.end.finder.is_some() {
            return;
        }
        let mut incoming = std::mem::take(&mut self.end.incoming);
        let read = incoming.each(|kind, message| {
            self.receive(FromAgent::read(kind, message)?);
            Some(())
        });
        self.end.incoming = incoming;
        self.end.is_broken |= read.is_err();
        self.speak();
    }

    fn receive(&mut self, message: FromAgent<'_>) {
        let mut scratch = Job::new(0, "", "", "");
        let before = self.ledger.unfinished();
        match message {
            FromAgent::Ready { .. } => self.is_ready = true,
            FromAgent::Begun { slot, seq, count } => {
                self.ledger.begin(slot, seq, count, Moment::ZERO);
            }
            FromAgent::Done(done) if self.ledger.finish(done.seq, &mut scratch).is_some() => {
                self.left.push(done.seq);
            }
            FromAgent::Texts { seq, count, .. } => {
                self.ledger.finish_range(seq, count);
                let finished = (before - self.ledger.unfinished()) as u64;
                self.left.extend(seq..seq + finished);
            }
            FromAgent::Returned { seq, count } => {
                for job in self.ledger.take_back(seq, count) {
                    self.left.extend(job.seq..job.seq + job.count() as u64);
                }
            }
            FromAgent::Bye => self.has_heard_bye = true,
            _ => {}
        }
        self.window.finished(before - self.ledger.unfinished(), std::time::Instant::now());
    }

    /// Sends as many jobs as the agent may have; in the end it wants one back, and then no more.
    fn speak(&mut self) {
        let room = usize::try_from(SLOTS).expect("few") + 3;
        while self.is_ready && self.next <= JOBS && self.ledger.unfinished() < room {
            let count = if self.next.is_multiple_of(3) { 1 } else { 2 };
            let count = count.min(JOBS + 1 - self.next);
            let text: String = (0..count).map(|nth| format!("{}\n", self.next + nth)).collect();
            let job = match count {
                1 => Job::message(self.next, text.trim_end().as_bytes()),
                _ => Job::of_lines(self.next, text.as_bytes(), 2),
            };
            super::to_agent::put_job(&job, self.end.outgoing.end());
            self.ledger.send(job);
            self.next += count;
        }
        if self.next > JOBS && !std::mem::replace(&mut self.has_recalled, true) {
            ToAgent::Ping(3).put(self.end.outgoing.end());
            ToAgent::Recall(1).put(self.end.outgoing.end());
            ToAgent::Finish.put(self.end.outgoing.end());
        }
    }
}

impl AgentModel {
    fn turn(&mut self) {
        let mut incoming = std::mem::take(&mut self.end.incoming);
        let read = incoming.each(|kind, message| {
            self.obey(ToAgent::read(kind, message)?);
            Some(())
        });
        self.end.incoming = incoming;
        self.end.is_broken |= read.is_err();
        self.work();
    }

    fn obey(&mut self, message: ToAgent<'_>) {
        let out = self.end.outgoing.end();
        match message {
            ToAgent::Setup(setup) => {
                FromAgent::Ready { slots: setup.slots.unwrap_or(1) }.put(out);
            }
            ToAgent::Job(job) => self.waiting.push_back(job),
            ToAgent::Recall(_) => {
                if let Some(job) = self.waiting.pop_back() {
                    FromAgent::Returned { seq: job.seq, count: job.count() as u64 }.put(out);
                }
                FromAgent::Recalled.put(out);
            }
            ToAgent::Finish => {
                while !self.waiting.is_empty() || !self.running.is_empty() {
                    self.work();
                }
                FromAgent::Bye.put(self.end.outgoing.end());
            }
            ToAgent::Ping(stamp) => FromAgent::Pong(Some(stamp)).put(out),
            _ => {}
        }
    }

    /// A slot takes a job, or the oldest job is over.
    fn work(&mut self) {
        self.turn += 1;
        let out = self.end.outgoing.end();
        if self.running.len() < 2
            && let Some(job) = self.waiting.pop_front()
        {
            let slot = 1 + self.turn % SLOTS;
            FromAgent::Begun { slot, seq: job.seq, count: job.count() as u64 }.put(out);
            self.running.push_back((slot, job));
        } else if let Some((_, job)) = self.running.pop_front() {
            let seq = job.seq;
            if job.count() > 1 {
                FromAgent::Texts { seq, count: job.count() as u64, texts: b"a\nb\n" }.put(out);
                return;
            }
            let failure = || Failure::new(Kind::Error, "no");
            let value = RemoteValue::Json(Json::NULL);
            let outcome = if seq == 3 { Err(failure()) } else { Ok(value) };
            let done = RemoteOutcome { seq, run: None, command: None, outcome, unproven: None };
            FromAgent::Done(done).put(out);
        }
    }
}

/// Talks until nothing is under way. Returns how many bytes each direction had.
fn talk(piece: usize, faults: [Option<(usize, Fault)>; 2]) -> [usize; 2] {
    let mut coordinator = CoordinatorModel {
        end: LinkEnd::new(Some(GreetingFinder::default())),
        ledger: JobLedger::default(),
        window: AgentWindow::new(std::time::Instant::now()),
        next: 1,
        left: Vec::new(),
        has_recalled: false,
        is_ready: false,
        has_heard_bye: false,
    };
    let mut agent = AgentModel {
        end: LinkEnd::new(None),
        waiting: VecDeque::new(),
        running: VecDeque::new(),
        turn: 0,
    };
    agent.end.outgoing.end().extend_from_slice(b"Welcome\n");
    agent.end.outgoing.end().extend_from_slice(&greeting(4));
    let mut pipes = faults.map(|fault| Pipe { fault, ..Pipe::default() });
    loop {
        let [there, back] = &mut pipes;
        there.write(&mut coordinator.end.outgoing, piece);
        there.read(agent.end.incoming.end(), piece);
        back.write(&mut agent.end.outgoing, piece);
        back.read(coordinator.end.incoming.end(), piece);
        if !agent.end.is_broken {
            agent.turn();
        }
        if !coordinator.end.is_broken {
            coordinator.turn();
        }
        assert!(coordinator.ledger.waiting() <= coordinator.ledger.unfinished());
        let is_over = coordinator.has_heard_bye || coordinator.end.is_broken;
        let ends = [&coordinator.end, &agent.end];
        let is_still = pipes.iter().all(|pipe| pipe.bytes.is_empty())
            && ends.iter().all(|end| end.outgoing.is_empty())
            && (agent.end.is_broken || agent.waiting.is_empty() && agent.running.is_empty());
        if is_over || is_still || pipes.iter().any(|pipe| pipe.is_cut) {
            break;
        }
    }
    let CoordinatorModel { mut ledger, mut left, next, has_heard_bye, .. } = coordinator;
    if faults.iter().all(Option::is_none) {
        assert!(has_heard_bye && ledger.unfinished() == 0, "{left:?}");
    }
    // The link ends, whatever is left.
    let lost = ledger.lose(1);
    for job in lost.ran.iter().chain(&lost.waited) {
        left.extend(job.seq..job.seq + job.count() as u64);
    }
    left.sort_unstable();
    assert_eq!(left, (1..next).collect::<Vec<_>>(), "{faults:?}");
    pipes.map(|pipe| pipe.taken)
}

#[test]
fn all_is_said_whatever_pieces_it_comes_in() {
    for piece in [1, 2, 3, 7, 64, 4096] {
        talk(piece, [None, None]);
    }
}

#[test]
fn a_fault_at_any_byte_loses_no_job_and_makes_none_two() {
    let lens = talk(4096, [None, None]);
    let bits = [0, 7].map(Fault::Bit);
    for fault in bits.into_iter().chain([Fault::Cut, Fault::Missing, Fault::Twice]) {
        for at in 0..lens[0] {
            talk(4096, [Some((at, fault)), None]);
        }
        for at in 0..lens[1] {
            talk(4096, [None, Some((at, fault))]);
        }
    }
}

#[test]
fn a_sign_of_life_is_due_when_nothing_was_written_and_nothing_waits() {
    let mut outgoing = Outgoing::new();
    assert!(outgoing.is_silent_for(Duration::ZERO));
    assert!(!outgoing.is_silent_for(Duration::from_secs(3600)));
    ToAgent::Ping(1).put(outgoing.end());
    assert!(!outgoing.is_silent_for(Duration::ZERO));
    let count = outgoing.rest().len();
    outgoing.advance(count);
    assert!(outgoing.is_silent_for(Duration::ZERO));
}
