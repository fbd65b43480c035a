//! A pool: jobs are queued, slots pull them, run them and deliver what becomes of them.

mod background;
pub(crate) mod builder;
pub(crate) mod calls;
mod engine;
mod gates;
mod handle;
mod queue;
mod shared;
mod slot;
mod threads;
pub(crate) mod underway;

pub use handle::Pool;
