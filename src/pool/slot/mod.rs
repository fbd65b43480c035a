//! A slot: a thread that runs jobs, one kind of slot per file: `worker_slot.rs`, `command_slot.rs`.
//! A third kind (a connection to another machine) is one more such file over the common steps in
//! [`steps`], [`deliver`], [`start`] and [`retire`], and one more arm in `kind.rs`.

mod command;
mod command_output;
mod command_slot;
mod deadline;
mod death;
mod deliver;
mod doubt;
mod host;
mod kind;
mod retire;
mod silence;
mod spare;
mod start;
mod steps;
mod stopped;
mod warm_up;
mod worker_slot;

pub(crate) use host::run as run_host;
pub(crate) use kind::run;
