//! Checks code before a worker is started: whether its file exists, whether the file has the function,
//! and whether the interpreter accepts the code.

use std::fmt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use humantime::format_duration;

use super::code::{Code, CodeForm};
use super::code_file::CodeFileError;
use super::functions;
use super::language::Language;
use super::path;
use crate::job::{Failure, Watcher};
use crate::process::stops::Stopped;
use crate::process::{Groups, Process, Spec, Stop, Wake, describe_exited};

/// An interpreter that takes too long gets TERM, and KILL after this time.
const GRACE: Duration = Duration::from_secs(1);

/// At most this many bytes of an interpreter's messages are kept.
const MOST_STDERR: usize = 64 << 10;

/// The code can't be run. The text is the message of its interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeError(String);

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodeError {}

/// Why a check has failed.
#[derive(Debug)]
pub(crate) enum Unchecked {
    /// The code can't be run.
    Wrong(CodeError),
    /// The interpreter ended, or was ended, before it had checked the code.
    Ended(String),
}

/// The stderr of an interpreter that checks code.
#[derive(Default)]
struct CheckOutput(Mutex<Vec<u8>>);

impl CheckOutput {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

impl Watcher for CheckOutput {
    fn worker_stderr(&self, lines: &[u8]) {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_STDERR.saturating_sub(bytes.len());
        bytes.extend_from_slice(&lines[..lines.len().min(room)]);
    }

    fn note(&self, _: &str) {}

    fn start_limit_reached(&self, _: &Failure) {}
}

impl Code {
    /// Checks that there is a file if the code can only be meant for a path.
    ///
    /// # Errors
    /// There is no such file, or workers can't all read it.
    #[doc(hidden)]
    pub fn check_path(&self) -> Result<(), CodeFileError> {
        let path = Path::new(&self.text);
        let is_right = match self.form {
            CodeForm::Expression => true,
            CodeForm::File => path.is_file(),
            CodeForm::FileOfUnknownLanguage => {
                return Err(CodeFileError::UnknownLanguage { path: self.text.clone() });
            }
            CodeForm::Guess => self.is_file() || !path::is_meant(self),
        };
        if is_right {
            return Ok(());
        }
        let path_text = self.text.clone();
        Err(match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                CodeFileError::Directory { path: path_text, language: self.language }
            }
            Ok(_) => CodeFileError::NotRegular { path: path_text, language: self.language },
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                CodeFileError::Unreadable { path: path_text, error: Arc::new(error) }
            }
            Err(_) => CodeFileError::Missing { path: path_text },
        })
    }

    /// Checks whether the text of a file defines the function that all jobs call.
    ///
    /// # Errors
    /// The file has no such function.
    #[doc(hidden)]
    pub fn check_function(&self, name: &str) -> Result<(), CodeFileError> {
        match std::fs::read(&self.text) {
            Ok(text) => functions::check(self, &String::from_utf8_lossy(&text), name),
            // The worker that loads the file will say why.
            Err(_) => Ok(()),
        }
    }

    /// Checks whether the code can be run, without running it: an expression is compiled. A mistake in
    /// a file is found when the first worker loads the file. A shell's file is checked here, since a
    /// shell would run everything before the mistake. The interpreter may take `patience`. Its process
    /// group is one of `groups`.
    pub(crate) fn check(&self, groups: &Groups, patience: Duration) -> Result<(), Unchecked> {
        if self.is_file() && self.language != Language::Sh {
            return Ok(());
        }
        let argv = self.command_line("check-");
        // If no wake can be made, no worker can be started. That is reported when one is started.
        let Ok(wake) = Wake::new().map(Arc::new) else { return Ok(()) };
        // Its stdout is a pipe, as in a worker: some operations fail on one kind of file and not on
        // another.
        let spec = Spec::new(&argv, &wake);
        // An interpreter that can't be started is reported when a worker is started.
        let Ok(mut process) = Process::start(&spec, groups) else { return Ok(()) };
        let said = CheckOutput::default();
        let is_over = process.await_exit(groups, Some(&wake), patience, &said, None);
        let first = if is_over { Stop::Kill } else { Stop::Terminate };
        let status = process.stop(first, GRACE, groups, Some(&wake), &said);
        let how = match &process.wanted_terminal {
            Some(stopped) => format!("{stopped} ({})", Stopped::advice()),
            None if is_over => describe_exited(status),
            None => format!("took longer than {} and was ended", format_duration(patience)),
        };
        if is_over && status.is_none() && said.text().is_empty() {
            // It has exited, and somebody else has its status. The first worker will judge the code.
            return Ok(());
        }
        self.judge(status.filter(|_| is_over), &how, &said.text())
    }

    /// Judges the code by the exit status and the messages of its interpreter. Without an exit status,
    /// nothing is known about the code.
    fn judge(&self, status: Option<ExitStatus>, how: &str, said: &str) -> Result<(), Unchecked> {
        let name = self.language.name();
        match status.and_then(|status| status.code()) {
            Some(0) => Ok(()),
            Some(_) if said.is_empty() => Err(Unchecked::Wrong(CodeError(format!(
                "{name} can't run this code: it {how} and said nothing"
            )))),
            Some(_) => {
                Err(Unchecked::Wrong(CodeError(format!("{name} can't run this code:\n{said}"))))
            }
            None => {
                let said = if said.is_empty() { String::new() } else { format!(":\n{said}") };
                Err(Unchecked::Ended(format!("{name} {how} while it checked the code{said}")))
            }
        }
    }
}
