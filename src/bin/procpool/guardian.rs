//! When the guardian of a run is forked. The sooner that is, the cheaper: before the command line is parsed, this
//! process has a tenth of the memory that the two would have in common.

/// A command line with such a word may start no process, or leave them to a server or a holder that has a guardian of
/// its own. Then the guardian is forked when it is known that the run needs one.
const NOT_YET: [&str; 14] = [
    "-h",
    "-V",
    "--help",
    "--version",
    "--connect",
    "--dead",
    "--doctor",
    "--dry-run",
    "--generate",
    "--keep",
    "--profile",
    "--semaphore",
    "--serve",
    "--st",
];

/// Forks the guardian before all else, if this command line is likely to need one.
pub fn fork_early() {
    let is_option = |word: &std::ffi::OsStr| {
        let word = word.as_encoded_bytes();
        NOT_YET.iter().any(|option| word.starts_with(option.as_bytes()))
    };
    let has_presets = std::env::var_os("PROCPOOL_OPTIONS").is_some_and(|value| !value.is_empty());
    if !has_presets && !std::env::args_os().skip(1).any(|word| is_option(&word)) {
        fork();
    }
}

/// Sees to it that there is a guardian if the run starts processes, and none otherwise. From here on this process may
/// have several threads.
pub fn prepare(starts_some: bool) {
    if starts_some { fork() } else { dismiss() }
}

fn fork() {
    #[cfg(target_os = "linux")]
    procpool::engine::fork_guardian();
}

/// Ends the guardian, if it was forked: this process starts no jobs.
pub fn dismiss() {
    #[cfg(target_os = "linux")]
    procpool::engine::dismiss_guardian();
}
