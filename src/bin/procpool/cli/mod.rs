//! The command line (clap) → [`Options`], in groups by the headings of `--help`. Nothing else knows clap.
//!
//! Each option becomes plain data here, once. Nothing is opened or started.

mod blocks;
pub mod capacity;
mod code;
mod commands;
mod errors;
mod exchange;
mod failures;
mod foreign;
mod framing;
pub mod halt;
pub mod help;
mod hosts;
mod input;
mod journal;
pub mod lists;
mod messages;
pub mod options;
mod output;
mod printing;
pub mod queue;
mod recycling;
pub mod report;
mod selection;
pub mod semaphore;
mod server;
pub mod setting_names;
mod short_help;
pub mod texts;
mod throttling;
pub mod typed;
pub mod values;
mod workers;

pub use commands::CommandOptions;
pub use errors::EarlyExit;
pub use exchange::ExchangeOptions;
pub use options::Options;
