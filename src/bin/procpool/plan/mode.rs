//! The kinds of run: what runs jobs, and what a line of the input is.

use super::invocation::Invocation;

/// What runs jobs, and what a line of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A COMMAND is started for each line.
    Command,
    /// Each line names a program that is started for it.
    JobCommands,
    /// Job lines go to a worker.
    Worker,
    /// Each line is the args of a COMMAND of a worker.
    WorkerCommand,
    /// Each line is a message to a worker.
    Raw,
    /// An expression is evaluated for each line.
    Expression,
    /// Job lines name functions of a file.
    File,
    /// Each line is the args of a function of a file.
    FileCommand,
}

impl Mode {
    pub fn of(invocation: &Invocation<'_>) -> Self {
        let has_command = !invocation.words.is_empty();
        let workers = &invocation.options.workers;
        match &invocation.code {
            Some(code) if !code.is_file() => Self::Expression,
            Some(_) if has_command => Self::FileCommand,
            Some(_) => Self::File,
            None if workers.worker.is_empty() && has_command => Self::Command,
            None if workers.worker.is_empty() => Self::JobCommands,
            None if workers.protocol == "raw" => Self::Raw,
            None if has_command => Self::WorkerCommand,
            None => Self::Worker,
        }
    }
}
