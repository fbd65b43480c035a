//! The shelf between slots and the writer: one lock, under which slots put records in order and the
//! writer takes those that are ready.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::batch::Batch;
use super::large::Large;
use super::order::{Order, Ready};
use super::settings::{Screen, Settings, Trouble};
use crate::job::printed::Spool;
use crate::journal::JournalError;
use crate::util::held;
use crate::util::setting::Setting;

/// With this many bytes ready, the writer does not pause.
pub(super) const ENOUGH: usize = 64 << 10;

/// With this many bytes ready, slots wait for the writer.
const TOO_MUCH: usize = 1 << 20;

pub(super) struct Shelf {
    pub(super) settings: Settings,
    pub(super) state: Mutex<ShelfState>,
    /// The writer waits here for records.
    pub(super) work: Condvar,
    /// Slots wait here for the writer.
    pub(super) room: Condvar,
    pub(super) screen: Arc<dyn Screen>,
    /// The temporary file for large records.
    pub(super) spool: Arc<Spool>,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    /// The last text that was printed does not end with a newline.
    pub(super) is_in_line: AtomicBool,
}

pub(super) struct ShelfState {
    pub(super) order: Order,
    pub(super) ready: Ready,
    /// The writer waits for the next record.
    pub(super) is_idle: bool,
    /// No more records come.
    pub(super) is_over: bool,
    /// Slots do not wait for the writer any more.
    pub(super) is_hurried: bool,
    /// stdout is closed or broken: records are dropped.
    pub(super) is_broken: bool,
    /// It was reported that some records could not be kept in order.
    pub(super) has_lost_order: bool,
}

impl Shelf {
    pub(super) fn lock(&self) -> MutexGuard<'_, ShelfState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the records of a batch in order.
    pub(super) fn put(&self, batch: &mut Batch) {
        self.succeeded.fetch_add(std::mem::take(&mut batch.succeeded), Ordering::Relaxed);
        self.failed.fetch_add(std::mem::take(&mut batch.failed), Ordering::Relaxed);
        if let Some(journal) = &self.settings.journal {
            // A result is recorded before it is printed.
            self.recorded(journal.append(&batch.records));
        }
        if let Some((seq, count, out)) = batch.take_whole() {
            self.add(|state, is_ordered| {
                if is_ordered {
                    state.order.put_owned(seq, count, out, &mut state.ready)
                } else {
                    state.ready.append_owned(out);
                    Ok(())
                }
            });
            return batch.clear();
        }
        self.add(|state, is_ordered| {
            let mut outcome = Ok(());
            let mut out_begin = 0;
            let mut err_begin = 0;
            for streak in &batch.streaks {
                let out = &batch.out[out_begin..streak.out_end];
                let err = &batch.err[err_begin..streak.err_end];
                out_begin = streak.out_end;
                err_begin = streak.err_end;
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

    /// Reports a failure to record results.
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

    /// Adds records. Waits while there is no room.
    pub(super) fn add(&self, add: impl FnOnce(&mut ShelfState, bool) -> io::Result<()>) {
        let mut state = self.lock();
        if state.must_wait() {
            state = held::hold(|| self.await_room(state));
        }
        self.add_to(state, add);
    }

    fn await_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, ShelfState>,
    ) -> MutexGuard<'a, ShelfState> {
        while state.must_wait() {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Adds records, even if there is no room.
    pub(super) fn add_to(
        &self,
        mut state: MutexGuard<'_, ShelfState>,
        add: impl FnOnce(&mut ShelfState, bool) -> io::Result<()>,
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

    /// The record of a command with a large output could not be made.
    pub(super) fn lost(&self, error: &io::Error) {
        let mut state = self.lock();
        self.order_lost(&mut state, error);
    }

    fn order_lost(&self, state: &mut ShelfState, error: &io::Error) {
        if !state.has_lost_order {
            state.has_lost_order = true;
            self.screen.trouble(Trouble::Disordered(format!(
                "results that wait for their turn could not be written to a temporary file in \
                 '{}': {error}; make room there, set TMPDIR to another folder, or raise {}",
                crate::util::temporary::temporary_folder().display(),
                Setting::Buffer
            )));
        }
    }
}

impl ShelfState {
    /// Up to `limit` bytes wait in memory.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            order: Order::new(limit),
            ready: Ready::default(),
            is_idle: false,
            is_over: false,
            is_hurried: false,
            is_broken: false,
            has_lost_order: false,
        }
    }

    /// Whether there is no room for more until the writer has written.
    pub(super) fn must_wait(&self) -> bool {
        self.is_full() && !self.is_broken && !self.is_hurried
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= TOO_MUCH || self.order.is_ample()
    }

    /// Whether the writer may wait for more records before it writes. Slots never wait meanwhile: they
    /// wait only while there is enough to write.
    pub(super) fn may_rest(&self) -> bool {
        let has_enough = self.ready.len() >= ENOUGH || self.order.has_next();
        !has_enough && !self.is_over && !self.is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn slots_never_wait_for_a_writer_that_rests(
            puts in prop::collection::vec((1_u64..20, 0_usize..(2 << 20), any::<bool>()), 1..20),
            limit in 0_usize..(8 << 20),
        ) {
            let mut state = ShelfState::new(limit);
            let mut seen = std::collections::HashSet::new();
            for (seq, size, is_taken) in puts {
                if seen.insert(seq) {
                    let ShelfState { order, ready, .. } = &mut state;
                    order.put_owned(seq, 1, vec![b'x'; size], ready).expect("put");
                }
                if is_taken {
                    // As the writer takes all that is ready.
                    state.ready = Ready::default();
                }
                prop_assert!(!(state.must_wait() && state.may_rest()));
            }
        }
    }
}
