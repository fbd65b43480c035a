//! A pool: jobs are queued; slots take them, run them and deliver their outcomes. Layers: gates, queue,
//! then shared, slot, threads, engine, and the public handle and builder.

mod alarm;
mod background;
pub(crate) mod blocking;
mod build;
pub(crate) mod build_error;
pub(crate) mod builder;
pub(crate) mod call;
pub(crate) mod deferred;
mod engine;
mod events;
pub(crate) mod gates;
mod handle;
mod host_threads;
pub(crate) mod pipeline;
mod queue;
#[cfg(feature = "unstable-engine")]
mod remote;
mod shared;
mod slot;
pub(crate) mod stats;
mod stderr;
pub(crate) mod stream;
mod succession;
mod threads;
pub(crate) mod underway;
mod worker_list;

pub use handle::Pool;
#[cfg(feature = "unstable-engine")]
pub use shared::hosts::hash as program_hash;
pub(crate) use shared::hosts::pause_of_heart;
