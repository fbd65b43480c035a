//! The batch of a slot: records that it has delivered and not flushed.

use std::cell::RefCell;

use super::format::Format;
use crate::job::{Done, ResultStreak};
use crate::util::buffer::TypicalSize;

/// To copy a record of more bytes takes longer than to make room for another one.
const MANY: u64 = 64 << 10;

thread_local! {
    /// The batch of each output that this thread delivers to. Most programs have one output.
    static BATCHES: RefCell<Vec<(u64, Batch)>> = const { RefCell::new(Vec::new()) };
}

/// Calls a function with this thread's batch for the output with this number.
pub(super) fn with_batch(output: u64, call: impl FnOnce(&mut Batch)) {
    BATCHES.with_borrow_mut(|batches| {
        let at = batches.iter().position(|(number, _)| *number == output);
        let at = at.unwrap_or_else(|| {
            batches.push((output, Batch::new()));
            batches.len() - 1
        });
        call(&mut batches[at].1);
        // A thread may outlive its outputs. If there are several, an empty batch is dropped.
        if batches.len() > 1 && batches[at].1.streaks.is_empty() {
            batches.swap_remove(at);
        }
    });
}

/// Records that are put in order together. The lock is taken once for all of them.
pub(super) struct Batch {
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
    /// The records for the journal.
    pub(super) records: Vec<u8>,
    pub(super) streaks: Vec<Streak>,
    /// How many jobs of the batch have succeeded. The counters that all slots share change once per
    /// batch: slots that count at the same time slow each other down.
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    typical: TypicalSize,
}

/// The records of `count` successive jobs. The first of them is job `seq`. They end at `out_end` and
/// `err_end` in the batch. Only the last record of a streak may have bytes for stderr.
pub(super) struct Streak {
    pub(super) seq: u64,
    pub(super) count: u64,
    pub(super) out_end: usize,
    pub(super) err_end: usize,
    pub(super) has_err: bool,
}

impl Batch {
    const fn new() -> Self {
        Self {
            out: Vec::new(),
            err: Vec::new(),
            records: Vec::new(),
            streaks: Vec::new(),
            succeeded: 0,
            failed: 0,
            typical: TypicalSize::new(),
        }
    }

    pub(super) fn add(&mut self, format: &Format, done: &Done<'_>) {
        let seq = done.job.seq;
        let err_begin = self.err.len();
        // Writing to a Vec does not fail.
        let _ = format.write(done, &mut self.out, &mut self.err);
        self.count(1, done.outcome.is_ok());
        self.end(seq, 1, self.err.len() > err_begin);
    }

    /// Adds the results of `count` jobs, which are printed unchanged.
    pub(super) fn add_texts(&mut self, seq: u64, count: u64, texts: &[u8]) {
        self.out.extend_from_slice(texts);
        self.count(count, true);
        self.end(seq, count, false);
    }

    /// Adds results that came together.
    pub(super) fn add_results(&mut self, format: &Format, results: &ResultStreak<'_>) {
        if !format.write_all(results, &mut self.out) {
            return results.each_done(|done| self.add(format, done));
        }
        let count = results.count() as u64;
        self.count(count, true);
        self.end(results.seq(), count, false);
    }

    /// Takes the records of successive jobs, if they are large and have nothing for stderr: the number of the first one,
    /// how many there are, and the bytes.
    pub(super) fn take_whole(&mut self) -> Option<(u64, u64, Vec<u8>)> {
        match self.streaks[..] {
            [Streak { seq, count, .. }]
                if self.out.len() as u64 > MANY * count && self.err.is_empty() =>
            {
                self.streaks.clear();
                Some((seq, count, std::mem::take(&mut self.out)))
            }
            _ => None,
        }
    }

    fn count(&mut self, jobs: u64, is_ok: bool) {
        if is_ok { self.succeeded += jobs } else { self.failed += jobs }
    }

    /// Marks the bytes that were added last as the records of `count` jobs.
    fn end(&mut self, seq: u64, count: u64, has_err: bool) {
        let out_end = self.out.len();
        let err_end = self.err.len();
        match self.streaks.last_mut() {
            Some(streak) if streak.seq + streak.count == seq && !streak.has_err => {
                streak.count += count;
                streak.out_end = out_end;
                streak.err_end = err_end;
                streak.has_err = has_err;
            }
            _ => self.streaks.push(Streak { seq, count, out_end, err_end, has_err }),
        }
    }

    pub(super) fn clear(&mut self) {
        self.typical.empty(&mut self.out);
        self.err.clear();
        self.records.clear();
        self.streaks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_outputs_on_one_thread_do_not_mix() {
        with_batch(1, |batch| batch.add_texts(1, 1, b"one\n"));
        with_batch(2, |batch| batch.add_texts(1, 1, b"two\n"));
        with_batch(1, |batch| batch.add_texts(2, 1, b"three\n"));
        with_batch(2, |batch| {
            assert_eq!((batch.out.as_slice(), batch.streaks.len()), (&b"two\n"[..], 1));
            batch.clear();
        });
        with_batch(1, |batch| {
            assert_eq!((batch.out.as_slice(), batch.streaks.len()), (&b"one\nthree\n"[..], 1));
            batch.clear();
        });
    }
}
