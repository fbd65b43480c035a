//! Outcomes → stdout, in order or as they come. This is the only place that writes stdout.
//!
//! Slots format their records themselves, and put them in order under one lock; a thread of its own
//! writes what is ready, many records at a time.

pub mod format;
mod large;
pub mod order;
mod pages;
mod spill;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::job::printed::Spool;
use crate::job::{Done, Job, Sink};
use crate::journal::Journal;
use crate::util::buffer::Usual;
pub use format::Format;
use large::Large;
use order::{Between, Order, Ready};

/// The writer is told of new records at once when it is idle; after a write it rests so long, so
/// that records that come thick and fast are written many at a time.
const REST: Duration = Duration::from_millis(1);

/// With so many bytes ready the writer does not rest.
const ENOUGH: usize = 64 << 10;

/// With so many bytes ready slots wait for the writer.
const TOO_MUCH: usize = 1 << 20;

/// How results are printed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a record looks.
    pub format: Format,
    /// In input order, not as they come.
    pub ordered: bool,
    /// How many bytes of results that wait for their turn are held in memory.
    pub buffer: usize,
    /// Where each result is recorded before it is printed.
    pub journal: Option<Arc<Journal>>,
}

/// Why the output came to its end before the run did.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody reads stdout any more.
    Closed,
    /// stdout can't be written, and nothing more will be: a sentence.
    Broken(String),
    /// Results that waited for their turn are lost, or out of order: a sentence.
    Disordered(String),
    /// Results could not be recorded in the journal; they are printed nevertheless: a sentence.
    Unrecorded(String),
}

/// What output tells, and asks, of those around it.
pub trait Surroundings: Send + Sync {
    /// Prints a failure, in whole lines, to stderr.
    fn failure(&self, lines: &[u8]);

    /// Runs a write of this text to stdout, out of the way of whatever else is on the terminal.
    fn around_write(&self, text: &[u8], write: &mut dyn FnMut());

    /// The output can't go on; nothing more will be printed if it is [`Trouble::Closed`].
    fn trouble(&self, trouble: Trouble);
}

/// The printer of results: the sink of a run.
pub struct Output {
    shared: Arc<Shared>,
    written: Mutex<Option<oneshot::Receiver<()>>>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    /// The writer waits here for records.
    work: Condvar,
    /// Slots wait here for the writer.
    room: Condvar,
    surroundings: Arc<dyn Surroundings>,
    /// Where large records are made.
    spool: Arc<Spool>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// What was printed last does not end its line.
    is_in_line: AtomicBool,
}

struct State {
    order: Order,
    ready: Ready,
    /// The writer waits for the next record, however long that takes.
    is_idle: bool,
    /// No more records come.
    is_over: bool,
    /// Slots do not wait for the writer any more.
    is_hurried: bool,
    /// stdout is closed or broken: records are thrown away.
    is_broken: bool,
    /// The order could not keep all records; that was told.
    has_lost_order: bool,
}

impl Output {
    /// Starts the writer.
    ///
    /// # Errors
    /// No thread could be started, or stdout can't be used.
    pub fn start(settings: Settings, surroundings: Arc<dyn Surroundings>) -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let limit = settings.buffer;
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(State {
                order: Order::new(limit),
                ready: Ready::default(),
                is_idle: false,
                is_over: false,
                is_hurried: false,
                is_broken: false,
                has_lost_order: false,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            surroundings,
            spool: Arc::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            is_in_line: AtomicBool::new(false),
        });
        let (done, written) = oneshot::channel();
        let writer = Writer { shared: Arc::clone(&shared), stdout, _done: done };
        thread::Builder::new().name("output".into()).spawn(move || writer.run())?;
        Ok(Self { shared, written: Mutex::new(Some(written)) })
    }

    /// Prints all that was delivered, even if others before it are missing, and waits until that is
    /// done, which takes as long as the reader of stdout likes.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the printing.
    pub async fn finish(&self) {
        {
            let mut state = self.shared.lock();
            (state.is_over, state.is_hurried) = (true, true);
        }
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(written) = written {
            // The writer drops its end when it is done.
            let _ = written.await;
        }
    }

    /// The run is at its end: no slot waits for a reader of stdout any more. What it still delivers
    /// is kept in memory until [`Output::finish`].
    pub fn hurry(&self) {
        let mut state = self.shared.lock();
        state.is_hurried = true;
        self.shared.room.notify_all();
    }

    /// Prints text that is no result, on lines of its own, once [`Output::finish`] has printed all
    /// results. Blocks for as long as the reader of stdout likes.
    ///
    /// # Errors
    /// stdout can't be written.
    pub fn print_last(&self, text: &[u8]) -> io::Result<()> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        if self.shared.lock().is_broken {
            return Ok(());
        }
        if self.shared.is_in_line.load(Ordering::Relaxed) {
            self.shared.print(&stdout, b"\n")?;
        }
        Ok(self.shared.print(&stdout, text)?)
    }

    /// How many jobs have succeeded and how many have failed, of those that were passed on.
    pub fn counts(&self) -> (u64, u64) {
        let shared = &self.shared;
        (shared.succeeded.load(Ordering::Relaxed), shared.failed.load(Ordering::Relaxed))
    }
}

thread_local! {
    /// What a slot has delivered and not flushed.
    static BATCH: RefCell<Batch> = const { RefCell::new(Batch::new()) };
}

/// Records that wait to be put in their places, all under one lock.
struct Batch {
    out: Vec<u8>,
    err: Vec<u8>,
    /// For the journal.
    records: Vec<u8>,
    runs: Vec<Run>,
    /// How many of them are of jobs that have succeeded, and how many of others. They are counted for
    /// all here and there, since slots that count together hold each other up.
    succeeded: u64,
    failed: u64,
    usual: Usual,
}

/// Records of successive jobs: `count` of them from `seq` on. They end at so many bytes of the
/// batch. Only the last of a run has anything for stderr.
struct Run {
    seq: u64,
    count: u64,
    out_end: usize,
    err_end: usize,
    has_err: bool,
}

impl Batch {
    const fn new() -> Self {
        Self {
            out: Vec::new(),
            err: Vec::new(),
            records: Vec::new(),
            runs: Vec::new(),
            succeeded: 0,
            failed: 0,
            usual: Usual::new(),
        }
    }

    fn add(&mut self, format: &Format, done: &Done<'_>) {
        let (seq, err_begin) = (done.job.seq, self.err.len());
        // A Vec takes all that is written to it.
        let _ = format.write(done, &mut self.out, &mut self.err);
        self.count(1, done.outcome.is_ok());
        self.end(seq, 1, self.err.len() > err_begin);
    }

    /// The results of `count` jobs that look as they are to be printed.
    fn add_texts(&mut self, seq: u64, count: u64, texts: &[u8]) {
        self.out.extend_from_slice(texts);
        self.count(count, true);
        self.end(seq, count, false);
    }

    fn count(&mut self, jobs: u64, is_ok: bool) {
        match is_ok {
            true => self.succeeded += jobs,
            false => self.failed += jobs,
        }
    }

    /// What was added last is that of `count` jobs.
    fn end(&mut self, seq: u64, count: u64, has_err: bool) {
        let (out_end, err_end) = (self.out.len(), self.err.len());
        match self.runs.last_mut() {
            Some(run) if run.seq + run.count == seq && !run.has_err => {
                run.count += count;
                (run.out_end, run.err_end, run.has_err) = (out_end, err_end, has_err);
            }
            _ => self.runs.push(Run { seq, count, out_end, err_end, has_err }),
        }
    }

    fn clear(&mut self) {
        self.usual.empty(&mut self.out);
        self.err.clear();
        self.records.clear();
        self.runs.clear();
    }
}

impl Sink for Output {
    fn deliver(&self, done: &Done<'_>) {
        let shared = &*self.shared;
        if done.printed.is_some_and(|printed| !printed.is_small()) {
            self.flush();
            let count = if done.outcome.is_ok() { &shared.succeeded } else { &shared.failed };
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(journal) = &shared.settings.journal {
                shared.recorded(journal.append_large(done));
            }
            match shared.settings.format.large(done, &shared.spool) {
                Ok(large) => shared.put_large(done.job.seq, large),
                Err(error) => shared.lost(&error),
            }
            return;
        }
        BATCH.with_borrow_mut(|batch| {
            batch.add(&shared.settings.format, done);
            if shared.settings.journal.is_some() {
                Journal::add(done, &mut batch.records);
            }
            if batch.out.len() + batch.err.len() + batch.records.len() >= ENOUGH {
                shared.put(batch);
            }
        });
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        BATCH.with_borrow_mut(|batch| {
            batch.add_texts(seq, count, texts);
            if batch.out.len() + batch.err.len() >= ENOUGH {
                self.shared.put(batch);
            }
        });
    }

    fn flush(&self) {
        BATCH.with_borrow_mut(|batch| {
            if !batch.runs.is_empty() {
                self.shared.put(batch);
            }
        });
    }

    fn lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        // A command that is under way must not wait for whoever reads stdout.
        if self.shared.lock().must_wait() {
            return false;
        }
        let format = &self.shared.settings.format;
        let (out, err) = (format.lines(job, out), format.stderr_lines(job, err));
        self.shared.add(|state, is_ordered| match is_ordered {
            true => state.order.put_lines(job.seq, (&out, &err), &mut state.ready),
            false => {
                state.ready.append(&out, &err);
                Ok(())
            }
        });
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to stdout.
    fn print(&self, stdout: &OwnedFd, text: &[u8]) -> rustix::io::Result<()> {
        let mut result = Ok(());
        self.surroundings.around_write(text, &mut || result = write_all(stdout, text));
        let is_in_line = text.last().is_some_and(|&last| last != b'\n');
        self.is_in_line.store(is_in_line, Ordering::Relaxed);
        result
    }

    /// Puts records in their places.
    fn put(&self, batch: &mut Batch) {
        self.succeeded.fetch_add(std::mem::take(&mut batch.succeeded), Ordering::Relaxed);
        self.failed.fetch_add(std::mem::take(&mut batch.failed), Ordering::Relaxed);
        if let Some(journal) = &self.settings.journal {
            // What is printed is recorded: this comes first.
            self.recorded(journal.append(&batch.records));
        }
        self.add(|state, is_ordered| {
            let mut outcome = Ok(());
            let (mut out_begin, mut err_begin) = (0, 0);
            for run in &batch.runs {
                let out = &batch.out[out_begin..run.out_end];
                let err = &batch.err[err_begin..run.err_end];
                (out_begin, err_begin) = (run.out_end, run.err_end);
                match is_ordered {
                    true => {
                        let put = state.order.put(run.seq, run.count, (out, err), &mut state.ready);
                        outcome = outcome.and(put);
                    }
                    false => state.ready.append(out, err),
                }
            }
            outcome
        });
        batch.clear();
    }

    /// Tells it if something could not be recorded.
    fn recorded(&self, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.surroundings.trouble(Trouble::Unrecorded(message));
        }
    }

    fn put_large(&self, seq: u64, large: Large) {
        self.add(|state, is_ordered| match is_ordered {
            true => state.order.put_large(seq, large, &mut state.ready),
            false => {
                state.ready.append_large(large);
                Ok(())
            }
        });
    }

    /// Adds to what is printed. Waits while too much is ready to be written.
    fn add(&self, add: impl FnOnce(&mut State, bool) -> io::Result<()>) {
        let mut state = self.lock();
        while state.must_wait() {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let state = &mut *state;
        if state.is_broken {
            return;
        }
        if let Err(error) = add(state, self.settings.ordered) {
            self.order_lost(state, &error);
        }
        if state.is_idle && !state.ready.is_empty() || state.ready.len() >= ENOUGH {
            state.is_idle = false;
            self.work.notify_one();
        }
    }

    /// The record of a job that printed a lot could not be made.
    fn lost(&self, error: &io::Error) {
        let mut state = self.lock();
        self.order_lost(&mut state, error);
    }

    fn order_lost(&self, state: &mut State, error: &io::Error) {
        if !std::mem::replace(&mut state.has_lost_order, true) {
            self.surroundings.trouble(Trouble::Disordered(format!(
                "results that wait for their turn could not be written to a temporary file in \
                 '{}': {error}; make room there, set TMPDIR to another folder, or raise --buffer",
                std::env::temp_dir().display()
            )));
        }
    }
}

impl State {
    /// Whether there is no room for more until the writer has written.
    fn must_wait(&self) -> bool {
        self.is_full() && !self.is_broken && !self.is_hurried
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= TOO_MUCH || self.order.is_ample()
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    stdout: OwnedFd,
    /// Dropped when the writer is done.
    _done: oneshot::Sender<()>,
}

impl Writer {
    fn run(self) {
        let mut ready = Ready::default();
        while self.next(&mut ready) {
            if let Some(journal) = &self.shared.settings.journal {
                self.shared.recorded(journal.settle());
            }
            if let Err(error) = self.write(&ready) {
                return self.broken(error);
            }
            ready.clear();
            self.rest();
        }
    }

    /// Waits for records and takes them. Returns whether there are any.
    fn next(&self, ready: &mut Ready) -> bool {
        let mut state = self.shared.lock();
        loop {
            let State { order, ready: next, is_over, .. } = &mut *state;
            if let Err(error) = order.advance(next, *is_over) {
                self.shared.surroundings.trouble(Trouble::Disordered(format!(
                    "results are lost that waited for their turn in a temporary file: it could \
                     not be read back: {error}"
                )));
            }
            if !next.is_empty() {
                std::mem::swap(next, ready);
                self.shared.room.notify_all();
                return true;
            }
            if *is_over || state.is_broken {
                return false;
            }
            state.is_idle = true;
            state = self.shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
    }

    fn rest(&self) {
        let state = self.shared.lock();
        if state.ready.len() < ENOUGH && !state.is_over && !state.is_broken {
            drop(self.shared.work.wait_timeout(state, REST));
        }
    }

    fn write(&self, ready: &Ready) -> rustix::io::Result<()> {
        for (out, behind) in ready.parts() {
            if !out.is_empty() {
                self.shared.print(&self.stdout, out)?;
            }
            match behind {
                Some(Between::Err(err)) => self.shared.surroundings.failure(err),
                Some(Between::Large(large)) => self.write_large(large)?,
                None => {}
            }
        }
        Ok(())
    }

    fn write_large(&self, large: &Large) -> rustix::io::Result<()> {
        let surroundings = &self.shared.surroundings;
        let mut result = Ok(());
        let mut to_stdout = |piece: &[u8]| {
            result = self.shared.print(&self.stdout, piece);
            result.map_err(io::Error::from)
        };
        let mut read = large.printed.stdout.each(&mut to_stdout);
        result?;
        let mut in_line = false;
        if read.is_ok() {
            read = large.printed.stderr.each(|piece| {
                in_line = piece.last().map_or(in_line, |&last| last != b'\n');
                surroundings.failure(piece);
                Ok(())
            });
        }
        if in_line {
            // What follows is another's, or about it.
            surroundings.failure(b"\n");
        }
        if let Err(error) = read {
            surroundings.trouble(Trouble::Disordered(format!(
                "what a command printed could not be read back from a temporary file: {error}"
            )));
        }
        if !large.tail.is_empty() {
            surroundings.failure(&large.tail);
        }
        Ok(())
    }

    fn broken(&self, error: Errno) {
        let mut state = self.shared.lock();
        state.is_broken = true;
        self.shared.room.notify_all();
        drop(state);
        let trouble = match error {
            Errno::PIPE => Trouble::Closed,
            error => {
                let error = io::Error::from(error);
                Trouble::Broken(format!("the results could not be written to stdout: {error}"))
            }
        };
        self.shared.surroundings.trouble(trouble);
    }
}

/// Writes everything, also to a pipe that some other process has made non-blocking.
fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(fd, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
