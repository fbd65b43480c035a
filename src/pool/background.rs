//! Threads beside those of slots: work that nobody waits for, such as ending a worker that is replaced.

use std::thread;

/// The stack of a thread: it needs little, and there may be thousands of them.
pub(crate) const STACK: usize = 256 << 10;

/// Drops something in a thread of its own, since its `drop` does work that takes time. If no thread can
/// be started, it is dropped in this one.
pub(crate) fn drop_in_background<T: Send + 'static>(name: &str, what: T) {
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let _ = builder.spawn(move || drop(what));
}
