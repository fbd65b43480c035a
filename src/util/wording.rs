//! What settings are called in messages. Who uses the command knows its options, and who uses the library
//! its methods.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is the command.
static IS_COMMAND: AtomicBool = AtomicBool::new(false);

/// From now on messages name the command's options. The command calls this first.
pub fn name_options() {
    IS_COMMAND.store(true, Ordering::Relaxed);
}

/// A setting as the command's option or as the library's method.
pub(crate) fn setting(option: &'static str, method: &'static str) -> &'static str {
    if IS_COMMAND.load(Ordering::Relaxed) { option } else { method }
}
