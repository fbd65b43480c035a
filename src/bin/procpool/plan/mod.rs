//! Options → [`Plan`]: what the library is to do. Nothing here starts or reads anything, or ends the process.

mod arg_space;
mod blocks;
mod build;
mod bundles;
mod commands;
mod exchange;
mod invocation;
mod joining;
mod journal;
mod lines;
pub mod machine;
mod misuse;
mod mode;
mod no_shell;
mod queue;
mod results;
mod route;
mod sources;
mod stdin;
mod surroundings;
#[cfg(test)]
mod tests;
mod usage;
mod workers;

pub use build::Plan;
pub use misuse::Misuse;
pub use surroundings::{WorkerFolder, WorkerPlace};

use std::sync::Arc;

use crate::cli::Options;
use invocation::Invocation;
use machine::Machine;
use mode::Mode;

/// Why the command line makes no sense; `None`: it does.
pub fn misuse(options: &Options) -> Option<Misuse> {
    Plan::of(options, Arc::default()).err()
}

/// Whether the code that these options name is an expression, and not a file of functions.
pub fn has_expression(options: &Options) -> bool {
    invocation::code(options).is_some_and(|code| !code.is_file())
}

/// The given options that have no effect in the run that they are for.
pub fn without_effect(options: &Options) -> Vec<String> {
    let machine = Machine::current();
    // What is wrong with the command line is reported later.
    let Ok(invocation) = Invocation::new(options, &machine) else { return Vec::new() };
    usage::without_effect(options, Mode::of(&invocation), !invocation.lists.is_empty())
}
