//! Jobs, their outcomes, and the traits by which both travel between layers.

mod answer;
pub(crate) mod block;
pub(crate) mod bundle;
pub(crate) mod call;
pub(crate) mod caller;
mod command_output;
mod done;
pub(crate) mod joint;
pub(crate) mod key;
pub(crate) mod naming;
mod outcome;
mod parts;
pub(crate) mod party;
mod portable;
pub(crate) mod printed;
mod sink;
mod unit;

pub(crate) use answer::Answer;
pub use block::{Block, BlockBody};
pub use command_output::CommandOutput;
pub use done::{Done, ResultStreak, Run};
pub use outcome::{Failure, Kind, Value};
pub(crate) use parts::PartsConfig;
pub use sink::{Closed, Feed, Sink, Watcher, Why, WorkerEnd};
pub(crate) use unit::Leash;
pub use unit::{Job, Place};
