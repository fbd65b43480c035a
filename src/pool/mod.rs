//! A pool: jobs are queued; slots take them, run them and deliver their outcomes. Layers: gates, queue,
//! then shared, slot, threads, engine, and the public handle and builder.

mod background;
pub(crate) mod builder;
pub(crate) mod calls;
mod engine;
pub(crate) mod gates;
mod handle;
mod queue;
mod shared;
mod slot;
mod threads;
pub(crate) mod underway;

pub use handle::Pool;
