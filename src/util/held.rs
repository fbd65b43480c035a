//! Time in which a slot's thread waited for the reader of its results. It counts for no job.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static HELD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Waits by calling `wait`, and adds the time that it takes.
pub(crate) fn hold<T>(wait: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let waited = wait();
    HELD.set(HELD.get() + began.elapsed());
    waited
}

/// How long this thread has waited since this was last called.
pub(crate) fn take() -> Duration {
    HELD.take()
}
