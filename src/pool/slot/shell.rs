//! Code of a shell that prints without end: its shell keeps that in its memory until the job is done, so the memory
//! of the shell has a limit.

use std::time::Duration;

use crate::config::Config;
use crate::util::clock::Moment;
use crate::worker::Worker;

/// The memory of a shell is looked at this often while it is on a job. Quick jobs end before the first look.
const TICK: Duration = Duration::from_millis(250);

/// A shell takes up to six times the length of a text for it.
const TIMES: u64 = 8;

/// What a shell may take besides.
const OWN: u64 = 64 << 20;

/// How much memory a shell may take for what the code prints.
pub(super) struct ShellLimit {
    /// In bytes; `None`: the workers are no shells.
    most: Option<u64>,
    /// When it is looked at next.
    due: Moment,
    /// What the shell had at the first look of this job, and when the job began.
    first: (Moment, u64),
}

impl ShellLimit {
    pub(super) fn of(config: &Config) -> Self {
        let worker = &config.worker;
        let is_shell = worker.is_code && worker.protocol.label() == "sh";
        let most = (worker.max_reply as u64).saturating_mul(TIMES).saturating_add(OWN);
        Self { most: is_shell.then_some(most), due: Moment::ZERO, first: (Moment::ZERO, 0) }
    }

    /// How long to wait for the worker at most.
    pub(super) fn wait_for(&self, worker: &Worker, timeout: Option<Duration>) -> Option<Duration> {
        let is_at_work = self.most.is_some() && !worker.flights.is_empty();
        is_at_work.then_some(TICK).into_iter().chain(timeout).min()
    }

    /// Whether there is a limit.
    pub(super) fn is_there(&self) -> bool {
        self.most.is_some()
    }

    /// How much memory the shell has taken for what its job has printed, if that is too much.
    pub(super) fn excess(&mut self, worker: &Worker, now: Moment) -> Option<u64> {
        let most = self.most?;
        let due = self.due.max(worker.turn_began.after(TICK));
        if worker.flights.is_empty() || now < due {
            return None;
        }
        self.due = now.after(TICK);
        let used = worker.process.memory()?;
        if self.first.0 != worker.turn_began {
            self.first = (worker.turn_began, used);
        }
        Some(used.saturating_sub(self.first.1)).filter(|used| *used > most)
    }
}
