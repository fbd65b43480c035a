//! A job → the command line that is run for it. Pure: nothing here starts a process.

mod args;
mod commands;
mod cut;
mod dialect;
mod error;
mod evaluation;
mod foreign;
pub mod label;
mod line;
mod operands;
mod placeholder;
mod script;
mod shell;
#[cfg(feature = "unstable-engine")]
mod substitution;
mod template;
mod words;

pub use args::Args;
pub use commands::Commands;
pub use dialect::Shell;
pub use error::{CommandError, PlaceholderProblem};
pub use line::{Command, command_line, quote};
pub use placeholder::{Names, TemplateSettings};
pub use template::Template;
