//! One run, from the options to the exit status: build everything, watch it, end it.

pub mod builders;
mod code_files;
mod ending;
mod events;
mod host_list;
pub mod hosts;
mod keep;
mod keys;
mod likeness;
mod procs_file;
mod prometheus;
pub mod reporter;
pub mod serve;
pub mod server;
pub mod sides;
mod slow;
mod slurm;
mod watch;
mod wiring;

pub use wiring::run;
