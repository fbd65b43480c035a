//! Order: records come as jobs finish and leave as their turn comes. Those that must wait are held
//! in memory up to a limit; more are spilled to a file without a name.

use std::collections::BTreeMap;
use std::io::{self, Write};

use std::sync::Arc;

use crate::job::printed::{Capture, Printed, Spool};
use crate::util::buffer::TypicalSize;

use super::large::Large;
use super::pages::{Pages, Piece};
use super::spill::{Spill, Spilled};

/// Records move on to be written until so many bytes are ready.
const BATCH: usize = 256 << 10;

/// What a run that waits costs beside its bytes, in bytes.
const OVERHEAD: usize = 64;

/// So many bytes whose turn has come wait in memory for a slow reader; more would bring nothing.
const AMPLE: usize = 4 << 20;

/// The smallest limit: below it, spilling costs more memory than it saves.
const LEAST: usize = 256 << 10;

/// Records that are ready to be written, one behind the other.
#[derive(Debug, Default)]
pub struct Ready {
    out: Vec<u8>,
    /// What stands between the bytes of `out`, and behind how many of them.
    between: Vec<(usize, Between)>,
    typical: TypicalSize,
}

impl Ready {
    /// Appends a record.
    pub fn append(&mut self, out: &[u8], err: &[u8]) {
        self.out.extend_from_slice(out);
        if !err.is_empty() {
            self.between.push((self.out.len(), Between::Err(err.to_vec())));
        }
    }

    /// Appends what does not lie in memory.
    pub(super) fn append_large(&mut self, large: Large) {
        self.between.push((self.out.len(), Between::Large(large)));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty() && self.between.is_empty()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.out.len() + self.between.iter().map(|(_, what)| what.len()).sum::<usize>()
    }

    /// Forgets everything, but keeps some of the memory.
    pub fn clear(&mut self) {
        self.typical.empty(&mut self.out);
        self.between.clear();
    }

    /// What is to be written, piece by piece: to stdout, then what stands behind that.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&[u8], Option<&Between>)> {
        let ends = self.between.iter().map(|(end, what)| (*end, Some(what)));
        ends.chain([(self.out.len(), None)]).scan(0, |begin, (end, what)| {
            let out = &self.out[*begin..end];
            *begin = end;
            Some((out, what))
        })
    }
}

/// What is not simply written to stdout.
#[derive(Debug)]
pub(super) enum Between {
    /// It goes to stderr.
    Err(Vec<u8>),
    Large(Large),
}

impl Between {
    fn len(&self) -> usize {
        match self {
            Self::Err(err) => err.len(),
            Self::Large(large) => large.len(),
        }
    }
}

/// Records of successive jobs that wait, one behind the other: what goes to stdout and, from
/// `split` on, to stderr. Slots take successive jobs, so that a run is what most often comes.
#[derive(Debug)]
struct WaitingStreak {
    piece: Piece,
    split: usize,
    /// How many records.
    count: u64,
    /// The record, if it does not lie in memory.
    large: Option<Box<Large>>,
}

/// The runs that wait for their turn.
#[derive(Debug)]
pub struct Order {
    /// Whose turn it is.
    next: u64,
    /// By the number of their first record.
    waiting: BTreeMap<u64, WaitingStreak>,
    /// How many of them do not lie in memory.
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

    /// Takes the records of `count` jobs from `seq` on; what is ready after that goes to `ready`.
    ///
    /// # Errors
    /// The memory is full and the temporary file can't be written. The records are kept in memory
    /// nevertheless.
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

    /// Takes the record of one job, which does not lie in memory.
    ///
    /// # Errors
    /// As of [`Order::put`].
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
        let (piece, large) = (self.pages.put(&[], &[]), Some(Box::new(large)));
        self.waiting.insert(seq, WaitingStreak { piece, split: 0, count: 1, large });
        self.large += 1;
        Ok(())
    }

    /// Takes lines that a job has printed and that is still running. If it is its turn they are
    /// ready at once.
    ///
    /// # Errors
    /// They can't be kept.
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

    /// It is the turn of a job: what it has printed so far is ready, and all that follows it.
    fn is_turn_of(&mut self, seq: u64, ready: &mut Ready) -> io::Result<()> {
        self.next = seq;
        self.show_lines(ready)?;
        if self.has_next() { self.advance(ready, false) } else { Ok(()) }
    }

    /// The lines are ready of the job whose turn it is.
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

    /// Moves records whose turn it is to `ready`, until a good many bytes are there. At the end of a
    /// run of procpool (`skip_gaps`) it is the turn of the next one that there is.
    ///
    /// # Errors
    /// The temporary file can't be read; its records are lost.
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

    /// Moves the first run that waits in memory; returns how many records it has.
    fn take_waiting(&mut self, ready: &mut Ready) -> u64 {
        let Some((_, run)) = self.waiting.pop_first() else { return 0 };
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

    /// Moves the first run that waits in the file; returns how many records it has.
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

    /// Whether the record is there whose turn it is.
    pub fn has_next(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(&seq, _)| seq == self.next)
            || self.spill.as_ref().and_then(Spill::first) == Some(self.next)
    }

    /// Whether those that bring more had better wait until some of it is written: it is the turn of what
    /// waits, so that it is the reader of stdout who is slow, and no job.
    pub fn is_ample(&self) -> bool {
        let has_spilled = self.spill.as_ref().is_some_and(|spill| spill.first().is_some());
        self.has_next() && (self.is_full() || (!has_spilled && self.pages.used() > AMPLE))
    }

    /// Whether as much waits in memory as may.
    pub fn is_full(&self) -> bool {
        self.pages.used() + (self.waiting.len() - self.large) * OVERHEAD > self.limit
    }

    /// Moves all that waits to the temporary file.
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
            if let Some(Between::Err(err)) = err {
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
