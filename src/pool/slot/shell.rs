//! Code of a shell that prints without end: its shell keeps that in its memory until the job is done, so the memory
//! of the shell has a limit.

use std::time::Duration;

use crate::config::Config;
use crate::job::{Failure, Kind};
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::util::clock::Moment;
use crate::util::setting::Setting;
use crate::util::text::size;
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
}

impl WorkerSlot {
    /// Deals with a shell that holds too much of what the code has printed, if it does.
    pub(super) fn has_printed_too_much(&mut self) -> bool {
        let (Some(most), Some(worker)) = (self.shell.most, &self.worker) else { return false };
        let now = self.slot.now();
        let due = self.shell.due.max(worker.turn_began.after(TICK));
        if worker.flights.is_empty() || now < due {
            return false;
        }
        self.shell.due = now.after(TICK);
        let used = worker.process.memory().unwrap_or(0);
        if self.shell.first.0 != worker.turn_began {
            self.shell.first = (worker.turn_began, used);
        }
        let used = used.saturating_sub(self.shell.first.1);
        if used <= most {
            return false;
        }
        let limit = self.slot.shared.config.worker.max_reply as u64;
        let message = format!(
            "it prints more than a result may have: its shell has taken {} of memory for that, and the limit of a \
             result is {} ({}); let it print to a file",
            size(used),
            size(limit),
            Setting::MaxReply
        );
        self.fail_at_fault(&Failure::new(Kind::Protocol, message), |_| true);
        true
    }
}
