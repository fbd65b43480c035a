//! What a fresh worker is asked, or told, before its first job: handshakes, caches to be filled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::Init;
use crate::job::Why;
use crate::pool::shared::{STACK, Shared};
use crate::process::stops::Stopped;
use crate::process::{Stop, Transfer, Wake};
use crate::util::clock::Moment;
use crate::util::text::{printable, quote};
use crate::worker::{Answer, Violation, Worker};

/// A worker that does not answer is remarked on after so long.
const SILENCE: Duration = Duration::from_secs(10);

/// Who warms a spare up looks this often whether it is still wanted.
const TICK: Duration = Duration::from_millis(100);

/// Why a worker did not become fit for work.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is not wanted any more.
    Unwanted,
    /// What happened, as a sentence.
    Failed(String),
}

/// Asks a worker all that fresh ones are asked, and waits for each answer. Others may interrupt that
/// through `wake`, or by `unwanted`.
pub(crate) fn warm_up(
    worker: &mut Worker,
    shared: &Shared,
    wake: Option<&Wake>,
    unwanted: &AtomicBool,
) -> Result<(), Unfit> {
    for init in &shared.config.init {
        let job = init.job();
        let sent = match init.has_reply {
            true => worker.accept(job, shared.now()).map_err(|refused| refused.1),
            false => worker.notify(&job),
        };
        sent.map_err(|message| Unfit::Failed(format!("{}: {message}", name(init))))?;
        let mut answer = None;
        let began = shared.now();
        let mut is_remarked = false;
        while worker.has_unsent() || !worker.flights.is_empty() {
            if unwanted.load(Ordering::Acquire) || shared.now() >= shared.stop_at() {
                return Err(Unfit::Unwanted);
            }
            let waited = shared.now().since(began);
            let limit = shared.config.start_timeout;
            if let Some(limit) = limit.filter(|limit| shared.now() >= worker.born.after(*limit)) {
                let limit = humantime::format_duration(limit);
                let unfinished = behind(&worker.unfinished());
                let message =
                    format!("it had not answered {} after {limit}{unfinished}", name(init));
                return Err(Unfit::Failed(message));
            }
            if waited >= SILENCE && !std::mem::replace(&mut is_remarked, true) {
                let (pid, name) = (worker.process.pid(), name(init));
                let unfinished = behind(&worker.unfinished());
                shared.watcher.note(&format!(
                    "the worker (pid {pid}) has not answered {name} for {} s{unfinished}. Waiting on.",
                    SILENCE.as_secs()
                ));
            }
            step(worker, shared, wake, began, &mut answer).map_err(|what| {
                Unfit::Failed(format!("it {what} before it answered {}", name(init)))
            })?;
        }
        if let Some(Err(message)) = answer {
            return Err(Unfit::Failed(format!(
                "it answered {} with an error: {message}",
                name(init)
            )));
        }
    }
    worker.be_fresh(shared.now());
    Ok(())
}

/// Waits for something to happen once, and deals with it. An error is what ended the worker, as a
/// verb.
fn step(
    worker: &mut Worker,
    shared: &Shared,
    wake: Option<&Wake>,
    began: Moment,
    answer: &mut Option<Result<(), String>>,
) -> Result<(), String> {
    if worker.has_unsent() && worker.send() == Transfer::Closed {
        return Err("closed its stdin".into());
    }
    if worker.flights.is_empty() && !worker.has_unsent() {
        return Ok(());
    }
    let now = shared.now();
    let deadlines = [
        shared.config.start_timeout.map(|limit| worker.born.after(limit)),
        Some(began.after(SILENCE)),
        wake.is_none().then(|| now.after(TICK)),
        Some(shared.stop_at()),
    ];
    let deadline = deadlines.into_iter().flatten().filter(|at| *at > now).min();
    let timeout = deadline.filter(|at| *at != Moment::NEVER).and_then(|at| at.until(now));
    let ready = worker.process.wait(wake, worker.has_unsent(), None, timeout);
    worker.words_before = worker.process.stderr_count();
    if ready.stderr {
        worker.process.forward_stderr(&*shared.watcher);
    }
    if ready.stdout {
        match worker.read() {
            Transfer::Closed => return Err("closed its stdout".into()),
            Transfer::Moved(_) | Transfer::Blocked => {}
        }
        let received = worker.receive(shared.config.max_reply, now, |said| {
            if let Answer::One(_, outcome) = said {
                *answer = Some(outcome.map(drop).map_err(|failure| failure.message.clone()));
            }
        });
        let received = received.map_err(|Violation { what, bytes, .. }| {
            format!("broke the protocol ({what}: {})", quote(&bytes))
        })?;
        return match received.stale {
            Some(id) => Err(format!("answered request {id} twice")),
            None => Ok(()),
        };
    }
    if ready.exited {
        return Err("ended".into());
    }
    if ready.stdin_closed {
        return Err("closed its stdin".into());
    }
    let who = || format!("the worker (pid {})", worker.process.pid());
    match shared.stopped_for_terminal(&worker.process, who) {
        Some(stopped) => Err(format!("{stopped} ({})", Stopped::advice())),
        None => Ok(()),
    }
}

/// What is said of unfinished output, behind something else.
fn behind(unfinished: &str) -> String {
    if unfinished.is_empty() { String::new() } else { format!("; {unfinished}") }
}

fn name(init: &Init) -> String {
    let option = if init.has_reply { "--init" } else { "--notify" };
    let line: String = init.line.chars().take(60).collect();
    format!("{option} '{}'", printable(&line))
}

/// A worker that is warmed up by a thread of its own, while its slot has other work.
#[derive(Debug)]
pub(crate) struct Warming {
    thread: JoinHandle<Option<Worker>>,
    unwanted: Arc<AtomicBool>,
}

impl Warming {
    /// Begins; `None`: no thread could be started.
    pub(crate) fn start(mut worker: Worker, shared: &Arc<Shared>) -> Option<Self> {
        let unwanted = Arc::new(AtomicBool::new(false));
        let (shared, flag) = (Arc::clone(shared), Arc::clone(&unwanted));
        let run = move || match warm_up(&mut worker, &shared, None, &flag) {
            Ok(()) => Some(worker),
            Err(_) => {
                // If that is no accident, it will be told of the next one, which a job waits for.
                worker.why = Why::Unfit;
                shared.dismiss(worker, Stop::Terminate, None);
                None
            }
        };
        let thread = thread::Builder::new().name("warming".into()).stack_size(STACK).spawn(run);
        Some(Self { thread: thread.ok()?, unwanted })
    }

    /// The worker, as soon as it is fit; `None`: it is not.
    pub(crate) fn finish(self) -> Option<Worker> {
        self.thread.join().ok().flatten()
    }

    /// The worker is not needed; returned if it is fit already.
    pub(crate) fn abandon(self) -> Option<Worker> {
        self.unwanted.store(true, Ordering::Release);
        self.finish()
    }
}
