//! A command that has the terminal of this process, because a person works with it. When it is stopped (Ctrl-Z), this
//! process stops too, and both continue together.

use std::time::Duration;

use crate::command::Commands;
use crate::pool::slot::command::Running;
use crate::process::{ProcessOutput, ProcessStdin, stop_own_group};

/// How often a stop of a job with the terminal is looked for.
const TICK: Duration = Duration::from_millis(50);

/// A request to stop this process has an effect within this time.
const PATIENCE: Duration = Duration::from_secs(1);

impl Running<'_> {
    /// The streams of a command.
    pub(super) fn streams(commands: &Commands) -> (ProcessStdin, ProcessOutput) {
        let output = match commands {
            Commands { tty: true, .. } | Commands { own_output: true, .. } => ProcessOutput::Ours,
            Commands { pty: true, .. } => ProcessOutput::Terminal,
            _ => ProcessOutput::Pipes,
        };
        let stdin = match commands {
            Commands { tty: true, .. } => ProcessStdin::Terminal,
            Commands { stdin: true, .. } => ProcessStdin::Pipe,
            Commands { own_stdin: true, .. } => ProcessStdin::Ours,
            _ => ProcessStdin::Null,
        };
        (stdin, output)
    }

    /// The longest wait; `None`: there is no limit. No event shows that a process was stopped.
    pub(super) fn tick(&self) -> Option<Duration> {
        self.commands.tty.then_some(TICK)
    }

    /// Sees to it that a job with the terminal can use it. If the job was stopped, this process stops too, if
    /// somebody can continue it. Otherwise the job goes on.
    pub(super) fn attend_terminal(&mut self) {
        let shared = self.shared;
        if !self.commands.tty || !self.process.must_stay_stopped(&shared.groups) {
            return;
        }
        let now = shared.now();
        if self.asked_to_stop.is_some_and(|asked| now < asked.after(PATIENCE)) {
            return;
        }
        self.asked_to_stop = Some(now);
        shared.groups.take_terminal_aside();
        if shared.watcher.may_stop() {
            stop_own_group();
        } else {
            self.process.go_on(&shared.groups);
        }
    }
}
