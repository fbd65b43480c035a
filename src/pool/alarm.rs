//! The clock of the queue: calls may wait there for a limited time. One thread waits for the next of these
//! limits; it is started when there is one, and ends when none is left.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

use crate::job::{Failure, Kind};
use crate::pool::background::STACK;
use crate::pool::shared::Shared;
use crate::util::clock::Moment;
use crate::util::lock::lock;

/// Limits that are closer together than this are dealt with at once.
const TICK: Duration = Duration::from_millis(5);

/// When the next call has waited for as long as it may.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    state: Mutex<BellState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    /// `None`: no thread waits for a moment.
    next: Option<Moment>,
    /// The pool is gone.
    is_over: bool,
}

impl Alarm {
    /// A call is queued that may wait until then.
    pub(crate) fn set(&self, shared: &Arc<Shared>, at: Moment) {
        if at == Moment::NEVER {
            return;
        }
        let mut state = lock(&self.0.state);
        match state.next {
            Some(next) if next <= at => {}
            Some(_) => {
                state.next = Some(at);
                self.0.changed.notify_one();
            }
            None => {
                let bell = Arc::clone(&self.0);
                let shared = Arc::downgrade(shared);
                let builder = thread::Builder::new().name("queue clock".into()).stack_size(STACK);
                // Without a thread, calls wait for as long as it takes.
                if builder.spawn(move || bell.wait(&shared)).is_ok() {
                    state.next = Some(at);
                }
            }
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        lock(&self.0.state).is_over = true;
        self.0.changed.notify_one();
    }
}

impl Bell {
    fn wait(&self, shared: &Weak<Shared>) {
        let mut state = lock(&self.state);
        while let Some(next) = state.next.filter(|_| !state.is_over) {
            drop(state);
            let Some(shared) = shared.upgrade() else { return };
            let now = shared.now();
            let left = if now < next {
                next.since(now)
            } else {
                self.expire(&shared, now);
                TICK
            };
            // Not kept while it waits: this is no handle of the pool.
            drop(shared);
            state = lock(&self.state);
            if state.next.is_some() && !state.is_over {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            }
        }
    }

    /// Has the calls fail that have waited for as long as they may, and finds out when the next will have.
    fn expire(&self, shared: &Shared, now: Moment) {
        // A call that is queued from now on sets the alarm itself.
        lock(&self.state).next = Some(Moment::NEVER);
        let (jobs, next) = shared.queue.expire(now);
        let failure = Failure::new(Kind::Expired, "it waited in the queue for longer than it may");
        shared.deliveries.drop_jobs(jobs, &failure);
        let mut state = lock(&self.state);
        let next = state.next.map_or(next, |set| set.min(next));
        state.next = (next != Moment::NEVER).then_some(next);
    }
}
