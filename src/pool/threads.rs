//! The threads of slots: they are started here, survive a sink that panics, and tell the queue when
//! they end.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::job::{Failure, Kind};
use crate::pool::background::{STACK, be_nice};
use crate::pool::host_threads;
use crate::pool::queue::STEP;
use crate::pool::shared::Shared;
use crate::pool::slot;
use crate::process::Wake;

/// The pause of a slot after a panic.
const PANIC_PAUSE: Duration = Duration::from_millis(10);

/// Starts the threads of slots, and the one that starts more when they are worth it.
pub(crate) fn start(shared: &Arc<Shared>, slots: Vec<usize>) {
    start_all(shared, slots);
    if shared.queue.begin_steps() {
        let weak = Arc::downgrade(shared);
        let builder = thread::Builder::new().name("more slots".into()).stack_size(STACK);
        if builder.spawn(move || start_more(&weak)).is_err() {
            start_all(shared, shared.queue.start_at_once());
        }
    }
}

/// Starts slots step by step, until no more are needed.
fn start_more(shared: &Weak<Shared>) {
    loop {
        thread::park_timeout(STEP);
        let Some(shared) = shared.upgrade() else { return };
        let Some(slots) = shared.queue.step(shared.groups.count()) else { return };
        start_all(&shared, slots);
    }
}

fn start_all(shared: &Arc<Shared>, slots: Vec<usize>) {
    let mut slots = slots.into_iter();
    let failed = slots.find_map(|index| start_one(shared, index).err());
    if let Some(error) = failed {
        // The other threads can't be started either. The next jobs try again.
        for index in slots {
            shared.queue.leave(index, || shared.renew());
        }
        not_started(shared, &error);
    }
}

fn start_one(shared: &Arc<Shared>, index: usize) -> io::Result<()> {
    if let Some(desk) = shared.hosts.as_ref().and_then(|hosts| hosts.desk_of(index)) {
        return host_threads::start(shared, desk, index);
    }
    let shared = Arc::clone(shared);
    let leaving = Leaving { shared: Arc::clone(&shared), index };
    let wake = Arc::new(Wake::new()?);
    shared.queue.enter(index, &wake);
    thread::Builder::new()
        .name(format!("slot {}", index + 1))
        .stack_size(STACK)
        .spawn(move || {
            let _leaving = leaving;
            be_nice(shared.config.nice);
            let run = || slot::run(index, Arc::clone(&shared), Arc::clone(&wake));
            // If the sink panics, only the jobs that the slot had are lost.
            while catch_unwind(AssertUnwindSafe(run)).is_err() {
                shared.queue.give_up_on(index);
                // Should the next turn panic as well, this thread must not use up a processor.
                wake.wait(Some(PANIC_PAUSE));
                shared.watcher.output_lost(
                    "outcomes of jobs were lost: the sink that takes them has panicked",
                );
            }
        })
        .map(drop)
}

/// A thread could not be started. A pool with fewer threads is only slower; a pool without threads gives
/// up.
fn not_started(shared: &Shared, error: &io::Error) {
    let (present, _) = shared.queue.presence();
    if present == 0 {
        let message = format!("no thread could be started for a worker: {error}");
        shared.give_up(&Failure::new(Kind::Spawn, message));
    } else {
        shared.is_crowded(error);
    }
}

/// Tells the queue that a slot has left when this is dropped, even if its thread panics or never began.
struct Leaving {
    shared: Arc<Shared>,
    index: usize,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared.queue.leave(self.index, || self.shared.renew());
    }
}
