//! What two calls have in common whose jobs may run in the same workers: everything that makes workers differ.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use procpool::engine::{locate, program_hash};
use rustix::process::geteuid;

use crate::cli::Options;

/// Variables that differ between calls and say nothing to a worker. Those that end with a star stand for all that
/// begin so.
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

/// The endings of files of code and of settings.
const SOURCES: &[&str] = &[
    "awk", "bash", "cfg", "cjs", "class", "clj", "conf", "cts", "ex", "exs", "groovy", "ini",
    "jar", "jl", "jq", "js", "json", "jsx", "kts", "lua", "mjs", "mts", "php", "pl", "pm", "py",
    "pyc", "pyz", "r", "R", "rb", "sed", "sh", "tcl", "toml", "ts", "tsx", "xml", "yaml", "yml",
    "zsh",
];

/// A name that calls have in common whose workers would be the same: the same program and options, folder, user,
/// environment, and the same contents of the files that the command line names.
pub fn likeness(options: &Options, words: &[OsString]) -> String {
    let mut parts = LikenessParts::default();
    parts.add(env!("CARGO_PKG_VERSION"));
    parts.add(geteuid().as_raw().to_string());
    if let Ok(own) = std::env::current_exe() {
        parts.add_file(&own);
    }
    if let Ok(folder) = std::env::current_dir() {
        parts.add_file(&folder);
    }
    words.iter().for_each(|word| parts.add(word));
    for line in &options.workers.worker {
        // A name of the worker before it changes nothing: it is one of the words.
        parts.add_command(line);
        if let Some((_, line)) = line.split_once('=') {
            parts.add_command(line);
        }
    }
    let code = &options.code;
    let interpreters = [
        (&code.python, "python3"),
        (&code.perl, "perl"),
        (&code.node, "node"),
        (&code.ruby, "ruby"),
        (&code.sh, "sh"),
    ];
    for (text, interpreter) in interpreters {
        if let Some(text) = text {
            parts.add_program(interpreter.as_ref());
            parts.add_file(Path::new(text));
        }
    }
    parts.add_environment();
    program_hash(&parts.0)
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

    /// The program that the system finds under this name.
    fn add_program(&mut self, name: &OsStr) {
        if let Some(path) = locate(name) {
            self.add_file(&path);
        }
    }

    /// The program of a command line, and the files that its words name.
    fn add_command(&mut self, line: &str) {
        let Ok(words) = shell_words::split(line) else { return };
        if let Some(program) = words.first() {
            self.add_program(program.as_ref());
        }
        for word in &words {
            let path = word.split_once('=').map_or(word.as_str(), |(_, value)| value);
            self.add_code(Path::new(path));
        }
    }

    /// The identity of a file that makes a worker what it is. Others, such as logs, change as it works.
    fn add_code(&mut self, path: &Path) {
        let is_source = path
            .extension()
            .is_some_and(|ending| ending.to_str().is_some_and(|ending| SOURCES.contains(&ending)));
        let is_program = || path.metadata().is_ok_and(|found| found.mode() & 0o111 != 0);
        if is_source || is_program() {
            self.add_file(path);
        }
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
