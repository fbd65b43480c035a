//! Which kind of slot runs. That is decided once, when the slot's thread starts.

use std::sync::Arc;

use crate::pool::shared::Shared;
use crate::pool::slot::command_slot::CommandSlot;
use crate::pool::slot::loan;
use crate::pool::slot::steps::Slot;
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::process::Wake;

/// Runs a slot until the queue is closed and empty.
pub(crate) fn run(index: usize, shared: Arc<Shared>, wake: Arc<Wake>) {
    let commands = shared.config.commands.clone();
    let slot = Slot::new(index, shared, wake);
    match commands {
        Some(commands) => CommandSlot::new(slot, commands).run(),
        None => loan::run(WorkerSlot::new(slot)),
    }
}
