//! The messages of an agent, and the thread that writes them. Slots report the outcomes of jobs, and wait
//! while too much waits to be written. While nobody speaks, that thread gives a sign of life.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::cpus;
use crate::link::from_agent::FromAgent;
use crate::link::greeting::greeting;
use crate::link::outgoing::Outgoing;
use crate::process::Wake;
use crate::util::lock::{lock, wait};

/// Slots wait while this many bytes wait to be written.
const MOST_BYTES: usize = 4 << 20;

/// Before the coordinator has said how patient it is, it gets a sign of life this often.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The messages that are not written yet.
#[derive(Debug)]
pub(super) struct LinkOutbox {
    state: Mutex<LinkOutboxState>,
    /// Notified when there is something to write.
    work: Condvar,
    /// Notified when there is room again.
    room: Condvar,
    /// Notified when all is written and nothing follows, or nobody reads.
    pub(super) end: Wake,
}

#[derive(Debug)]
struct LinkOutboxState {
    outgoing: Outgoing,
    /// How long it is silent at most.
    pause: Duration,
    /// Nothing follows.
    is_last: bool,
    /// All is written, or nobody reads.
    is_over: bool,
}

impl LinkOutbox {
    /// Begins with the greeting.
    ///
    /// # Errors
    /// No thread could be started.
    pub(super) fn start(output: File) -> io::Result<Arc<Self>> {
        let mut outgoing = Outgoing::new();
        outgoing.end().extend_from_slice(&greeting(cpus::count()));
        let state =
            LinkOutboxState { outgoing, pause: FIRST_PAUSE, is_last: false, is_over: false };
        let outbox = Arc::new(Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            end: Wake::new()?,
        });
        let writer = Arc::clone(&outbox);
        thread::Builder::new().name("link".into()).spawn(move || writer.write(output))?;
        Ok(outbox)
    }

    /// Says something now.
    pub(super) fn say(&self, message: &FromAgent<'_>) {
        self.add(message);
        self.work.notify_one();
    }

    /// Says something soon: [`LinkOutbox::flush`] follows.
    pub(super) fn add(&self, message: &FromAgent<'_>) {
        message.put(lock(&self.state).outgoing.end());
    }

    /// Says all that was added.
    pub(super) fn flush(&self) {
        if !lock(&self.state).outgoing.is_empty() {
            self.work.notify_one();
        }
    }

    /// Waits until there is room. Only those wait who could as well wait for the reader of stdout.
    pub(super) fn wait_for_room(&self) {
        let mut state = lock(&self.state);
        while state.outgoing.rest().len() >= MOST_BYTES && !state.is_over {
            self.work.notify_one();
            state = wait(&self.room, state);
        }
    }

    /// Whether there is room.
    pub(super) fn has_room(&self) -> bool {
        lock(&self.state).outgoing.rest().len() < MOST_BYTES
    }

    pub(super) fn set_pause(&self, pause: Duration) {
        lock(&self.state).pause = pause;
        self.work.notify_one();
    }

    /// Says the last thing.
    pub(super) fn say_last(&self, message: &FromAgent<'_>) {
        let mut state = lock(&self.state);
        message.put(state.outgoing.end());
        state.is_last = true;
        drop(state);
        self.work.notify_one();
    }

    /// Whether all is written, or nobody reads.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).is_over
    }

    /// Writes until nothing follows or nobody reads.
    fn write(&self, mut output: File) {
        while let Some(bytes) = self.next() {
            if output.write_all(&bytes).is_err() {
                break;
            }
        }
        lock(&self.state).is_over = true;
        self.room.notify_all();
        self.end.notify();
    }

    /// The bytes to be written next. `None`: nothing follows.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        loop {
            if !state.outgoing.is_empty() {
                let bytes = state.outgoing.take();
                self.room.notify_all();
                return Some(bytes);
            }
            if state.is_last {
                return None;
            }
            let pause = state.pause;
            let waited = self.work.wait_timeout(state, pause);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            if state.outgoing.is_silent_for(pause) {
                FromAgent::Pong(None).put(state.outgoing.end());
            }
        }
    }
}
