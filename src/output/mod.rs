//! Prints outcomes to stdout, in the order of the input or as jobs finish. Nothing else writes stdout.
//! Slots format their records and put them in order under one lock; a thread writes the records that
//! are ready.

mod batch;
pub mod failure;
pub mod format;
mod large;
pub mod order;
mod pages;
mod selection;
mod settings;
mod shelf;
mod sink;
mod spill;
mod text;
mod unrecorded;
mod writer;

pub use format::Format;
pub use settings::{Screen, Settings, Trouble};
pub use sink::Output;
pub use text::print;
