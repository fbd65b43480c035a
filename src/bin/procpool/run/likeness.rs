//! The likeness of a call: a hash of everything that makes workers differ. Calls with the same likeness can use the
//! same workers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procpool::engine::program_hash;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getegid, geteuid, getrlimit};

use super::code_files::CodeFiles;
use crate::cli::Options;

/// Workers have a folder for each slot. Of more of them than this, the last ones are not looked at.
const MOST_FOLDERS: usize = 64;

/// The limits that a process gets from the one that starts it.
const LIMITS: [Resource; 9] = [
    Resource::As,
    Resource::Core,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Memlock,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Stack,
];

/// Variables that differ between calls and mean nothing to a worker. A name with a star at its end means all variables
/// that begin with it.
const VOLATILE: &[&str] = &[
    "_",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "TERM",
    "COLORTERM",
    "TERM_*",
    "COLUMNS",
    "LINES",
    "WINDOWID",
    "TMUX",
    "TMUX_*",
    "STY",
    "WINDOW",
    "SSH_*",
    "GPG_TTY",
    "XDG_SESSION_*",
    "XDG_VTNR",
    "XDG_SEAT",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_*",
    "VTE_*",
    "KONSOLE_*",
    "PS1",
    "PROCPOOL_*",
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "GIT_AUTHOR_*",
    "GIT_COMMITTER_*",
    "GIT_EDITOR",
    "GIT_PREFIX",
    "GIT_INDEX_FILE",
    "GIT_EXEC_PATH",
    "GIT_REFLOG_ACTION",
    "GITHUB_*",
];

/// A name that is the same for all calls whose workers would be the same: with the same program and options, folder,
/// user, limits, environment, and the same contents of the files that the command line and the code name.
pub fn likeness(options: &Options, words: &[OsString]) -> String {
    let mut parts = LikenessParts::default();
    parts.add(env!("CARGO_PKG_VERSION"));
    parts.add_process();
    if let Ok(own) = std::env::current_exe() {
        parts.add_file(&own);
    }
    let folders = folders(options);
    folders.iter().for_each(|folder| parts.add_file(folder));
    words.iter().for_each(|word| parts.add(word));
    code_files(options, words, folders).all().iter().for_each(|path| parts.add_file(path));
    parts.add_environment();
    program_hash(&parts.0)
}

/// The folders that workers run in, and that of this process.
fn folders(options: &Options) -> Vec<PathBuf> {
    let own = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let Some(text) = options.commands.cwd.as_ref().map(|text| text.to_string_lossy()) else {
        return vec![own];
    };
    let count = if text.contains("{%") {
        options.workers.max_procs.unwrap_or_else(num_cpus::get)
    } else {
        1
    };
    let of_slots = (1..=count.min(MOST_FOLDERS)).map(|slot| {
        let text = text.replace("{%}", &slot.to_string());
        own.join(text.replace("{%0}", &(slot - 1).to_string()))
    });
    let of_slots: Vec<PathBuf> = of_slots.collect();
    [&[own][..], &of_slots].concat()
}

/// The files that make the workers of a call what they are.
fn code_files(options: &Options, words: &[OsString], folders: Vec<PathBuf>) -> CodeFiles {
    let mut files = CodeFiles::new(folders);
    for line in &options.workers.worker {
        // A name of the worker may be before it.
        if let Some((name, line)) = line.split_once('=')
            && !name.contains(char::is_whitespace)
        {
            files.add_command(line);
        }
        files.add_command(line);
    }
    // The command line of a worker is no text: a log that it names does not count.
    let lines: Vec<&str> = options.workers.worker.iter().map(String::as_str).collect();
    for word in words.iter().filter_map(|word| word.to_str()) {
        if !lines.iter().any(|line| word.ends_with(line)) {
            files.add_text(word);
        }
    }
    let code = &options.code;
    let shell = options
        .commands
        .shell
        .as_ref()
        .map_or("sh".into(), |shell| shell.program().to_string_lossy());
    let interpreters = [
        (&code.python, "python3"),
        (&code.perl, "perl"),
        (&code.node, "node"),
        (&code.ruby, "ruby"),
        (&code.sh, &shell),
    ];
    for (text, interpreter) in interpreters {
        if let Some(text) = text {
            files.add_program(interpreter);
            for text in [text].into_iter().chain(&code.setup) {
                files.add_text(text);
                files.add_modules(text);
            }
        }
    }
    files
}

/// Texts, each with its length, so that no two lists of them are equal.
#[derive(Default)]
struct LikenessParts(Vec<u8>);

impl LikenessParts {
    fn add(&mut self, text: impl AsRef<OsStr>) {
        let text = text.as_ref().as_bytes();
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text);
    }

    /// The identity of a file, if there is one. Whoever changes a file changes this.
    fn add_file(&mut self, path: &Path) {
        let Ok(found) = path.metadata() else { return };
        self.add(path);
        let mut numbers = vec![found.dev(), found.ino()];
        // The contents of a folder may change, and it is the same folder.
        if !found.is_dir() {
            let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
            numbers.push(found.size());
            numbers.extend(times.map(i64::cast_unsigned));
        }
        numbers.iter().for_each(|number| self.0.extend_from_slice(&number.to_le_bytes()));
    }

    /// What a process gets from the one that starts it: the user, groups, umask, niceness and limits.
    fn add_process(&mut self) {
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        let nice = rustix::process::getpriority_process(None).unwrap_or_default();
        let groups = rustix::process::getgroups().unwrap_or_default();
        let limits = LIMITS.map(|limit| {
            let Rlimit { current, maximum } = getrlimit(limit);
            (current, maximum)
        });
        self.add(format!("{} {} {umask:?} {nice} {groups:?} {limits:?}", geteuid(), getegid()));
    }

    fn add_environment(&mut self) {
        let mut all: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        all.sort_unstable();
        for (name, value) in all.iter().filter(|(name, _)| !is_volatile(name)) {
            self.add(name);
            self.add(value);
        }
    }
}

/// Whether a variable says nothing to a worker.
fn is_volatile(name: &OsStr) -> bool {
    VOLATILE.iter().any(|known| match known.strip_suffix('*') {
        Some(begin) => name.as_bytes().starts_with(begin.as_bytes()),
        None => name.as_bytes() == known.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_terminal_say_nothing() {
        for name in ["PWD", "SSH_AUTH_SOCK", "TERM", "_", "GIT_AUTHOR_DATE"] {
            assert!(is_volatile(name.as_ref()), "{name}");
        }
        for name in ["PATH", "PYTHONPATH", "TERMINAL", "__", "LANG", "VIRTUAL_ENV", "GIT_DIR"] {
            assert!(!is_volatile(name.as_ref()), "{name}");
        }
    }
}
