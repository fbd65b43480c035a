//! Checks whether a program can be run before it is started, and says why a program was not started. The
//! messages give advice about names that only a shell knows.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::command::Command;

/// Why a program can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramError {
    /// There is no such program.
    NotFound(String),
    /// There is no such program, but a shell could run this, as with
    /// `TemplateSettings::shell`.
    NeedsShell(String),
    /// The program is there, but can't be run.
    CannotRun(String),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(message) | Self::NeedsShell(message) | Self::CannotRun(message) => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for ProgramError {}

/// Words that only a shell knows: its commands, and words that begin a statement of its language.
const SHELL_WORDS: &str = ". : alias bg bind break builtin case cd command continue coproc declare \
    dirs disown enable eval exec exit export fc fg for function getopts hash help history if jobs let \
    local logout mapfile popd pushd read readarray readonly return select set shift shopt source \
    suspend times trap type typeset ulimit umask unalias unset until wait while { ( ! [[";

/// Whether only a shell knows this word, so that it is no program.
pub fn is_shell_word(word: &str) -> bool {
    SHELL_WORDS.split_ascii_whitespace().any(|known| known == word)
}

/// The role of a program. The advice in a message depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// A worker.
    Worker,
    /// The command of all jobs.
    Command,
    /// The command that a job names.
    Job,
}

/// Looks a program up as the system will, and checks its first line.
///
/// # Errors
/// Why it can't be run.
pub fn check(program: &OsStr) -> Result<(), ProgramError> {
    check_for(program, Runner::Command)
}

/// As [`check`], with advice for this runner.
pub(crate) fn check_for(program: &OsStr, runner: Runner) -> Result<(), ProgramError> {
    find(program, runner).map(drop)
}

/// As [`check_for`]. Returns the absolute path of a program in `PATH`; `None`: the name is a path already, or the
/// folder has a relative one.
pub(crate) fn find(program: &OsStr, runner: Runner) -> Result<Option<PathBuf>, ProgramError> {
    if program.as_bytes().contains(&b'/') {
        return check_file(Path::new(program), runner).map(|()| None);
    }
    if program == "." {
        // It would be found in each folder: as that folder itself.
        return Err(not_in_path(program, runner));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let mut refused = None;
    for candidate in std::env::split_paths(&path).map(|folder| folder.join(program)) {
        match check_file(&candidate, runner) {
            Ok(()) => return Ok(Some(candidate).filter(|found| found.is_absolute())),
            Err(error @ ProgramError::CannotRun(_)) => refused = refused.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| not_in_path(program, runner)))
}

fn not_in_path(program: &OsStr, runner: Runner) -> ProgramError {
    let name = program.to_string_lossy();
    let message = format!("there is no program '{name}' in PATH");
    if name.contains('=') && !name.contains(char::is_whitespace) {
        let advice = "no shell is run, so variables need env";
        ProgramError::NotFound(format!("{message}; {advice}: 'env {name} …'"))
    } else if Path::new(program).exists() && !is_function(&name) && !is_shell_word(&name) {
        ProgramError::NotFound(format!(
            "{message}; for the file in this directory write './{name}'"
        ))
    } else {
        not_found(message, program, runner)
    }
}

/// The error for a program that is not there. If a shell could run it, the message says so. Users of GNU
/// parallel often write a whole command line for a shell as one argument.
fn not_found(message: String, program: &OsStr, runner: Runner) -> ProgramError {
    let name = program.to_string_lossy();
    let is_sign = |c: char| c.is_ascii_whitespace() || "|&;<>()$`".contains(c);
    let (why, advice) = if is_function(&name) {
        let advice = match runner {
            Runner::Command => format!("write bash -c '{name} \"$0\"'"),
            Runner::Worker => format!("write bash -c {name}"),
            Runner::Job => format!("write bash [\"-c\", \"{name} …\"]"),
        };
        ("it is a function of your shell, and no shell is run", advice)
    } else if is_shell_word(&name) {
        let advice = match runner {
            Runner::Command => "let a shell run it".to_owned(),
            Runner::Worker => format!("write sh -c '{name} …'"),
            Runner::Job => "write sh [\"-c\", \"…\"]".to_owned(),
        };
        ("it is a part of the shell, and no shell is run", advice)
    } else if name.contains(is_sign) {
        let advice = match runner {
            Runner::Command => "make each word an argument of its own, or let a shell run it",
            Runner::Worker => "write sh -c '…'",
            Runner::Job => "write sh [\"-c\", \"…\"]",
        };
        ("no shell is run", advice.to_owned())
    } else {
        return ProgramError::NotFound(message);
    };
    let message = format!("{message}; {why}: {advice}");
    if runner == Runner::Command && !is_function(&name) {
        ProgramError::NeedsShell(message)
    } else {
        ProgramError::NotFound(message)
    }
}

/// Whether this is the name of a function that bash has exported.
fn is_function(name: &str) -> bool {
    let has = |variable: String| std::env::var_os(variable).is_some();
    !name.contains(['=', '\0'])
        && (has(format!("BASH_FUNC_{name}%%")) || has(format!("BASH_FUNC_{name}()")))
}

/// Why a command was not started, as a sentence.
pub(crate) fn not_started(command: &Command, runner: Runner, error: &std::io::Error) -> String {
    let program = command.argv.first().map(OsString::as_os_str).unwrap_or_default();
    let cwd = command.cwd.as_ref().map(Path::new);
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return format!("there is no directory '{}' to run it in", cwd.display());
    }
    let name = program.to_string_lossy();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::TOOBIG) => format!(
            "'{name}' can't be run: its arguments are longer than the system allows (one may have \
             128 KiB on Linux); pass them on stdin, or give each job fewer lines"
        ),
        Some(Errno::NOENT | Errno::ACCESS | Errno::NOEXEC | Errno::NOTDIR) => {
            if let Err(error) = check_for(program, runner) {
                return error.to_string();
            }
            // It can be run, but not in the command's environment or directory.
            let place = if command.env.iter().any(|(name, _)| name == "PATH") {
                " with the PATH in its environment".to_owned()
            } else {
                cwd.map(|cwd| format!(" from the directory '{}'", cwd.display()))
                    .unwrap_or_default()
            };
            format!("'{name}' can't be run{place}: {error}")
        }
        Some(Errno::MFILE | Errno::NFILE) => format!(
            "'{name}' can't be run: {error}; raise the limit of open files, or run fewer jobs at a time"
        ),
        Some(Errno::AGAIN) => format!(
            "'{name}' can't be run: {error}; raise the limit of processes, or run fewer jobs at a time"
        ),
        _ => format!("'{name}' can't be run: {error}"),
    }
}

/// The absolute path of a program in `PATH`. `None`: it is not there, or the name is a path already.
pub fn locate(program: &OsStr) -> Option<PathBuf> {
    find(program, Runner::Command).ok().flatten()
}

fn check_file(path: &Path, runner: Runner) -> Result<(), ProgramError> {
    let name = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(cannot_run(path, &error.to_string()));
        }
        Err(_) => {
            let message = format!("there is no file '{name}'");
            if path.starts_with("~") {
                let advice = "no shell is run, so write the directory out instead of '~'";
                return Err(ProgramError::NotFound(format!("{message}; {advice}")));
            }
            return Err(not_found(message, path.as_os_str(), runner));
        }
    };
    if metadata.is_dir() {
        return Err(cannot_run(path, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(cannot_run(path, "it is not a file"));
    }
    if access(path, Access::EXEC_OK).is_err() {
        let why = format!(
            "it is not executable; make it so (chmod +x '{name}') or name its interpreter ('python3 \
             {name}')"
        );
        return Err(cannot_run(path, &why));
    }
    check_first_line(path)
}

/// Whether the interpreter in the first line of a script is there. A file that can't be read is left to
/// the system.
fn check_first_line(path: &Path) -> Result<(), ProgramError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut head));
    if read.is_err() || head.is_empty() {
        return Ok(());
    }
    let Some(line) = head.strip_prefix(b"#!") else {
        let is_text = head.iter().all(|&byte| byte >= b' ' || byte.is_ascii_whitespace());
        if is_text {
            let why = "its first line does not name an interpreter (such as #!/bin/sh)";
            return Err(cannot_run(path, why));
        }
        return Ok(());
    };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let word = line.trim_ascii_start().split(|&byte| byte == b' ' || byte == b'\t').next();
    let interpreter = PathBuf::from(OsStr::from_bytes(word.unwrap_or_default()));
    if interpreter.exists() {
        return Ok(());
    }
    let shown = interpreter.display().to_string();
    let hint = if line.ends_with(b"\r") {
        " (the line ends with a carriage return: save the file with Unix line ends)"
    } else {
        ""
    };
    let shown = shown.trim_end();
    let why = format!("the interpreter in its first line, '{shown}', is not there{hint}");
    Err(cannot_run(path, &why))
}

fn cannot_run(path: &Path, why: &str) -> ProgramError {
    ProgramError::CannotRun(format!("'{}' can't be run: {why}", path.display()))
}
