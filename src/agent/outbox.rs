//! The messages of an agent. The thread that has a message writes it, as far as the stream takes it. Another
//! thread writes the rest, and gives a sign of life while nobody speaks. Slots wait while too much is unwritten.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::link::from_agent::FromAgent;
use crate::link::outgoing::Outgoing;
use crate::process::{PipeCopy, Transfer, Wake};
use crate::util::held;
use crate::util::lock::{lock, wait};

/// Slots wait while this many bytes wait to be written.
const MOST_BYTES: usize = 4 << 20;

/// Before the coordinator has said how patient it is, it gets a sign of life this often.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Who writes goes on with what others say meanwhile this many times; then the thread does.
const MOST_ROUNDS: usize = 4;

/// The messages that are not written yet.
pub(crate) struct LinkOutbox {
    state: Mutex<LinkOutboxState>,
    pipe: PipeCopy,
    /// Notified when the thread has something to do.
    work: Condvar,
    /// Notified when there is room again.
    room: Condvar,
    /// Notified when all is written and nothing follows, or nobody reads.
    pub(crate) end: Wake,
    /// Called when there is room again after [`LinkOutbox::await_room`].
    on_room: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for LinkOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOutbox").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct LinkOutboxState {
    outgoing: Outgoing,
    /// How long it is silent at most.
    pause: Duration,
    /// Somebody writes, and has what is to be written.
    is_writing: bool,
    /// The thread writes when the stream has room.
    is_blocked: bool,
    /// How many slots wait for room.
    waiting: usize,
    /// Somebody waits for room.
    is_room_wanted: bool,
    /// Nothing follows.
    is_last: bool,
    /// All is written, or nobody reads.
    is_over: bool,
}

impl LinkOutboxState {
    fn has_room(&self) -> bool {
        self.outgoing.len() < MOST_BYTES || self.is_over
    }
}

impl LinkOutbox {
    /// Begins with these bytes.
    ///
    /// # Errors
    /// No thread could be started, or the stream is none.
    pub(crate) fn start(output: OwnedFd, first: &[u8]) -> io::Result<Arc<Self>> {
        let mut outgoing = Outgoing::new();
        outgoing.end().extend_from_slice(first);
        let state = LinkOutboxState {
            outgoing,
            pause: FIRST_PAUSE,
            is_writing: false,
            is_blocked: false,
            waiting: 0,
            is_room_wanted: false,
            is_last: false,
            is_over: false,
        };
        let outbox = Arc::new(Self {
            state: Mutex::new(state),
            pipe: PipeCopy::new(output)?,
            work: Condvar::new(),
            room: Condvar::new(),
            end: Wake::new()?,
            on_room: OnceLock::new(),
        });
        outbox.flush();
        let writer = Arc::clone(&outbox);
        thread::Builder::new().name("link".into()).spawn(move || writer.attend())?;
        Ok(outbox)
    }

    /// Says something now.
    pub(crate) fn say(&self, message: &FromAgent<'_>) {
        self.add(message);
        self.flush();
    }

    /// Says something soon: [`LinkOutbox::flush`] follows.
    pub(crate) fn add(&self, message: &FromAgent<'_>) {
        message.put(lock(&self.state).outgoing.end());
    }

    /// Says all that was added.
    pub(crate) fn flush(&self) {
        let state = lock(&self.state);
        if !state.is_writing && !state.is_blocked && !state.outgoing.is_empty() {
            drop(self.write(state));
        }
    }

    /// Waits until there is room. Only those wait who could as well wait for the reader of stdout.
    pub(crate) fn wait_for_room(&self) {
        if self.on_room.get().is_some() {
            return;
        }
        let state = lock(&self.state);
        if state.has_room() {
            return;
        }
        held::hold(|| self.wait_until_room(state));
    }

    fn wait_until_room<'a>(&'a self, mut state: MutexGuard<'a, LinkOutboxState>) {
        while !state.has_room() {
            if !state.is_writing && !state.is_blocked {
                state = self.write(state);
                continue;
            }
            state.waiting += 1;
            state = wait(&self.room, state);
            state.waiting -= 1;
        }
    }

    /// Waits until there is room, but no longer than this.
    pub(crate) fn await_room_for(&self, most: Duration) {
        let mut state = lock(&self.state);
        if !state.has_room() {
            state.waiting += 1;
            let waited = self.room.wait_timeout(state, most);
            waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
        }
    }

    /// Calls this from now on when there is room again, and never waits for room: the caller of
    /// [`LinkOutbox::lacks_room`] sees to it that few messages come.
    pub(crate) fn never_wait(&self, on_room: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_room.set(Box::new(on_room));
    }

    /// Whether there is no room, and nobody has asked to be told when there is.
    pub(crate) fn lacks_room(&self) -> bool {
        let state = lock(&self.state);
        state.outgoing.len() >= MOST_BYTES && !state.is_over && !state.is_room_wanted
    }

    /// Asks to be told when there is room, as [`LinkOutbox::never_wait`] says. Returns whether that is to be
    /// waited for: there may be room by now.
    pub(crate) fn await_room(&self) -> bool {
        let mut state = lock(&self.state);
        let is_full = state.outgoing.len() >= MOST_BYTES / 2 && !state.is_over;
        state.is_room_wanted |= is_full;
        is_full
    }

    /// Whether there is room. If nobody reads, there is. `more`: this many bytes more may wait to be written.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        let state = lock(&self.state);
        state.outgoing.len() < MOST_BYTES.saturating_add(more) || state.is_over
    }

    pub(crate) fn set_pause(&self, pause: Duration) {
        lock(&self.state).pause = pause;
        self.work.notify_one();
    }

    /// Says the last thing.
    pub(crate) fn say_last(&self, message: &FromAgent<'_>) {
        let mut state = lock(&self.state);
        message.put(state.outgoing.end());
        state.is_last = true;
        drop(state);
        self.work.notify_one();
    }

    /// Nobody reads any more: the thread ends, and what is not written is dropped.
    pub(crate) fn close(&self) {
        lock(&self.state).is_over = true;
        self.work.notify_all();
    }

    /// Whether all is written, or nobody reads.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.state).is_over
    }

    /// Writes what waits, and what is added meanwhile, as far as the stream takes it. Nobody else writes.
    fn write<'a>(
        &'a self,
        mut state: MutexGuard<'a, LinkOutboxState>,
    ) -> MutexGuard<'a, LinkOutboxState> {
        state.is_writing = true;
        for _ in 0..MOST_ROUNDS {
            let (bytes, before) = state.outgoing.take();
            drop(state);
            let (count, is_closed) = self.write_bytes(&bytes[before..]);
            let written = before + count;
            state = lock(&self.state);
            if is_closed {
                state.is_over = true;
                state.outgoing = Outgoing::new();
                break;
            }
            let is_blocked = written < bytes.len();
            state.outgoing.put_back(bytes, written);
            if is_blocked || state.outgoing.is_empty() {
                break;
            }
        }
        state.is_writing = false;
        state.is_blocked = !state.outgoing.is_empty();
        if state.waiting > 0 {
            self.room.notify_all();
        }
        if state.is_blocked || state.is_last || state.is_over || state.is_room_wanted {
            self.work.notify_one();
        }
        state
    }

    /// Writes as much as the stream takes. Returns how much that is, and whether nobody reads.
    fn write_bytes(&self, bytes: &[u8]) -> (usize, bool) {
        let mut written = 0;
        while written < bytes.len() {
            match self.pipe.write(&bytes[written..]) {
                Transfer::Moved(count) => written += count,
                Transfer::Blocked => break,
                Transfer::Closed => return (written, true),
            }
        }
        (written, false)
    }

    /// Writes what others could not, until nothing follows or nobody reads.
    fn attend(&self) {
        let mut state = lock(&self.state);
        while !state.is_over {
            if state.is_room_wanted && state.outgoing.len() < MOST_BYTES / 2 {
                state.is_room_wanted = false;
                drop(state);
                self.on_room.get().into_iter().for_each(|on_room| on_room());
                state = lock(&self.state);
            } else if state.is_writing {
                state = wait(&self.work, state);
            } else if state.is_blocked {
                drop(state);
                self.pipe.wait_for_room();
                state = self.write(lock(&self.state));
            } else if !state.outgoing.is_empty() && state.is_last {
                state = self.write(state);
            } else if state.is_last {
                break;
            } else {
                state = self.rest(state);
            }
        }
        state.is_over = true;
        drop(state);
        self.room.notify_all();
        self.end.notify();
    }

    /// Waits for something to do, and gives a sign of life if nobody has spoken for long.
    fn rest<'a>(
        &'a self,
        state: MutexGuard<'a, LinkOutboxState>,
    ) -> MutexGuard<'a, LinkOutboxState> {
        let pause = state.pause;
        let waited = self.work.wait_timeout(state, pause);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.outgoing.is_silent_for(pause) && !state.is_writing {
            FromAgent::Pong(None).put(state.outgoing.end());
            state = self.write(state);
        }
        state
    }
}
