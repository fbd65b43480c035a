//! Outcomes → stdout, in order or as they come. This is the only place that writes stdout.
//!
//! Slots format their records themselves, and put them in order under one lock; a thread of its own
//! writes what is ready, many records at a time.

mod batch;
pub mod format;
mod large;
pub mod order;
mod pages;
mod settings;
mod shelf;
mod sink;
mod spill;
mod writer;

pub use format::Format;
pub use settings::{Screen, Settings, Trouble};
pub use sink::Output;
