//! A slot: a thread that runs jobs, one kind of slot per file: `worker_slot.rs`, `command_slot.rs`.
//! The slots of another machine are in `host/`. All use the common steps in [`steps`], [`deliver`],
//! [`start`] and [`retire`].

mod command;
mod command_output;
mod command_slot;
mod command_terminal;
mod deadline;
mod death;
mod deliver;
mod doubt;
mod environment;
mod hire;
mod host;
mod kind;
mod late;
mod lending;
mod loan;
mod nursery;
mod renew;
mod renewal;
mod retire;
mod shell;
mod silence;
mod spare;
mod start;
mod steps;
mod stopped;
mod suspects;
mod warm_up;
mod worker_slot;

pub(crate) use host::{HostEnd, HostSlot};
pub(crate) use kind::run;
