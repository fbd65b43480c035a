//! Looks at a run and collects the facts to show: from counters that exist anyway, and from the roll call of the
//! slots now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procpool::engine::input::{Census, Intake};
use procpool::engine::journal::Journal;
use procpool::engine::output::Output;
use procpool::engine::{Gate, Underway};

use super::facts::{Facts, RunningJob, State, Total};
use super::rate::Rate;
use crate::pools::Pools;

/// The time from one roll call to the next is at least this for each slot. An answer takes some 20 µs of a CPU.
const ROLL_FOR_EACH: Duration = Duration::from_millis(4);

/// Slots that have something else to do are left out of a roll call after this time.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long the input is counted at a time.
const COUNT_FOR: Duration = Duration::from_millis(10);

/// A job that has run for less than this is not worth a name.
const WORTH_A_NAME: Duration = Duration::from_millis(300);

/// The sources of a view.
pub struct Viewed {
    pub output: Arc<Output>,
    pub pools: Pools,
    pub slots: usize,
    pub intake: Arc<Intake>,
    /// The count of the input, if it can be counted.
    pub census: Option<Census>,
    pub journal: Option<Arc<Journal>>,
    /// Set when no job is to be begun any more.
    pub stop: Arc<AtomicBool>,
    /// The option that sets the time between two starts.
    pub interval: &'static str,
    /// All jobs are run by one command: it says nothing about a job.
    pub has_one_command: bool,
}

/// A view of a run.
pub struct View {
    run: Viewed,
    rate: Rate,
    now: Instant,
    roll: Vec<Underway>,
    /// When the roll was called.
    rolled: Option<Instant>,
    /// Since when no job can run, for want of workers.
    starting: Option<Instant>,
    begin: Instant,
}

impl View {
    pub fn new(run: Viewed) -> Self {
        let now = Instant::now();
        Self {
            run,
            rate: Rate::new(now),
            now,
            roll: Vec::new(),
            rolled: None,
            starting: None,
            begin: now,
        }
    }

    /// Takes note of how many jobs are done.
    pub fn note_rate(&mut self) {
        self.now = Instant::now();
        let (succeeded, failed) = self.run.output.counts();
        self.rate.note(self.now, (succeeded + failed).saturating_sub(self.resumed()));
    }

    /// Looks at the run.
    pub fn look(&mut self) {
        self.note_rate();
        if let Some(census) = &mut self.run.census
            && !self.run.intake.is_over()
        {
            census.step(COUNT_FOR);
        }
        let slots = u32::try_from(self.run.slots).unwrap_or(u32::MAX);
        let every = ROLL_FOR_EACH.saturating_mul(slots);
        if self.rolled.is_none_or(|rolled| self.now.saturating_duration_since(rolled) >= every) {
            self.roll = self.run.pools.underway(PATIENCE);
            self.now = Instant::now();
            self.rolled = Some(self.now);
        }
    }

    /// Results that come from the journal took no time.
    fn resumed(&self) -> u64 {
        self.run.journal.as_ref().map_or(0, |journal| journal.resumed())
    }

    /// The facts to show.
    pub fn facts(&mut self) -> Facts {
        let (succeeded, failed) = self.run.output.counts();
        let done = succeeded + failed;
        let total = self.total(done);
        let state = self.state(done);
        let is_idle = matches!(state, State::WaitingForInput | State::Starting { .. });
        if is_idle {
            self.rate.restart(self.now, done.saturating_sub(self.resumed()));
        }
        let is_ending = matches!(state, State::Stopping { .. });
        let left = match total {
            Total::Exactly(total) | Total::About(total) if !is_ending => {
                self.rate.time_for(self.now, total.saturating_sub(done))
            }
            _ => None,
        };
        Facts { done, failed, total, per_second: self.rate.per_second(self.now), left, state }
    }

    fn total(&self, done: u64) -> Total {
        let intake = &self.run.intake;
        let read = intake.jobs().max(done);
        if intake.is_over() {
            return Total::Exactly(read);
        }
        // A file may grow while it is read.
        match self.run.census.as_ref().and_then(|census| census.total(intake)) {
            Some((total, true)) if total >= read => Total::Exactly(total),
            Some((total, false)) if total >= read => Total::About(total),
            _ => Total::AtLeast(read),
        }
    }

    fn state(&mut self, done: u64) -> State {
        let intake = &self.run.intake;
        if self.run.stop.load(Ordering::Acquire) {
            let count = |job: &Underway| 1 + job.waiting;
            return State::Stopping { jobs: self.roll.iter().map(count).sum() };
        }
        // Files and lists of args are always there.
        let may_wait = self.run.census.is_none() && !intake.is_over();
        if may_wait && done >= intake.jobs() {
            return State::WaitingForInput;
        }
        let longest = self.longest();
        if let Some((gate, _)) = self.run.pools.held_back() {
            return State::HeldBack { by: self.option_of(gate), longest };
        }
        let unread = self.roll.iter().filter(|job| job.is_starting).count();
        let workers = unread + self.run.pools.warming();
        if workers == 0 || unread < self.roll.len() {
            self.starting = None;
            return State::Running { longest };
        }
        // Until the first job is done, the workers start since the begin.
        let begin = if done == 0 { self.begin } else { self.now };
        let since = *self.starting.get_or_insert(begin);
        State::Starting { workers, since: self.now.saturating_duration_since(since) }
    }

    fn option_of(&self, gate: Gate) -> &'static str {
        match gate {
            Gate::Interval => self.run.interval,
            Gate::Load => "--max-load",
            Gate::Memory => "--min-free-memory",
            Gate::Jobserver => "make's jobserver",
            _ => "a limit",
        }
    }

    fn longest(&self) -> Option<RunningJob> {
        let jobs = self.roll.iter().filter(|job| !job.is_starting);
        let longest = jobs.max_by_key(|job| job.time).map(|job| self.running_job(job));
        longest.filter(|job| job.time >= WORTH_A_NAME)
    }

    /// The running jobs, in the order of their slots.
    pub fn running(&self) -> Vec<RunningJob> {
        let mut jobs: Vec<_> = self.roll.iter().map(|job| self.running_job(job)).collect();
        jobs.sort_by_key(|job| job.slot);
        jobs
    }

    fn running_job(&self, job: &Underway) -> RunningJob {
        let since = self.rolled.map_or(Duration::ZERO, |at| self.now.saturating_duration_since(at));
        RunningJob {
            names: names(job, self.run.has_one_command),
            what: job.label.clone(),
            time: job.time + since,
            slot: job.slot,
            process: job.process(),
            is_starting: job.is_starting,
            waiting: job.waiting,
        }
    }
}

/// The names of a job, from the longest to the shortest: its command or request, its args, and the file that they name.
fn names(job: &Underway, has_one_command: bool) -> Vec<String> {
    let mut names = Vec::new();
    let has_args = !job.args.is_empty();
    // A number alone is no name.
    if !has_one_command || !job.args.contains(char::is_alphabetic) {
        names.push(job.label.clone());
    }
    if has_args {
        names.push(job.args.clone());
    }
    let path = job.args.trim_end_matches('/');
    if let Some((_, file)) = path.rsplit_once('/').filter(|(_, file)| !file.is_empty()) {
        names.push(file.to_owned());
    }
    names
}
