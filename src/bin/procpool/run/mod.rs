//! One run, from the options to the exit status: build everything, watch it, end it.

mod builders;
mod ending;
mod events;
mod reporter;
mod slow;
mod watch;
mod wiring;

pub use wiring::run;
