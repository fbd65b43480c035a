//! The sink that prints results: slots format their records themselves and add them in batches.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::batch::with_batch;
use super::settings::{Screen, Settings};
use super::shelf::{ENOUGH, Shelf, ShelfState};
use super::unrecorded::Unrecorded;
use super::writer::{Writer, print};
use crate::job::{Done, Job, ResultStreak, Sink, Value};
use crate::journal::Journal;
use crate::util::lock::lock;

/// [`Sink::settle`] waits for the writer for at most this long, and looks this often.
const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);

/// How many outputs were made in this process.
static OUTPUTS: AtomicU64 = AtomicU64::new(0);

/// The printer of results: the sink of a run.
pub struct Output {
    /// Its batch on each thread has this number.
    number: u64,
    shelf: Arc<Shelf>,
    written: Mutex<Option<oneshot::Receiver<()>>>,
    /// The records of results that are not proven yet, by the number that they were delivered with.
    unproven: Mutex<HashMap<u64, Unrecorded>>,
}

impl Output {
    /// Starts the writer.
    ///
    /// # Errors
    /// No thread could be started, or stdout can't be used.
    pub fn start(settings: Settings, screen: Arc<dyn Screen>) -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let shelf = Arc::new(Shelf {
            state: Mutex::new(ShelfState::new(settings.buffer)),
            settings,
            work: Condvar::new(),
            room: Condvar::new(),
            screen,
            spool: Arc::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            is_in_line: AtomicBool::new(false),
        });
        let (done, written) = oneshot::channel();
        let writer = Writer { shelf: Arc::clone(&shelf), stdout, _done: done };
        thread::Builder::new().name("output".into()).spawn(move || writer.run())?;
        let number = OUTPUTS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { number, shelf, written: Mutex::new(Some(written)), unproven: Mutex::default() })
    }

    /// Prints all results that were delivered, even if some before them are missing, and waits until
    /// they are written. That takes long if the reader of stdout is slow.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the printing.
    pub async fn finish(&self) {
        {
            let mut state = self.shelf.lock();
            state.is_over = true;
            state.is_hurried = true;
        }
        self.shelf.work.notify_all();
        self.shelf.room.notify_all();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(written) = written {
            // The writer drops its end when it is done.
            let _ = written.await;
        }
    }

    /// The run ends: slots no longer wait for the reader of stdout. Further results are kept in memory
    /// until [`Output::finish`].
    pub fn hurry(&self) {
        let mut state = self.shelf.lock();
        state.is_hurried = true;
        self.shelf.room.notify_all();
    }

    /// Prints text that is no result, on lines of its own, after [`Output::finish`] has printed all
    /// results. Blocks while nobody reads stdout.
    ///
    /// # Errors
    /// stdout can't be written.
    pub fn print_last(&self, text: &[u8]) -> io::Result<()> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let shelf = &self.shelf;
        if shelf.lock().is_broken {
            return Ok(());
        }
        if shelf.is_in_line.load(Ordering::Relaxed) {
            print(shelf, &stdout, b"\n")?;
        }
        Ok(print(shelf, &stdout, text)?)
    }

    /// Keeps the record of a result that is not proven yet.
    fn keep(&self, number: u64, done: &Done<'_>) {
        let mut unproven = lock(&self.unproven);
        let kept = unproven.entry(number).or_default();
        Journal::add(done, kept.buffer());
        if kept.is_large() {
            // No other thread uses this number now. They need not wait for the file.
            let mut kept = std::mem::take(kept);
            drop(unproven);
            kept.spill(&self.shelf.spool);
            lock(&self.unproven).insert(number, kept);
        }
    }

    /// How many of the flushed jobs have succeeded, and how many have failed.
    pub fn counts(&self) -> (u64, u64) {
        let shelf = &self.shelf;
        (shelf.succeeded.load(Ordering::Relaxed), shelf.failed.load(Ordering::Relaxed))
    }
}

impl Sink for Output {
    fn deliver(&self, done: &Done<'_>) {
        let shelf = &*self.shelf;
        if done.printed.is_some_and(|printed| !printed.is_small()) {
            self.flush();
            let count = if done.outcome.is_ok() { &shelf.succeeded } else { &shelf.failed };
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(journal) = &shelf.settings.journal {
                shelf.recorded(journal.append_large(done));
            }
            match shelf.settings.format.large(done, &shelf.spool) {
                Ok(large) => shelf.put_large(done.job.seq, large),
                Err(error) => shelf.lost(&error),
            }
            return;
        }
        with_batch(self.number, |batch| {
            batch.add(&shelf.settings.format, done);
            match done.unproven {
                _ if shelf.settings.journal.is_none() => {}
                Some(number) => self.keep(number, done),
                None => Journal::add(done, &mut batch.records),
            }
            if batch.out.len() + batch.err.len() + batch.records.len() >= ENOUGH {
                shelf.put(batch);
            }
        });
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        with_batch(self.number, |batch| {
            batch.add_texts(seq, count, texts);
            if batch.out.len() + batch.err.len() >= ENOUGH {
                self.shelf.put(batch);
            }
        });
    }

    fn results(&self, results: &ResultStreak<'_>) -> bool {
        // The journal records each job.
        if self.shelf.settings.journal.is_some() {
            return false;
        }
        with_batch(self.number, |batch| {
            batch.add_results(&self.shelf.settings.format, results);
            if batch.out.len() + batch.err.len() >= ENOUGH {
                self.shelf.put(batch);
            }
        });
        true
    }

    fn flush(&self) {
        with_batch(self.number, |batch| {
            if !batch.streaks.is_empty() {
                self.shelf.put(batch);
            }
        });
    }

    fn settle(&self) {
        let begin = Instant::now();
        let mut state = self.shelf.lock();
        loop {
            let is_settled = state.is_idle && state.ready.is_empty();
            if is_settled || state.is_broken || begin.elapsed() > PATIENCE {
                return;
            }
            // The writer may rest.
            self.shelf.work.notify_one();
            let waited = self.shelf.room.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn proved(&self, number: u64) {
        let kept = lock(&self.unproven).remove(&number);
        if let (Some(journal), Some(kept)) = (&self.shelf.settings.journal, kept) {
            self.shelf.recorded(kept.append_to(journal));
        }
    }

    fn unprovable(&self, number: u64) {
        lock(&self.unproven).remove(&number);
    }

    fn doubt(&self, done: &Done<'_>) {
        let Some(journal) = &self.shelf.settings.journal else { return };
        let mut record = Vec::new();
        Journal::add(done, &mut record);
        self.shelf.recorded(journal.append(&record));
    }

    fn lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        // A running command must not wait for the reader of stdout.
        if self.shelf.lock().must_wait() {
            return false;
        }
        let format = &self.shelf.settings.format;
        self.add_lines(job, &format.lines(job, out), &format.stderr_lines(job, err))
    }

    fn await_room(&self, most: Duration) -> bool {
        let state = self.shelf.lock();
        if state.must_wait() {
            drop(self.shelf.room.wait_timeout(state, most));
        }
        true
    }

    fn part(&self, job: &Job, part: Value<'_>) -> bool {
        let mut out = Vec::new();
        // Writing to a Vec does not fail.
        let _ = self.shelf.settings.format.write_lines(job, None, part, &mut out);
        self.add_lines(job, &out, &[])
    }
}

impl Output {
    /// Adds formatted lines of a job that goes on. Returns whether there was room for them.
    fn add_lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        // Other slots may have filled the room meanwhile.
        let state = self.shelf.lock();
        if state.must_wait() {
            return false;
        }
        self.shelf.add_to(state, |state, is_ordered| {
            if is_ordered {
                state.order.put_lines(job.seq, (out, err), &mut state.ready)
            } else {
                state.ready.append(out, err);
                Ok(())
            }
        });
        true
    }
}
