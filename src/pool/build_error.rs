//! [`BuildError`]: the possible errors in the settings of a pool.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::command::CommandError;
use crate::interpreter::{CodeError, CodeFileError};
use crate::process::lookup::ProgramError;

/// Why a pool could not be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The command line has an opening quote without a closing one.
    Quotes(String),
    /// There is no program: the command line is empty.
    Empty,
    /// There is no such program. The text says where it was looked for.
    NotFound(String),
    /// There is no such program, but a shell knows a command of this name, or could run such a line.
    NeedsShell(String),
    /// The program is there, but can't be run. The text says why.
    CannotRun(String),
    /// The words of the command make no sense. The text says why.
    Command(String),
    /// The interpreter does not accept the code. The text is its message. Only
    /// [`Builder::build_checked`](crate::Builder::build_checked) finds that out.
    Code(String),
    /// The file of code can't be used. The text says why.
    CodeFile(String),
    /// A word, or a variable of the environment, has a NUL byte, which no process can be given.
    Nul(OsString),
    /// The name of a variable of the environment is empty or has an `=`.
    EnvName(OsString),
    /// The args of an init job can't be written as JSON. The text says why.
    Args(String),
    /// The directory to start in can't be used.
    Directory {
        /// Its path.
        path: PathBuf,
        /// Why it can't be used.
        error: Arc<io::Error>,
    },
    /// The value of a setting is out of its range.
    OutOfRange {
        /// The method of [`Builder`](crate::Builder) that sets it.
        setting: &'static str,
        /// The values that it may have.
        range: &'static str,
    },
    /// The setting is for workers, and the pool runs commands.
    NoEffect {
        /// The method of [`Builder`](crate::Builder) that sets it.
        setting: &'static str,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quotes(line) => {
                write!(f, "the worker's command line has an unclosed quote: {line}")
            }
            Self::Empty => f.write_str("the command line is empty: it names no program"),
            Self::NotFound(message)
            | Self::NeedsShell(message)
            | Self::CannotRun(message)
            | Self::Command(message)
            | Self::Code(message)
            | Self::CodeFile(message) => f.write_str(message),
            Self::Nul(text) => write!(f, "{text:?} has a NUL byte, which no process can be given"),
            Self::EnvName(name) => write!(f, "{name:?} can't be the name of a variable"),
            Self::Args(error) => write!(f, "the args of an init job can't be JSON: {error}"),
            Self::Directory { path, error } => {
                write!(f, "no process can be started in the directory {}: {error}", path.display())
            }
            Self::OutOfRange { setting, range } => {
                write!(f, "the setting {setting} must be {range}")
            }
            Self::NoEffect { setting } => {
                write!(f, "the setting {setting} is for workers, and this pool runs commands")
            }
        }
    }
}

// The texts have their causes in them, so there is no source.
impl std::error::Error for BuildError {}

#[doc(hidden)]
impl From<ProgramError> for BuildError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::NotFound(message) => Self::NotFound(message),
            ProgramError::NeedsShell(message) => Self::NeedsShell(message),
            ProgramError::CannotRun(message) => Self::CannotRun(message),
        }
    }
}

#[doc(hidden)]
impl From<CommandError> for BuildError {
    fn from(error: CommandError) -> Self {
        Self::Command(error.to_string())
    }
}

#[doc(hidden)]
impl From<CodeError> for BuildError {
    fn from(error: CodeError) -> Self {
        Self::Code(error.to_string())
    }
}

#[doc(hidden)]
impl From<CodeFileError> for BuildError {
    fn from(error: CodeFileError) -> Self {
        Self::CodeFile(error.to_string())
    }
}
