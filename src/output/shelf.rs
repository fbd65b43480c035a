//! Where records are put in their places, under one lock, until the writer takes what is ready.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::batch::Batch;
use super::large::Large;
use super::order::{Order, Ready};
use super::settings::{Screen, Settings, Trouble};
use crate::job::printed::Spool;
use crate::journal::JournalError;

/// With so many bytes ready the writer does not rest.
pub(super) const ENOUGH: usize = 64 << 10;

/// With so many bytes ready slots wait for the writer.
const TOO_MUCH: usize = 1 << 20;

pub(super) struct Shelf {
    pub(super) settings: Settings,
    pub(super) state: Mutex<State>,
    /// The writer waits here for records.
    pub(super) work: Condvar,
    /// Slots wait here for the writer.
    pub(super) room: Condvar,
    pub(super) screen: Arc<dyn Screen>,
    /// Where large records are made.
    pub(super) spool: Arc<Spool>,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    /// What was printed last does not end its line.
    pub(super) is_in_line: AtomicBool,
}

pub(super) struct State {
    pub(super) order: Order,
    pub(super) ready: Ready,
    /// The writer waits for the next record, however long that takes.
    pub(super) is_idle: bool,
    /// No more records come.
    pub(super) is_over: bool,
    /// Slots do not wait for the writer any more.
    pub(super) is_hurried: bool,
    /// stdout is closed or broken: records are thrown away.
    pub(super) is_broken: bool,
    /// The order could not keep all records; that was told.
    pub(super) has_lost_order: bool,
}

impl Shelf {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts records in their places.
    pub(super) fn put(&self, batch: &mut Batch) {
        self.succeeded.fetch_add(std::mem::take(&mut batch.succeeded), Ordering::Relaxed);
        self.failed.fetch_add(std::mem::take(&mut batch.failed), Ordering::Relaxed);
        if let Some(journal) = &self.settings.journal {
            // What is printed is recorded: this comes first.
            self.recorded(journal.append(&batch.records));
        }
        self.add(|state, is_ordered| {
            let mut outcome = Ok(());
            let (mut out_begin, mut err_begin) = (0, 0);
            for streak in &batch.streaks {
                let out = &batch.out[out_begin..streak.out_end];
                let err = &batch.err[err_begin..streak.err_end];
                (out_begin, err_begin) = (streak.out_end, streak.err_end);
                if is_ordered {
                    let put =
                        state.order.put(streak.seq, streak.count, (out, err), &mut state.ready);
                    outcome = outcome.and(put);
                } else {
                    state.ready.append(out, err)
                }
            }
            outcome
        });
        batch.clear();
    }

    /// Reports it if something could not be recorded.
    pub(super) fn recorded(&self, outcome: Result<(), JournalError>) {
        if let Err(error) = outcome {
            self.screen.trouble(Trouble::Unrecorded(error.to_string()));
        }
    }

    pub(super) fn put_large(&self, seq: u64, large: Large) {
        self.add(|state, is_ordered| {
            if is_ordered {
                state.order.put_large(seq, large, &mut state.ready)
            } else {
                state.ready.append_large(large);
                Ok(())
            }
        });
    }

    /// Adds to what is printed. Waits while too much is ready to be written.
    pub(super) fn add(&self, add: impl FnOnce(&mut State, bool) -> io::Result<()>) {
        let mut state = self.lock();
        while state.must_wait() {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.add_to(state, add);
    }

    /// Adds to what is printed, also where there is no room.
    pub(super) fn add_to(
        &self,
        mut state: MutexGuard<'_, State>,
        add: impl FnOnce(&mut State, bool) -> io::Result<()>,
    ) {
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
    pub(super) fn lost(&self, error: &io::Error) {
        let mut state = self.lock();
        self.order_lost(&mut state, error);
    }

    fn order_lost(&self, state: &mut State, error: &io::Error) {
        if !state.has_lost_order {
            state.has_lost_order = true;
            self.screen.trouble(Trouble::Disordered(format!(
                "results that wait for their turn could not be written to a temporary file in \
                 '{}': {error}; make room there, set TMPDIR to another folder, or raise --buffer",
                std::env::temp_dir().display()
            )));
        }
    }
}

impl State {
    /// Whether there is no room for more until the writer has written.
    pub(super) fn must_wait(&self) -> bool {
        self.is_full() && !self.is_broken && !self.is_hurried
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= TOO_MUCH || self.order.is_ample()
    }
}
