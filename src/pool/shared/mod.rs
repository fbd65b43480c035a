//! The parts that all slots of a pool share. [`Shared`] has one part for each subject; each file owns one part.

pub(crate) mod deliveries;
pub(crate) mod estimates;
mod guarded;
pub(crate) mod hosts;
pub(crate) mod minder;
pub(crate) mod nursery;
mod parts;
pub(crate) mod renewals;
pub(crate) mod spares;
pub(crate) mod start_ups;
pub(crate) mod stopping;
mod tally;

pub(crate) use parts::Shared;
