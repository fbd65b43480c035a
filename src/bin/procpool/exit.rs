//! How the process ends.

use std::io::{self, Write};
use std::process::ExitCode;

use procpool::{BuildError, ProgramError};
use rustix::process::getpid;

use crate::report::console::message;
use crate::terminal;

/// The exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All jobs succeeded.
    Success,
    /// Some job failed.
    JobsFailed,
    /// The command line makes no sense.
    Usage,
    /// procpool itself failed: something could not be read or written.
    Trouble,
    /// The worker cannot be run.
    CannotRun,
    /// The worker is not found.
    NotFound,
    /// Ended by a signal: the process dies of it.
    Signal(i32),
}

impl Status {
    /// Prints the error, and says what status it leads to.
    pub fn from_error(error: anyhow::Error) -> Self {
        let option = match error.downcast_ref::<BuildError>() {
            Some(BuildError::Program(ProgramError::NeedsShell(_))) => {
                " (put --shell before the command)"
            }
            _ => "",
        };
        // If nobody can be told, the status still tells.
        let _ = io::stderr().write_all(message(&format!("{error:#}{option}")).as_bytes());
        match error.downcast_ref::<BuildError>() {
            Some(BuildError::Program(ProgramError::NotFound(_) | ProgramError::NeedsShell(_))) => {
                Self::NotFound
            }
            Some(BuildError::Program(_)) => Self::CannotRun,
            Some(BuildError::Quotes(_) | BuildError::Empty | BuildError::Code(_)) => Self::Usage,
            _ => Self::Trouble,
        }
    }

    /// Ends the process. To be interrupted is to die of the signal, so that a shell script ends
    /// with it.
    pub fn leave(self) -> ExitCode {
        terminal::restore();
        let code = match self {
            Self::Success => 0,
            Self::JobsFailed => 1,
            Self::Usage => 2,
            Self::Trouble => 125,
            Self::CannotRun => 126,
            Self::NotFound => 127,
            // PID 1 does not die of a signal that it sends itself.
            Self::Signal(signal) if getpid().is_init() => u8::try_from(128 + signal).unwrap_or(255),
            Self::Signal(signal) => {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                u8::try_from(128 + signal).unwrap_or(255)
            }
        };
        // Threads that wait for input or output must not hold the process up.
        std::process::exit(code.into())
    }
}
