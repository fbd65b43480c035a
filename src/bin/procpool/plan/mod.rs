//! Options → [`Plan`]: what the library is to do. Nothing here starts or reads anything, or ends the process.

mod arg_space;
mod build;
mod bundles;
mod commands;
mod exchange;
mod invocation;
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
