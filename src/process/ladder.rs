//! The stop ladder: stdin is closed; after the grace period the group gets TERM; after another one it gets
//! KILL. This file has the signals, the order of the steps, and the time that each may take.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};

use super::child::Process;
use super::exit::describe;
use super::groups::Groups;
use super::wake::Wake;
use crate::job::Watcher;
use crate::util::clock::Clock;

/// The time between two checks whether a process that may end by itself must end sooner.
const RETIREMENT_TICK: Duration = Duration::from_millis(100);

/// The time between two checks whether a killed process is waited for any longer.
const KILL_TICK: Duration = Duration::from_millis(100);

/// How long a killed process may take to vanish. It takes longer only if the kernel holds it.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A step of the stop ladder. A stop begins with one step, and the later steps follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Its stdin is closed: it should end by itself.
    Retire,
    /// Its group gets TERM.
    Terminate,
    /// Its group gets KILL.
    Kill,
}

impl Process {
    /// Ends the process and its group, and waits until it is gone. This takes at most twice the grace
    /// period and [`KILL_PATIENCE`]. `None`: the kernel does not let go of the process.
    pub(crate) fn stop(
        &mut self,
        first: Stop,
        grace: Duration,
        groups: &Groups,
        wake: Option<&Wake>,
        watcher: &dyn Watcher,
    ) -> Option<ExitStatus> {
        self.close_stdin();
        for step in [Stop::Retire, Stop::Terminate, Stop::Kill] {
            if step < first || (step < Stop::Kill && groups.is_killing()) {
                continue;
            }
            let patience = self.take_step(step, grace);
            let gone = match step {
                Stop::Kill => self.await_death(patience, Some(groups)),
                Stop::Terminate => self.await_exit(groups, wake, patience, watcher, None),
                Stop::Retire => self.await_retirement(groups, wake, patience, watcher),
            };
            if gone {
                break;
            }
        }
        let status = self.reap(groups);
        self.stderr.finish(watcher);
        if status.is_none() && !self.has_exited() {
            watcher.note(&format!("the worker (pid {}) {}", self.pid(), describe(None)));
        }
        status
    }

    /// Takes one step of the ladder: closes stdin and sends the signals of the step. Returns how long
    /// to wait before the next step.
    pub(crate) fn take_step(&mut self, step: Stop, grace: Duration) -> Duration {
        self.close_stdin();
        match step {
            Stop::Retire => grace,
            Stop::Terminate => {
                let _ = kill_process_group(self.group, Signal::TERM);
                let _ = kill_process_group(self.group, Signal::CONT);
                grace
            }
            Stop::Kill => {
                let _ = kill_process_group(self.group, Signal::KILL);
                KILL_PATIENCE
            }
        }
    }

    /// Waits for the process to end by itself, until the time for that is over.
    fn await_retirement(
        &mut self,
        groups: &Groups,
        wake: Option<&Wake>,
        patience: Duration,
        watcher: &dyn Watcher,
    ) -> bool {
        let clock = &groups.clock;
        let end = clock.now().after(patience);
        loop {
            // An earlier end may be set at any time, and not every caller can be woken.
            let end = end.min(groups.termination());
            let left = end.until(clock.now()).unwrap_or(Duration::MAX);
            if self.await_exit(groups, wake, left.min(RETIREMENT_TICK), watcher, None) {
                return true;
            }
            if left <= RETIREMENT_TICK || groups.is_killing() {
                return false;
            }
        }
    }

    /// Waits for a process that was killed. If all processes of `groups` are being killed, this wait
    /// ends sooner.
    pub(super) fn await_death(&self, patience: Duration, groups: Option<&Groups>) -> bool {
        let clock = Clock::new();
        let end = clock.now().after(patience);
        while !self.has_exited() {
            let now = clock.now();
            let is_over = |groups: &Groups| groups.clock.now() >= groups.end_of_patience();
            if now >= end || groups.is_some_and(is_over) {
                return false;
            }
            // The order to kill all may come at any time.
            self.exit.wait(end.until(now).map(|left| left.min(KILL_TICK)));
        }
        true
    }
}
