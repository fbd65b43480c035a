//! A pool: jobs are queued, slots pull them, run them and deliver what becomes of them.

pub(crate) mod builder;
pub(crate) mod calls;
mod engine;
mod gates;
mod handle;
mod queue;
pub(crate) mod roll;
mod shared;
mod slot;
mod threads;

pub use handle::Pool;
