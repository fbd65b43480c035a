//! Code as the job: workers for interpreters, each in its own language's file, which users need not
//! write.

mod functions;
mod path;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use humantime::format_duration;

use crate::job::{Failure, Watcher};
use crate::process::stops::Stopped;
use crate::process::{Groups, Process, Spec, Stop, Wake, describe};
use crate::protocol::{self, Protocol};

/// How long an interpreter that is not wanted any more has from TERM to KILL.
const GRACE: Duration = Duration::from_secs(1);

/// So much of what an interpreter says of some code is kept.
const MOST_SAID: usize = 64 << 10;

/// An interpreter that procpool has a worker for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python 3.
    Python,
    /// Perl 5.
    Perl,
    /// Node.js.
    Node,
    /// Ruby.
    Ruby,
    /// A POSIX shell.
    Sh,
}

/// Code that is run for each job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// What it is written in.
    pub language: Language,
    /// An expression, which is evaluated for each job, or the path of a file, whose functions are
    /// the commands.
    pub text: String,
    /// Code that runs once in each process, before the first job.
    pub setup: Vec<String>,
    /// For an expression, the line is a list: of all the args of a job.
    pub lists: bool,
}

/// The code can't be run: what its interpreter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeError(String);

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodeError {}

/// Why nothing good is known of some code.
#[derive(Debug)]
pub(crate) enum Unchecked {
    /// It can't be run.
    Wrong(CodeError),
    /// The interpreter did not get so far as to say.
    Ended(String),
}

/// What an interpreter says of the code that it checks.
#[derive(Default)]
struct Said(Mutex<Vec<u8>>);

impl Said {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

impl Watcher for Said {
    fn worker_stderr(&self, lines: &[u8]) {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_SAID.saturating_sub(bytes.len());
        bytes.extend_from_slice(&lines[..lines.len().min(room)]);
    }

    fn note(&self, _: &str) {}

    fn start_limit_reached(&self, _: &Failure) {}
}

impl Language {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Perl => "Perl",
            Self::Node => "Node.js",
            Self::Ruby => "Ruby",
            Self::Sh => "sh",
        }
    }

    /// The program, and its options behind which the code of the worker stands.
    fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Python => ("python3", &["-c"]),
            Self::Perl => ("perl", &["-e"]),
            Self::Node => ("node", &["-e"]),
            Self::Ruby => ("ruby", &["-e"]),
            Self::Sh => ("sh", &["-c"]),
        }
    }

    /// The worker.
    fn source(self) -> &'static str {
        match self {
            Self::Python => include_str!("worker.py"),
            Self::Perl => include_str!("worker.pl"),
            Self::Node => include_str!("worker.js"),
            Self::Ruby => include_str!("worker.rb"),
            Self::Sh => include_str!("worker.sh"),
        }
    }
}

impl Code {
    /// Whether it is a file, whose functions are the commands.
    pub fn is_file(&self) -> bool {
        Path::new(&self.text).is_file()
    }

    /// Looks whether code that can only be meant for the path of a file is that of one.
    ///
    /// # Errors
    /// There is no such file, or it can't be read by each worker: a sentence.
    pub fn check_path(&self) -> Result<(), String> {
        let path = Path::new(&self.text);
        if self.is_file() || !path::is_meant(self) {
            return Ok(());
        }
        let text = &self.text;
        let name = self.language.name();
        Err(match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                format!("'{text}' is a directory; name a file of code for {name}")
            }
            Ok(_) => format!(
                "'{text}' is not a regular file, which each worker could read; write the code for \
                 {name} to a file, and name that"
            ),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                format!("the file '{text}' can't be read: {error}")
            }
            Err(_) => format!("there is no file '{text}'"),
        })
    }

    /// Looks whether a file has the function that all jobs call, as far as its text tells.
    ///
    /// # Errors
    /// It has no such function, and which ones it has: a sentence.
    pub fn check_function(&self, name: &str) -> Result<(), String> {
        match std::fs::read(&self.text) {
            Ok(text) => functions::check(self, &String::from_utf8_lossy(&text), name),
            // Who loads it will say why.
            Err(_) => Ok(()),
        }
    }

    /// The worker's command line.
    pub fn worker(&self) -> Vec<OsString> {
        let is_list = self.lists && !self.is_file() && self.language != Language::Sh;
        self.command_line(if is_list { "list-" } else { "" })
    }

    /// How the worker is spoken to.
    pub fn protocol(&self) -> Protocol {
        match self.language {
            // It can't read JSON.
            Language::Sh => protocol::OF_SH,
            _ => Protocol::default(),
        }
    }

    /// Looks whether the code can be run, without running it: an expression is compiled. What is
    /// wrong with a file is found when the first worker loads it, but for a shell's, which would run
    /// all that stands before the mistake. The interpreter may take `patience`, and belongs to `groups`.
    pub(crate) fn check(&self, groups: &Groups, patience: Duration) -> Result<(), Unchecked> {
        if self.is_file() && self.language != Language::Sh {
            return Ok(());
        }
        let argv = self.command_line("check-");
        // Without room for it there is none for a worker, which is reported when one is started.
        let Ok(wake) = Wake::new().map(Arc::new) else { return Ok(()) };
        let (program, env, cwd, wake) = (None, &[], None, &wake);
        // Its stdout is a pipe here as well as later, since not all that can be done to one kind of
        // file can be done to another.
        let spec = Spec { argv: &argv, program, env, cwd, has_stdin: false, pty: false, wake };
        // One that can't be started is told of elsewhere.
        let Ok(mut process) = Process::start(&spec, groups) else { return Ok(()) };
        let said = Said::default();
        let is_over = process.await_exit(groups, Some(wake), patience, &said, None);
        let first = if is_over { Stop::Kill } else { Stop::Terminate };
        let status = process.stop(first, GRACE, groups, Some(wake), &said);
        let how = match &process.wanted_terminal {
            Some(stopped) => format!("{stopped} ({})", Stopped::advice()),
            None if is_over => describe(status),
            None => format!("took longer than {} and was ended", format_duration(patience)),
        };
        self.judge(status.filter(|_| is_over), &how, &said.text())
    }

    /// What it means that an interpreter has ended so, and has said that. Without a status of its own it
    /// has not judged the code.
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

    fn command_line(&self, before: &str) -> Vec<OsString> {
        let (program, options) = self.language.program();
        let mode = if self.is_file() { "file" } else { "expression" };
        let mut line = vec![OsString::from(program)];
        line.extend(options.iter().map(OsString::from));
        line.push(self.language.source().into());
        match self.language {
            // Its -c ends its own options; the others would take what looks like one.
            Language::Python => {}
            // What a shell calls itself in messages.
            Language::Sh => line.push("sh".into()),
            _ => line.push("--".into()),
        }
        line.push(format!("{before}{mode}").into());
        line.push(self.text.clone().into());
        line.extend(self.setup.iter().map(OsString::from));
        line
    }
}
