//! Whether a program can be run, told before it is: so that a mistyped name costs no input.

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
    /// It is there, but can't be run.
    CannotRun(String),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(message) | Self::CannotRun(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ProgramError {}

/// Words that mean something to a shell only: its own commands, and what its language begins with.
const SHELL_WORDS: &str = ". : alias bg bind break builtin case cd command continue coproc declare \
    dirs disown enable eval exec exit export fc fg for function getopts hash help history if jobs let \
    local logout mapfile popd pushd read readarray readonly return select set shift shopt source \
    suspend times trap type typeset ulimit umask unalias unset until wait while { ( ! [[";

/// Whether a word means something to a shell, and is no program.
pub fn is_shell_word(word: &str) -> bool {
    SHELL_WORDS.split_ascii_whitespace().any(|known| known == word)
}

/// Who runs a program, and so what can be done about one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// It is a worker.
    Worker,
    /// It is the command of all jobs, on the command line.
    Command,
    /// A job names it.
    Job,
}

/// Looks a program up as the system will, and at its first line.
///
/// # Errors
/// Why it can't be run.
pub fn check(program: &OsStr) -> Result<(), ProgramError> {
    check_for(program, Runner::Command)
}

/// The same; what to do about it depends on who runs it.
pub(crate) fn check_for(program: &OsStr, runner: Runner) -> Result<(), ProgramError> {
    let name = program.to_string_lossy();
    if program.as_bytes().contains(&b'/') {
        return check_file(Path::new(program), runner);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let mut refused = None;
    for candidate in std::env::split_paths(&path).map(|folder| folder.join(program)) {
        match check_file(&candidate, runner) {
            Ok(()) => return Ok(()),
            Err(error @ ProgramError::CannotRun(_)) => refused = refused.or(Some(error)),
            Err(ProgramError::NotFound(_)) => {}
        }
    }
    Err(refused.unwrap_or_else(|| {
        let hint = if name.contains('=') && !name.contains(char::is_whitespace) {
            format!("; no shell is run, so variables need env: 'env {name} …'")
        } else if Path::new(program).exists() && !is_function(&name) && !is_shell_word(&name) {
            format!("; for the file in this directory write './{name}'")
        } else {
            hint_of_a_shell(program, runner).unwrap_or_default()
        };
        ProgramError::NotFound(format!("there is no program '{name}' in PATH{hint}"))
    }))
}

/// What to do about a name that means something to a shell only. Who is used to GNU parallel also
/// writes a whole command for a shell as one argument.
fn hint_of_a_shell(program: &OsStr, runner: Runner) -> Option<String> {
    let name = program.to_string_lossy();
    let is_sign = |c: char| c.is_ascii_whitespace() || "|&;<>()$`".contains(c);
    let (is_function, is_word) = (is_function(&name), is_shell_word(&name));
    let what = if is_function {
        "it is a function of your shell, and no shell is run"
    } else if is_word {
        "it is a part of the shell, and no shell is run"
    } else if name.contains(is_sign) {
        "no shell is run"
    } else {
        return None;
    };
    let cure = match runner {
        Runner::Command if is_function => format!("write bash -c '{name} \"$0\"'"),
        Runner::Command if is_word => "put --shell before the command".to_owned(),
        Runner::Command => {
            "make each word an argument of its own, or put --shell before the command".to_owned()
        }
        Runner::Worker if is_function => format!("write bash -c {name}"),
        Runner::Worker if is_word => format!("write sh -c '{name} …'"),
        Runner::Worker => "write sh -c '…'".to_owned(),
        Runner::Job if is_function => format!("write bash [\"-c\", \"{name} …\"]"),
        Runner::Job => "write sh [\"-c\", \"…\"]".to_owned(),
    };
    Some(format!("; {what}: {cure}"))
}

/// Whether a name is that of a function that bash has exported.
fn is_function(name: &str) -> bool {
    let has = |variable: String| std::env::var_os(variable).is_some();
    !name.contains(['=', '\0'])
        && (has(format!("BASH_FUNC_{name}%%")) || has(format!("BASH_FUNC_{name}()")))
}

/// Why a command was not started, as a sentence.
pub(crate) fn not_started(command: &Command, runner: Runner, error: &std::io::Error) -> String {
    let program = command.argv.first().map(OsString::as_os_str).unwrap_or_default();
    if let Some(cwd) = &command.cwd
        && !Path::new(cwd).is_dir()
    {
        return format!("there is no directory '{}' to run it in", Path::new(cwd).display());
    }
    let name = program.to_string_lossy();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::TOOBIG) => format!(
            "'{name}' can't be run: its arguments are longer than the system allows (one may have \
             128 KiB on Linux); use --stdin, or fewer lines for each job (-n)"
        ),
        Some(Errno::NOENT | Errno::ACCESS | Errno::NOEXEC | Errno::NOTDIR) => {
            let why = check_for(program, runner).err().map(|error| error.to_string());
            let elsewhere = if command.env.iter().any(|(name, _)| name == "PATH") {
                " in the PATH that --env sets"
            } else if command.cwd.is_some() {
                " from the directory that --cwd sets"
            } else {
                ""
            };
            why.unwrap_or_else(|| format!("'{name}' can't be run{elsewhere}: {error}"))
        }
        _ => format!("'{name}' can't be run: {error}"),
    }
}

/// Where a program is, so that it need not be looked for again and again; `None`: leave that to the
/// system.
pub(crate) fn locate(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| check_file(candidate, Runner::Command).is_ok())
        .filter(|found| found.is_absolute())
}

fn check_file(path: &Path, runner: Runner) -> Result<(), ProgramError> {
    let name = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(ProgramError::CannotRun(format!("'{name}' can't be run: {error}")));
        }
        Err(_) => {
            let hint = if path.starts_with("~") {
                "; no shell is run, so write the directory out instead of '~'".to_owned()
            } else {
                hint_of_a_shell(path.as_os_str(), runner).unwrap_or_default()
            };
            return Err(ProgramError::NotFound(format!("there is no file '{name}'{hint}")));
        }
    };
    if metadata.is_dir() {
        return Err(ProgramError::CannotRun(format!("'{name}' can't be run: it is a directory")));
    }
    if !metadata.is_file() {
        return Err(ProgramError::CannotRun(format!("'{name}' can't be run: it is not a file")));
    }
    if access(path, Access::EXEC_OK).is_err() {
        return Err(ProgramError::CannotRun(format!(
            "'{name}' can't be run: it is not executable; make it so (chmod +x '{name}') or name \
             its interpreter ('python3 {name}')"
        )));
    }
    check_first_line(path)
}

/// A file that can't be read is left to the system to judge.
fn check_first_line(path: &Path) -> Result<(), ProgramError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut head));
    if read.is_err() || head.is_empty() {
        return Ok(());
    }
    let name = path.display();
    let Some(line) = head.strip_prefix(b"#!") else {
        let is_text = head.iter().all(|&byte| byte >= b' ' || byte.is_ascii_whitespace());
        return match is_text {
            true => Err(ProgramError::CannotRun(format!(
                "'{name}' can't be run: its first line does not name an interpreter (such as \
                 #!/bin/sh)"
            ))),
            false => Ok(()),
        };
    };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let word = line.trim_ascii_start().split(|&byte| byte == b' ' || byte == b'\t').next();
    let interpreter = PathBuf::from(OsStr::from_bytes(word.unwrap_or_default()));
    if interpreter.exists() {
        return Ok(());
    }
    let shown = interpreter.display();
    let hint = match line.ends_with(b"\r") {
        true => " (the line ends with a carriage return: save the file with Unix line ends)",
        false => "",
    };
    Err(ProgramError::CannotRun(format!(
        "'{name}' can't be run: the interpreter in its first line, '{}', is not there{hint}",
        shown.to_string().trim_end()
    )))
}
