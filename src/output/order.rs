//! Puts records in the order of the input. They come as jobs finish. Records that wait are held in
//! memory up to a limit; the others go to a temporary file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use std::sync::Arc;

use crate::job::printed::{Capture, Printed, Spool};
use crate::util::buffer::TypicalSize;

use super::large::Large;
use super::pages::{Pages, Piece};
use super::spill::{Spill, Spilled};

/// No more records are made ready once this many bytes are.
const BATCH: usize = 256 << 10;

/// About how many bytes of memory a waiting streak takes besides its records.
const OVERHEAD: usize = 64;

/// If the turn of the waiting records has come, slots wait once they have more bytes than this: only a
/// slow reader of stdout holds them up.
const AMPLE: usize = 4 << 20;

/// The smallest limit: below it, spilling costs more memory than it saves.
const LEAST: usize = 256 << 10;

/// Records that are ready to be written, one after the other.
#[derive(Debug, Default)]
pub struct Ready {
    out: Vec<u8>,
    /// The parts between the bytes of `out`, each with the number of bytes of `out` before it.
    between: Vec<(usize, Aside)>,
    typical: TypicalSize,
}

impl Ready {
    /// Appends a record.
    pub fn append(&mut self, out: &[u8], err: &[u8]) {
        self.out.extend_from_slice(out);
        if !err.is_empty() {
            self.between.push((self.out.len(), Aside::Err(err.to_vec())));
        }
    }

    /// Appends records for stdout that are many bytes. They are not copied.
    pub(super) fn append_owned(&mut self, out: Vec<u8>) {
        self.between.push((self.out.len(), Aside::Out(out)));
    }

    /// Appends a record that is not in memory.
    pub(super) fn append_large(&mut self, large: Large) {
        self.between.push((self.out.len(), Aside::Large(large)));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty() && self.between.is_empty()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.out.len() + self.between.iter().map(|(_, what)| what.len()).sum::<usize>()
    }

    /// Drops all records, and keeps some of the memory.
    pub fn clear(&mut self) {
        self.typical.empty(&mut self.out);
        self.between.clear();
    }

    /// The parts to write: bytes for stdout, and the other part that follows them, if there is one.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&[u8], Option<&Aside>)> {
        let ends = self.between.iter().map(|(end, what)| (*end, Some(what)));
        ends.chain([(self.out.len(), None)]).scan(0, |begin, (end, what)| {
            let out = &self.out[*begin..end];
            *begin = end;
            Some((out, what))
        })
    }
}

/// A part of the output that is not among the bytes for stdout.
#[derive(Debug)]
pub(super) enum Aside {
    /// Many bytes for stdout, in memory of their own.
    Out(Vec<u8>),
    /// Lines for stderr.
    Err(Vec<u8>),
    Large(Large),
}

impl Aside {
    fn len(&self) -> usize {
        match self {
            Self::Out(bytes) | Self::Err(bytes) => bytes.len(),
            Self::Large(large) => large.len(),
        }
    }
}

/// The records of successive jobs that wait: bytes for stdout and, from `split` on, bytes for stderr.
/// Slots take successive jobs, so most records come in streaks.
#[derive(Debug)]
struct WaitingStreak {
    piece: Piece,
    split: usize,
    /// How many records there are.
    count: u64,
    /// The record, if it is not in memory.
    large: Option<Box<Large>>,
}

/// The records that wait for their turn.
#[derive(Debug)]
pub struct Order {
    /// The number of the job whose turn it is.
    next: u64,
    /// Streaks by the number of their first job.
    waiting: BTreeMap<u64, WaitingStreak>,
    /// How many waiting streaks are large records.
    large: usize,
    /// Lines of jobs that are still running, until their turn comes.
    lines: BTreeMap<u64, Printed>,
    spool: Arc<Spool>,
    pages: Pages,
    limit: usize,
    spill: Option<Spill>,
}

impl Order {
    /// The first record is that of job 1. Up to `limit` bytes wait in memory.
    pub fn new(limit: usize) -> Self {
        Self {
            next: 1,
            waiting: BTreeMap::new(),
            large: 0,
            lines: BTreeMap::new(),
            spool: Arc::default(),
            pages: Pages::default(),
            limit: limit.max(LEAST),
            spill: None,
        }
    }

    /// Takes the records of `count` jobs, the first of which is job `seq`. Records whose turn it is go
    /// to `ready`.
    ///
    /// # Errors
    /// The memory is full and the temporary file can't be written. The records stay in memory.
    pub fn put(
        &mut self,
        seq: u64,
        count: u64,
        (out, err): (&[u8], &[u8]),
        ready: &mut Ready,
    ) -> io::Result<()> {
        if seq == self.next {
            ready.append(out, err);
            return self.is_turn_of(seq + count, ready);
        }
        let piece = self.pages.put(out, err);
        self.waiting.insert(seq, WaitingStreak { piece, split: out.len(), count, large: None });
        if self.is_full() && !self.has_next() { self.spill() } else { Ok(()) }
    }

    /// As [`Order::put`], for many bytes for stdout, which are not copied.
    ///
    /// # Errors
    /// Those of [`Order::put`].
    pub(super) fn put_owned(
        &mut self,
        seq: u64,
        count: u64,
        out: Vec<u8>,
        ready: &mut Ready,
    ) -> io::Result<()> {
        if seq == self.next {
            ready.append_owned(out);
            return self.is_turn_of(seq + count, ready);
        }
        let split = out.len();
        let piece = self.pages.keep(out);
        self.waiting.insert(seq, WaitingStreak { piece, split, count, large: None });
        if self.is_full() && !self.has_next() { self.spill() } else { Ok(()) }
    }

    /// Takes the record of one job, which is not in memory.
    ///
    /// # Errors
    /// Those of [`Order::put`].
    pub(super) fn put_large(
        &mut self,
        seq: u64,
        large: Large,
        ready: &mut Ready,
    ) -> io::Result<()> {
        if seq == self.next {
            ready.append_large(large);
            return self.is_turn_of(seq + 1, ready);
        }
        let piece = self.pages.put(&[], &[]);
        let large = Some(Box::new(large));
        self.waiting.insert(seq, WaitingStreak { piece, split: 0, count: 1, large });
        self.large += 1;
        Ok(())
    }

    /// Takes lines of a job that is still running. They are ready at once if it is the turn of the job.
    ///
    /// # Errors
    /// The lines can't be written to the temporary file.
    pub(super) fn put_lines(
        &mut self,
        seq: u64,
        (out, err): (&[u8], &[u8]),
        ready: &mut Ready,
    ) -> io::Result<()> {
        if seq == self.next {
            ready.append(out, err);
            return Ok(());
        }
        let spool = &self.spool;
        let kept = self.lines.entry(seq).or_insert_with(|| Printed {
            exit: None,
            signal: None,
            stdout: Capture::new(spool),
            stderr: Capture::new(spool),
        });
        kept.stdout.write_all(out)?;
        kept.stderr.write_all(err)
    }

    /// It is the turn of a job: its lines so far become ready, and the records after it.
    fn is_turn_of(&mut self, seq: u64, ready: &mut Ready) -> io::Result<()> {
        self.next = seq;
        self.show_lines(ready)?;
        if self.has_next() { self.advance(ready, false) } else { Ok(()) }
    }

    /// Moves the lines of the job whose turn it is to `ready`.
    fn show_lines(&mut self, ready: &mut Ready) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let Some(mut printed) = self.lines.remove(&self.next) else { return Ok(()) };
        match (printed.stdout.small(), printed.stderr.small()) {
            (Some(out), Some(err)) => ready.append(out, err),
            _ => {
                printed.stdout.finish()?;
                printed.stderr.finish()?;
                ready.append_large(Large { printed: Arc::new(printed), tail: Vec::new() });
            }
        }
        Ok(())
    }

    /// Moves records whose turn it is to `ready`, until it has [`BATCH`] bytes. With `skip_gaps`, at the end
    /// of a run, missing records are skipped.
    ///
    /// # Errors
    /// The temporary file can't be read, and its records are lost.
    pub fn advance(&mut self, ready: &mut Ready, skip_gaps: bool) -> io::Result<()> {
        while ready.len() < BATCH {
            let waiting = self.waiting.first_key_value().map(|(&seq, _)| seq);
            let spilled = self.spill.as_ref().and_then(Spill::first);
            let first = [waiting, spilled].into_iter().flatten().min();
            let Some(seq) = first.filter(|&seq| skip_gaps || seq == self.next) else {
                break;
            };
            if seq != self.next {
                self.next = seq;
                self.show_lines(ready)?;
            }
            let count = if waiting == Some(seq) {
                self.take_waiting(ready)
            } else {
                self.take_spilled(ready)?
            };
            self.next = seq + count;
            self.show_lines(ready)?;
        }
        Ok(())
    }

    /// Moves the first streak that waits in memory. Returns how many records it has.
    fn take_waiting(&mut self, ready: &mut Ready) -> u64 {
        let Some((_, run)) = self.waiting.pop_first() else { return 0 };
        if let Some(out) = self.pages.take(&run.piece, run.split) {
            ready.append_owned(out);
            return run.count;
        }
        match run.large {
            Some(large) => {
                self.large -= 1;
                ready.append_large(*large);
            }
            None => {
                let (out, err) = self.pages.get(&run.piece).split_at(run.split);
                ready.append(out, err);
            }
        }
        self.pages.release(run.piece);
        run.count
    }

    /// Moves the first streak that waits in the file. Returns how many records it has.
    fn take_spilled(&mut self, ready: &mut Ready) -> io::Result<u64> {
        let Some(spill) = &mut self.spill else { return Ok(0) };
        match spill.take(|out, err| ready.append(out, err)) {
            Err(error) => {
                self.spill = None;
                Err(error)
            }
            ok => ok,
        }
    }

    /// Whether the record whose turn it is has come.
    pub fn has_next(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(&seq, _)| seq == self.next)
            || self.spill.as_ref().and_then(Spill::first) == Some(self.next)
    }

    /// Whether slots should wait until some records are written: the records whose turn it is are
    /// there, so they wait for the reader of stdout and not for a job.
    pub fn is_ample(&self) -> bool {
        let has_spilled = self.spill.as_ref().is_some_and(|spill| spill.first().is_some());
        self.has_next() && (self.is_full() || (!has_spilled && self.pages.used() > AMPLE))
    }

    /// Whether the memory for waiting records is full.
    pub fn is_full(&self) -> bool {
        self.pages.used() + (self.waiting.len() - self.large) * OVERHEAD > self.limit
    }

    /// Moves all waiting records to the temporary file.
    fn spill(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new()?),
        };
        let pages = &self.pages;
        let small = self.waiting.iter().filter(|(_, run)| run.large.is_none());
        spill.write(small.map(|(&seq, run)| Spilled {
            seq,
            count: run.count,
            split: run.split,
            bytes: pages.get(&run.piece),
        }))?;
        for (seq, run) in std::mem::take(&mut self.waiting) {
            match run.large {
                Some(_) => drop(self.waiting.insert(seq, run)),
                None => self.pages.release(run.piece),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(ready: &Ready) -> (String, String) {
        let (mut all_out, mut all_err) = (Vec::new(), Vec::new());
        for (out, err) in ready.parts() {
            all_out.extend_from_slice(out);
            if let Some(Aside::Err(err)) = err {
                all_err.extend_from_slice(err);
            }
        }
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(all_out), text(all_err))
    }

    fn permutation() -> impl Strategy<Value = Vec<u64>> {
        Just((1..=200).collect::<Vec<u64>>()).prop_shuffle()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn in_whatever_order_they_come(seqs in permutation(), limit in 0_usize..4000) {
            let mut order = Order::new(0);
            order.limit = limit;
            let (mut ready, mut printed) = (Ready::default(), (String::new(), String::new()));
            for (count, seq) in seqs.iter().enumerate() {
                let err = if seq % 7 == 0 { format!("{seq}!\n") } else { String::new() };
                let out = format!("{seq}\n");
                order.put(*seq, 1, (out.as_bytes(), err.as_bytes()), &mut ready).expect("put");
                if count % 10 == 0 {
                    order.advance(&mut ready, false).expect("advance");
                    let (out, err) = text(&ready);
                    printed = (printed.0 + &out, printed.1 + &err);
                    ready.clear();
                }
            }
            order.advance(&mut ready, false).expect("advance");
            let (out, err) = text(&ready);
            let expected: String = (1..=200).map(|seq| format!("{seq}\n")).collect();
            let failures: String = (1..=200).filter(|seq| seq % 7 == 0).map(|seq| format!("{seq}!\n")).collect();
            prop_assert_eq!((printed.0 + &out, printed.1 + &err), (expected, failures));
        }

        #[test]
        fn gaps_are_skipped_at_the_end(present in prop::collection::btree_set(1_u64..100, 0..50), limit in 0_usize..1000) {
            let mut order = Order::new(0);
            order.limit = limit;
            let mut ready = Ready::default();
            for seq in present.iter().rev() {
                let out = format!("{seq}\n");
                order.put(*seq, 1, (out.as_bytes(), b""), &mut ready).expect("put");
            }
            order.advance(&mut ready, true).expect("advance");
            let expected: String = present.iter().map(|seq| format!("{seq}\n")).collect();
            prop_assert_eq!(text(&ready).0, expected);
        }
    }
}
