//! One run, from the options to the exit status: build everything, watch it, end it.

pub mod builders;
mod ending;
mod events;
pub mod hosts;
pub mod reporter;
mod slow;
mod slurm;
mod watch;
mod wiring;

pub use wiring::run;
