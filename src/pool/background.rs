//! Threads beside those of slots: work that nobody waits for, such as ending a worker that is replaced.

use std::thread;

use rustix::process::{getpid, getpriority_process, setpriority_process};

/// The stack of a thread: it needs little, and there may be thousands of them.
pub(crate) const STACK: usize = 256 << 10;

/// Drops something in a thread of its own, since its `drop` does work that takes time. If no thread can
/// be started, it is dropped in this one.
pub(crate) fn drop_in_background<T: Send + 'static>(name: &str, what: T) {
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let _ = builder.spawn(move || drop(what));
}

/// Lowers the priority of this thread. The processes that it starts inherit that.
pub(crate) fn be_nice(more: i32) {
    if more > 0
        // The priority of the process counts: the thread that started this one may have lowered its
        // own.
        && let Ok(now) = getpriority_process(Some(getpid()))
    {
        let _ = setpriority_process(None, (now + more).min(19));
    }
}
