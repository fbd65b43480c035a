//! The loop that watches a run: it waits for events, signals and deadlines until all processes are gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use procpool::engine::input::{End, Reader};
use procpool::engine::journal::Journal;
use procpool::engine::output::Output;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout_at};

use super::events::{Action, Course, Event};
use super::procs_file::{News, ProcsFile};
use super::slow::SlowJobs;
use crate::exit::Status;
use crate::interrupts::{FatalSignal, SignalOrder};
use crate::pools::Pools;
use crate::report::bookkeeper::Bookkeeper;
use crate::report::console::Console;
use crate::report::progress::ProgressLine;
use crate::report::reports::Reports;
use crate::report::seconds::Seconds;

/// The time that killed processes have to disappear.
pub const LAST_WAIT: Duration = Duration::from_secs(1);

/// After the last process is gone, the thread that reads the input has this time to find the end of it.
const READER_WAIT: Duration = Duration::from_millis(100);

/// If an interrupted run is not over after this time, it prints what it waits for.
const HINT_AFTER: Duration = Duration::from_millis(100);

/// The time that slots have to report their jobs.
const ROLL_PATIENCE: Duration = Duration::from_millis(200);

/// A run under way.
pub struct ActiveRun {
    pub pools: Pools,
    pub output: Arc<Output>,
    pub bookkeeper: Arc<Bookkeeper>,
    pub console: Arc<Console>,
    /// Once it is set, no further job begins, and the reader stops.
    pub stop: Arc<AtomicBool>,
    pub events: UnboundedReceiver<Event>,
    /// The orders that signals lead to.
    pub orders: UnboundedReceiver<SignalOrder>,
    pub signal: FatalSignal,
    pub timers: Timers,
    pub progress: ProgressLine,
    pub reports: Option<Arc<Reports>>,
    pub journal: Option<Arc<Journal>>,
    pub course: Course,
}

/// What happens at a certain time.
#[derive(Debug)]
pub struct Timers {
    /// When a hint says what the run waits for.
    pub hint_at: Option<Instant>,
    /// When the run stops waiting for killed processes.
    pub give_up_at: Option<Instant>,
    pub slow: SlowJobs,
    /// The file of `--max-procs @FILE`.
    pub procs: ProcsFile,
}

impl Timers {
    /// Nothing ends the run.
    pub fn new(slow: SlowJobs, procs: ProcsFile) -> Self {
        Self { hint_at: None, give_up_at: None, slow, procs }
    }
}

impl ActiveRun {
    /// Waits for the end of the run. Returns how the process ends.
    ///
    /// # Errors
    /// The input can't be read: there is no thread for it.
    pub async fn watch(
        mut self,
        reader: Reader,
        events: UnboundedSender<Event>,
    ) -> anyhow::Result<Status> {
        self.read(reader, events)?;
        let mut end = None;
        let mut is_ending = false;
        loop {
            tokio::select! {
                biased;
                Some(order) = self.orders.recv() => {
                    self.obey(order);
                    if order == SignalOrder::Report {
                        continue;
                    }
                }
                () = sleep_until(self.timers.hint_at) => {
                    self.hint();
                    continue;
                }
                () = sleep_until(self.timers.slow.at()) => {
                    self.remark_on_slow_jobs();
                    continue;
                }
                () = sleep_until(self.timers.procs.at()) => {
                    self.look_at_procs_file();
                    continue;
                }
                // One slot that hangs must not hold up the run.
                () = sleep_until(self.timers.give_up_at) => break,
                Some(event) = self.events.recv() => end = self.react(event).or(end),
                () = self.pools.ended(), if is_ending => break,
            }
            is_ending = true;
            if self.bookkeeper.has_halted() {
                self.stop.store(true, Ordering::Release);
            }
            if end.is_some() {
                self.stop.store(true, Ordering::Release);
                self.output.hurry();
            }
        }
        // Events may have come at the moment when the last process was gone.
        let last = Instant::now() + READER_WAIT;
        while let Some(event) = self.next_event(end, last).await {
            end = self.react(event).or(end);
        }
        Ok(self.end(end).await)
    }

    /// The next event after the last process is gone. What was not run is counted next, so the thread that reads the
    /// input may say until a moment whether it has come to the end.
    async fn next_event(&mut self, end: Option<Status>, last: Instant) -> Option<Event> {
        let is_of_interest = end != Some(Status::StdoutClosed);
        if self.course.is_reading() && is_of_interest {
            return timeout_at(last, self.events.recv()).await.ok().flatten();
        }
        self.events.try_recv().ok()
    }

    /// Starts the thread that reads the input.
    fn read(&self, reader: Reader, events: UnboundedSender<Event>) -> anyhow::Result<()> {
        let pools = self.pools.clone();
        let sink = Arc::clone(&self.bookkeeper);
        let console = Arc::clone(&self.console);
        let read = move || {
            let complain = |problem: &str| console.say(problem);
            let read = || {
                let worked_off = pools.work_off_queue();
                worked_off.unwrap_or_else(|| reader.run(&pools, &*sink, &complain))
            };
            // The run waits for this event, so a panic must send it too.
            let end = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                complain("the rest of the input could not be read: this is a defect of procpool");
                End::Incomplete
            });
            let _ = events.send(Event::InputRead(end));
        };
        let thread = thread::Builder::new().name("input".into()).spawn(read);
        thread.map(drop).context("no thread could be started for the input")
    }

    /// Does what an event asks for. Returns how the process ends because of it.
    fn react(&mut self, event: Event) -> Option<Status> {
        if event.stops_at_once() {
            // This also ends a question of --confirm, which holds the terminal.
            self.stop.store(true, Ordering::Release);
        }
        // If stdout is blocked, stderr may be too. So the pools act before anything is written there.
        let acts_first = event.is_of_output();
        let verdict = self.course.judge(event);
        if acts_first {
            self.act(verdict.action);
        }
        if let Some(message) = &verdict.message {
            self.console.say(message);
        }
        if !acts_first {
            self.act(verdict.action);
        }
        verdict.status
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Continue => {}
            Action::Finish => {
                if let Some(jobs) = self.course.total() {
                    self.bookkeeper.set_total(jobs);
                }
                self.pools.finish();
            }
            Action::Stop => self.pools.stop(),
            Action::Kill => self.pools.kill(),
            Action::Abandon => {
                self.console.hurry();
                self.pools.kill();
                self.give_up();
            }
        }
    }

    /// Does what a signal asks for.
    pub fn obey(&mut self, order: SignalOrder) {
        if order == SignalOrder::Report {
            return self.say_what_runs();
        }
        self.timers.slow.stop();
        // This comes first. Otherwise results would wait for the reader of stdout.
        self.output.hurry();
        match order {
            SignalOrder::Stop => {
                self.pools.stop();
                self.timers.hint_at = Some(Instant::now() + HINT_AFTER);
            }
            SignalOrder::Terminate => self.pools.terminate(),
            SignalOrder::Kill | SignalOrder::Report => {
                self.pools.kill();
                self.give_up();
            }
        }
    }

    /// Sets the time until which the run waits for killed processes.
    fn give_up(&mut self) {
        self.timers.give_up_at.get_or_insert_with(|| Instant::now() + LAST_WAIT);
    }

    /// Tells a user at the terminal what the run waits for.
    fn hint(&mut self) {
        self.timers.hint_at = None;
        let jobs = self.pools.underway(ROLL_PATIENCE / 2).len();
        if jobs > 0 {
            let s = if jobs == 1 { "" } else { "s" };
            self.console
                .hint(&format!("waiting for {jobs} running job{s}; interrupt again to end them"));
        }
    }

    /// Prints which jobs have become slow.
    fn remark_on_slow_jobs(&mut self) {
        let jobs = self.pools.underway(ROLL_PATIENCE);
        let lines = self.timers.slow.look(&jobs);
        if !lines.is_empty() {
            self.console.print(lines.as_bytes());
        }
    }

    /// Looks whether `--max-procs @FILE` has another number.
    fn look_at_procs_file(&mut self) {
        match self.timers.procs.look() {
            News::None => {}
            News::Count(count) => {
                self.pools.limit(count);
                self.console.say(&format!("--max-procs is {count} from now on"));
            }
            News::Trouble(message) => self.console.say(&message),
        }
    }

    /// Prints which jobs run.
    fn say_what_runs(&self) {
        let jobs = self.pools.underway(ROLL_PATIENCE);
        let (succeeded, failed) = self.output.counts();
        let mut text = format!("{} done, {failed} failed, ", succeeded + failed);
        match jobs.len() {
            0 => text.push_str("none running"),
            count => text.push_str(&format!("{count} running:")),
        }
        for job in &jobs {
            let time = Seconds(job.time.as_secs_f64());
            text.push_str(&format!(
                "\n  {}, for {time} in slot {} ({}): {}",
                job.job,
                job.slot,
                job.process(),
                job.what
            ));
            if job.waiting > 0 {
                text.push_str(&format!("; {} more at this worker", job.waiting));
            }
        }
        self.console.say(&text);
    }
}

/// Waits until a moment. Without one it waits forever.
pub async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
