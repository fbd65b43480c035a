//! The options that make the workers of a server what they are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::Options;
use crate::cli::typed::{TypedOption, typed};

/// The options that say what a worker is, and what its jobs are. Callers of a server plan their runs by them.
const KIND: &[&str] = &[
    "worker",
    "protocol",
    "framing",
    "reply_messages",
    "python",
    "perl",
    "node",
    "ruby",
    "sh",
    "max_args",
];

/// The other options that a pool of workers depends on.
const POOL: &[&str] = &[
    "pty",
    "init",
    "notify",
    "max_procs",
    "pipeline",
    "max_reqs",
    "start_limit",
    "start_timeout",
    "max_reply",
    "max_reqs_jitter",
    "max_age",
    "max_rss",
    "idle_timeout",
    "standby",
    "setup",
    "max_load",
    "min_free_memory",
    "nice",
    "grace",
    "max_line",
];

/// The options whose values are code, or files of code.
const CODE: &[&str] = &["python", "perl", "node", "ruby", "sh"];

/// Whether an option says what a worker is.
pub fn is_of_kind(id: &str) -> bool {
    KIND.contains(&id)
}

/// Whether a pool of workers depends on an option.
pub fn is_of_pool(id: &str) -> bool {
    is_of_kind(id) || POOL.contains(&id)
}

/// The words of this command line about the kind of the workers.
pub fn words_of_kind() -> Vec<OsString> {
    typed().into_iter().filter(|option| is_of_kind(&option.id)).map(word).collect()
}

/// The words of this command line about the pool of workers.
pub fn words_of_pool() -> Vec<OsString> {
    typed().into_iter().filter(|option| is_of_pool(&option.id)).map(word).collect()
}

/// Whether there are workers, and not a command for each job.
pub fn has_workers(options: &Options) -> bool {
    let code = &options.code;
    let code = [&code.python, &code.perl, &code.node, &code.ruby, &code.sh];
    !options.workers.worker.is_empty() || code.iter().any(|code| code.is_some())
}

/// An option as one word. The name of a file of code means the same in each folder.
fn word(option: TypedOption) -> OsString {
    let mut word = OsString::from(&option.name);
    let Some(mut value) = option.value else { return word };
    if CODE.contains(&option.id.as_str())
        && Path::new(&value).is_file()
        && let Ok(path) = std::path::absolute(&value)
    {
        value = path.into_os_string();
    }
    if option.name.starts_with("--") {
        word.push("=");
    }
    word.push(value);
    word
}

/// These words, each with a NUL byte after it.
pub fn joined(words: &[OsString]) -> Vec<u8> {
    words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
}
