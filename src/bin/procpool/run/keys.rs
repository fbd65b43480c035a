//! The options that make the workers of a server what they are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::Options;
use crate::cli::typed::{TypedOption, typed_in};

/// The options that say what a worker is, and what its jobs are. Callers of a server plan their runs by them.
#[rustfmt::skip]
const KIND: &[&str] = &[
    "worker", "protocol", "framing", "reply_messages", "reply_end", "keep_end", "before_request", "after_request",
    "banner", "fail_on", "python", "perl", "node", "ruby", "sh", "shell", "max_args", "each",
];

/// The other options that a pool of workers depends on. Each option is in one of these lists or in the tests below.
#[rustfmt::skip]
const POOL: &[&str] = &[
    "pty", "init", "notify", "max_procs", "prestart", "pipeline", "max_reqs", "start_limit", "start_timeout",
    "max_reply", "max_reqs_jitter", "max_age", "max_rss", "idle_timeout", "standby", "setup", "env", "cwd",
    "cpu_affinity", "max_load", "min_free_memory", "nice", "grace", "max_line", "silence", "max_memory",
    "env_only", "env_all", "preload",
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

/// The words of the command line, and of what stands for a part of it, about the kind of the workers.
pub fn words_of_kind(options: &Options) -> Vec<OsString> {
    typed_in(&options.commands.hosts.words)
        .into_iter()
        .filter(|option| is_of_kind(&option.id))
        .map(word)
        .collect()
}

/// The words of the command line, and of what stands for a part of it, about the pool of workers.
pub fn words_of_pool(options: &Options) -> Vec<OsString> {
    typed_in(&options.commands.hosts.words)
        .into_iter()
        .filter(|option| is_of_pool(&option.id))
        .map(word)
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::definition;

    /// The options of a run that are the same whoever has the workers.
    #[rustfmt::skip]
    const OF_CALLERS: &[&str] = &[
        "route", "replace", "stdin", "dry_run", "confirm", "hosts", "launcher", "before", "slurm",
        "host_timeout", "no_rerun", "serve", "connect", "keep", "status", "stop", "delay", "rate", "arg_file", "input",
        "header", "no_run_if_empty", "delimiter", "null", "format", "tag", "live", "detail", "stream", "keep_order",
        "buffer", "summary", "report", "trace", "results", "joblog", "progress", "color", "timeout", "slow", "retries",
        "retry_on", "retry_delay", "failed", "halt", "fail_fast", "journal", "resume", "fsync", "help", "version",
        "doctor", "example_worker", "generate", "to", "from", "via", "dead", "run", "drain", "queue_limit", "ack_wait",
        "replicas", "queue_timeout", "tty", "colsep", "link", "arg_sep", "arg_file_sep", "shuf", "tag_string", "newline",
        "tmpdir", "bar", "eta", "no_notice", "ok_exit", "no_retry_exit",
        "semaphore", "fg", "wait", "semaphore_timeout", "block", "recend", "recstart", "skip_null", "unpack", "profile",
        "show_options",
    ];

    /// With an option in the wrong list, a call would meet workers that are not its own.
    #[test]
    fn each_option_is_of_a_pool_or_of_its_callers() {
        for arg in definition().get_arguments().filter(|arg| !arg.is_positional()) {
            let id = arg.get_id().as_str();
            let lists = [KIND, POOL, OF_CALLERS];
            assert_eq!(lists.iter().filter(|list| list.contains(&id)).count(), 1, "{id}");
        }
    }
}
