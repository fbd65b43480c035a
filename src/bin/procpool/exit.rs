//! How the process ends: exit statuses, and the errors that lead to them. Only this file ends the process.

use std::io::{self, Write};

use procpool::engine::BuildError;
use rustix::process::{Signal, getpid};

use crate::cli::EarlyExit;
use crate::descriptors::{self, Stream};
use crate::plan::Misuse;
use crate::report::console::message;
use crate::terminal;

/// The exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All jobs succeeded.
    Success,
    /// Some job failed.
    JobsFailed,
    /// The command line is wrong.
    Usage,
    /// procpool itself failed: something could not be read or written.
    Trouble,
    /// The worker or the command can't be run.
    CannotRun,
    /// The worker or the command is not found.
    NotFound,
    /// A signal ended the run: the process dies of it.
    Signal(i32),
    /// The status of the command of a semaphore.
    Command(i32),
    /// Nobody reads stdout any more: the process dies of SIGPIPE, and prints no message.
    StdoutClosed,
}

impl Status {
    /// Prints the error. Returns the status that it leads to.
    pub fn from_error(error: anyhow::Error) -> Self {
        if let Some(misuse) = error.downcast_ref::<Misuse>() {
            return Self::from_early_exit(&EarlyExit::misuse(&misuse.to_string()));
        }
        let option = match error.downcast_ref::<BuildError>() {
            Some(BuildError::NeedsShell(_)) => " (put --shell before the command)",
            _ => "",
        };
        // If stderr is closed, the status still shows the error.
        let _ = io::stderr().write_all(message(&format!("{error:#}{option}")).as_bytes());
        match error.downcast_ref::<BuildError>() {
            Some(BuildError::NotFound(_) | BuildError::NeedsShell(_)) => Self::NotFound,
            Some(BuildError::CannotRun(_) | BuildError::Directory { .. }) => Self::CannotRun,
            Some(BuildError::Quotes(_) | BuildError::Empty | BuildError::Code(_)) => Self::Usage,
            _ => Self::Trouble,
        }
    }

    /// The signal that the process dies of.
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Signal(signal) => Some(signal),
            Self::StdoutClosed => Some(Signal::PIPE.as_raw()),
            _ => None,
        }
    }

    /// Prints the help, the version or the message of a wrong command line. Returns the status that it leads to.
    pub fn from_early_exit(exit: &EarlyExit) -> Self {
        if exit.is_misuse() {
            // If the message can't be printed, the exit status still shows the outcome.
            let _ = exit.print();
            return Self::Usage;
        }
        Self::of_print(|| exit.print())
    }

    /// Prints a text to stdout instead of a run.
    pub fn of_text(text: &str) -> Self {
        Self::of_print(|| procpool::engine::output::print(text))
    }

    /// How the process ends after something is printed to stdout instead of a run.
    fn of_print(print: impl FnOnce() -> io::Result<()>) -> Self {
        if descriptors::is_closed(Stream::Stdout) {
            return Self::from_error(anyhow::anyhow!("stdout is closed: let it go to a file"));
        }
        match print() {
            Ok(()) => Self::Success,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::StdoutClosed,
            Err(error) => Self::from_error(anyhow::anyhow!("stdout can't be written: {error}")),
        }
    }

    /// Ends the process. An interrupted process dies of the signal, so that a shell script that runs it ends too.
    pub fn leave(self) -> ! {
        terminal::restore();
        let code = match self {
            Self::Success => 0,
            Self::JobsFailed => 1,
            Self::Usage => 2,
            Self::Trouble => 125,
            Self::CannotRun => 126,
            Self::NotFound => 127,
            Self::Command(status) => status,
            Self::Signal(_) | Self::StdoutClosed => self.die(),
        };
        // This does not wait for threads that wait for input or output.
        std::process::exit(code)
    }

    /// Dies of the signal. Returns the exit status for a process that survives it: PID 1 does not die of a
    /// signal that it sends itself.
    fn die(self) -> i32 {
        let Some(signal) = self.signal() else { return 125 };
        if !getpid().is_init() {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        (128 + signal).min(255)
    }
}
