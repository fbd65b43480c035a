//! Warms a worker up: it prints its banner, gets the init messages and answers them before its first job.
//! Meanwhile it loads models, fills caches, or agrees on a protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::Init;
use crate::job::Why;
use crate::pool::background::STACK;
use crate::pool::shared::Shared;
use crate::pool::slot::retire::dismiss;
use crate::pool::slot::silence::SILENCE;
use crate::pool::slot::stopped::stopped_for_terminal;
use crate::process::stops::Stopped;
use crate::process::{Stop, Transfer, Wake};
use crate::util::clock::Moment;
use crate::util::setting::Setting;
use crate::util::text::{printable, quote};
use crate::worker::{Reply, Violation, Worker};

/// The thread that warms up a spare checks this often whether the spare is still wanted.
const TICK: Duration = Duration::from_millis(100);

/// Why a worker is not fit for work.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It is not wanted any more.
    Unwanted,
    /// What happened, as a sentence.
    Failed(String),
}

/// Sends a worker the init messages, and waits for each answer. `wake` and `unwanted` interrupt the
/// wait.
pub(super) fn warm_up(
    worker: &mut Worker,
    shared: &Shared,
    wake: Option<&Wake>,
    unwanted: &AtomicBool,
) -> Result<(), Unfit> {
    if let Some(banner) = shared.config.worker.protocol.banner() {
        let left = banner.messages();
        WarmUp::new(worker, shared, WarmUpStep::Banner { left }).finish(wake, unwanted)?;
    }
    for init in &shared.config.worker.init {
        let mut exchange = WarmUp::begin(worker, shared, init)?;
        exchange.finish(wake, unwanted)?;
    }
    worker.finish_warm_up(shared.now());
    Ok(())
}

/// What a slot waits for at a fresh worker.
#[derive(Clone, Copy)]
enum WarmUpStep<'a> {
    /// This many messages that it prints by itself.
    Banner { left: usize },
    /// Its answer to an init message.
    Init(&'a Init),
}

/// An init message on its way to a worker, and its answer; or the wait for its banner.
struct WarmUp<'a> {
    worker: &'a mut Worker,
    shared: &'a Shared,
    waits: WarmUpStep<'a>,
    began: Moment,
    /// The silence of the worker was reported.
    is_remarked: bool,
    answer: Option<Result<(), String>>,
    /// The beginning of its banner.
    seen: Vec<u8>,
}

impl<'a> WarmUp<'a> {
    /// Puts an init message into the worker's outbox.
    fn begin(worker: &'a mut Worker, shared: &'a Shared, init: &'a Init) -> Result<Self, Unfit> {
        let job = init.job();
        let sent = if init.has_reply {
            worker.accept(job, shared.now()).map_err(|refused| refused.message)
        } else {
            worker.notify(&job)
        };
        sent.map_err(|message| Unfit::Failed(format!("{}: {message}", name(init))))?;
        Ok(Self::new(worker, shared, WarmUpStep::Init(init)))
    }

    fn new(worker: &'a mut Worker, shared: &'a Shared, waits: WarmUpStep<'a>) -> Self {
        let began = shared.now();
        Self { worker, shared, waits, began, is_remarked: false, answer: None, seen: Vec::new() }
    }

    /// Whether something is still to come.
    fn goes_on(&self) -> bool {
        match self.waits {
            WarmUpStep::Banner { left } => left > 0,
            WarmUpStep::Init(_) => self.worker.has_unsent() || !self.worker.flights.is_empty(),
        }
    }

    /// What the worker is to do, as a verb in the past.
    fn deed(&self) -> String {
        match self.waits {
            WarmUpStep::Banner { .. } => format!("printed what {} says", Setting::Banner),
            WarmUpStep::Init(init) => format!("answered {}", name(init)),
        }
    }

    /// Waits until the message is sent and answered, or the banner has come.
    fn finish(&mut self, wake: Option<&Wake>, unwanted: &AtomicBool) -> Result<(), Unfit> {
        let deed = self.deed();
        while self.goes_on() {
            if unwanted.load(Ordering::Acquire) || self.shared.now() >= self.shared.stopping.at() {
                return Err(Unfit::Unwanted);
            }
            self.look_at_clock(&deed)?;
            self.step(wake).map_err(|what| {
                let said = after_semicolon(&self.banner_so_far());
                Unfit::Failed(format!("it {what} before it {deed}{said}"))
            })?;
        }
        match &self.answer {
            Some(Err(message)) => Err(Unfit::Failed(format!("it {deed} with an error: {message}"))),
            _ => Ok(()),
        }
    }

    /// What it has printed of its banner, as a phrase; empty: nothing.
    fn banner_so_far(&self) -> String {
        if self.seen.is_empty() {
            return String::new();
        }
        format!("it has printed {}", quote(&[&self.seen, self.worker.unparsed()].concat()))
    }

    /// What it has printed so far, as a phrase; empty: nothing.
    fn said(&self) -> String {
        match self.banner_so_far() {
            said if said.is_empty() => self.worker.unfinished(),
            said => said,
        }
    }

    /// Gives up if the time for the start is over, and reports a long silence.
    fn look_at_clock(&mut self, deed: &str) -> Result<(), Unfit> {
        let worker = &*self.worker;
        let shared = self.shared;
        let now = shared.now();
        if let Some(limit) = shared.config.failures.start_timeout
            && now >= worker.born().after(limit)
        {
            let limit = humantime::format_duration(limit);
            let said = after_semicolon(&self.said());
            let message = format!("it had not {deed} after {limit}{said}");
            return Err(Unfit::Failed(message));
        }
        if now >= self.began.after(SILENCE) && !self.is_remarked {
            self.is_remarked = true;
            let pid = worker.process.pid();
            let said = after_semicolon(&self.said());
            let seconds = SILENCE.as_secs();
            shared.watcher.note(&format!(
                "the worker (pid {pid}) has not {deed} for {seconds} s{said}. \
                 Still waiting."
            ));
        }
        Ok(())
    }

    /// Waits once, and deals with the event. The error says what the worker did wrong, as a phrase
    /// that begins with a verb.
    fn step(&mut self, wake: Option<&Wake>) -> Result<(), String> {
        if self.worker.has_unsent() && self.worker.send() == Transfer::Closed {
            return Err("closed its stdin".into());
        }
        if !self.goes_on() {
            return Ok(());
        }
        let now = self.shared.now();
        let timeout = self.deadline(wake, now).and_then(|at| at.until(now));
        let worker = &mut *self.worker;
        let ready = worker.process.wait(wake, worker.has_unsent(), None, timeout);
        worker.words_before = worker.process.stderr_count();
        if ready.stderr {
            worker.process.forward_stderr(&*self.shared.watcher);
        }
        if ready.stdout {
            return self.receive(now);
        }
        if ready.exited {
            return Err("ended".into());
        }
        if ready.stdin_closed {
            return Err("closed its stdin".into());
        }
        let who = || format!("the worker (pid {})", worker.process.pid());
        match stopped_for_terminal(self.shared, &worker.process, who) {
            Some(stopped) => Err(format!("{stopped} ({})", Stopped::advice())),
            None => Ok(()),
        }
    }

    /// When to look at the clock again even if nothing happens.
    fn deadline(&self, wake: Option<&Wake>, now: Moment) -> Option<Moment> {
        let limit = self.shared.config.failures.start_timeout;
        let deadlines = [
            limit.map(|limit| self.worker.born().after(limit)),
            Some(self.began.after(SILENCE)),
            wake.is_none().then(|| now.after(TICK)),
            Some(self.shared.stopping.at()),
        ];
        let next = deadlines.into_iter().flatten().filter(|at| *at > now).min();
        next.filter(|at| *at != Moment::NEVER)
    }

    /// Reads the answer of the worker.
    fn receive(&mut self, now: Moment) -> Result<(), String> {
        let max_reply = self.shared.config.worker.max_reply;
        if self.worker.read() == Transfer::Closed {
            return Err("closed its stdout".into());
        }
        if let WarmUpStep::Banner { left } = &mut self.waits {
            return self.worker.take_banner(left, &mut self.seen, max_reply).map_err(broken);
        }
        let received = self.worker.receive(max_reply, now, |said| {
            self.answer = match said {
                Reply::One(_, outcome, _) => {
                    Some(outcome.map(drop).map_err(|failure| failure.message.clone()))
                }
                Reply::Result { .. } => Some(Ok(())),
                Reply::Texts { .. } | Reply::Results { .. } | Reply::Part { .. } => return,
            };
        });
        let received = received.map_err(broken)?;
        match received.stale {
            Some(id) => Err(format!("answered request {id} twice")),
            None => Ok(()),
        }
    }
}

/// A phrase about a violation of the protocol.
fn broken(Violation { what, bytes, .. }: Violation) -> String {
    format!("broke the protocol ({what}: {})", quote(&bytes))
}

/// A phrase about unfinished output, to be put after another one.
fn after_semicolon(unfinished: &str) -> String {
    if unfinished.is_empty() { String::new() } else { format!("; {unfinished}") }
}

/// The name of an init message in notes and failures.
fn name(init: &Init) -> String {
    let setting = if init.has_reply { Setting::Init } else { Setting::Notify };
    let line: String = init.line.chars().take(60).collect();
    format!("{setting} '{}'", printable(&line))
}

/// A worker that is warmed up by a thread of its own, while its slot has other work.
#[derive(Debug)]
pub(super) struct Warming {
    thread: JoinHandle<Option<Worker>>,
    unwanted: Arc<AtomicBool>,
}

impl Warming {
    /// Begins; `None`: no thread could be started.
    pub(super) fn start(mut worker: Worker, shared: &Arc<Shared>) -> Option<Self> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(shared);
        let flag = Arc::clone(&unwanted);
        let run = move || match warm_up(&mut worker, &shared, None, &flag) {
            Ok(()) => Some(worker),
            Err(_) => {
                // This is not reported. If the cause lasts, the next worker fails too, and a job waits
                // for that one.
                worker.set_why(Why::Unfit);
                dismiss(&shared, worker, Stop::Terminate, None);
                None
            }
        };
        let thread = thread::Builder::new().name("warming".into()).stack_size(STACK).spawn(run);
        Some(Self { thread: thread.ok()?, unwanted })
    }

    /// Whether it is over: [`Warming::finish`] does not wait.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the worker is fit, and returns it; `None`: it is not fit.
    pub(super) fn finish(self) -> Option<Worker> {
        self.thread.join().ok().flatten()
    }

    /// The worker is not needed. It is returned if it is fit already.
    pub(super) fn abandon(self) -> Option<Worker> {
        self.unwanted.store(true, Ordering::Release);
        self.finish()
    }
}
