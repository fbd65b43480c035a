//! The facts about the machine that a plan depends on.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;

use rustix::process::{Resource, getrlimit};

/// The bounds for the bytes of a command line and its environment.
const LEAST_ARGS: u64 = 128 << 10;
const MOST_ARGS: u64 = 6 << 20;

/// The number of these bytes that stay free.
const SPARE_ARGS: u64 = 4 << 10;

/// The facts about the machine that a plan depends on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How many CPUs this process may use. To count them takes several files of the system.
    pub cpus: fn() -> usize,
    pub stdin_is_terminal: bool,
    /// The bytes that a command line and its environment may have.
    pub arg_space: usize,
    /// The bytes of them that the environment of procpool takes.
    pub environment: usize,
}

impl Machine {
    /// This machine, as this process sees it.
    pub fn current() -> Self {
        let limit = match getrlimit(Resource::Stack).current {
            Some(bytes) => (bytes / 4).clamp(LEAST_ARGS, MOST_ARGS),
            None => MOST_ARGS,
        };
        let size = |(name, value): (OsString, OsString)| {
            arg_size(&name) + arg_size(&value) + size_of::<usize>()
        };
        Self {
            cpus: num_cpus::get,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            arg_space: usize::try_from(limit - SPARE_ARGS).unwrap_or(usize::MAX),
            environment: std::env::vars_os().map(size).sum(),
        }
    }
}

/// The bytes that a text takes in a command line, without the pointer to it.
pub fn arg_size(text: &OsStr) -> usize {
    text.len() + 1
}
