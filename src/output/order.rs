//! Order: records come as jobs finish and leave as their turn comes. Those that must wait are held
//! in memory up to a limit; more are spilled to a file without a name.

use std::collections::BTreeMap;
use std::io;

use super::spill::Spill;

/// Records move on to be written until so many bytes are ready.
const BATCH: usize = 256 << 10;

/// What a record that waits costs beside its bytes, in bytes.
const OVERHEAD: usize = 64;

/// The smallest limit: below it, spilling costs more memory than it saves.
const LEAST: usize = 256 << 10;

/// Records that are ready to be written, one behind the other.
#[derive(Debug, Default)]
pub struct Ready {
    out: Vec<u8>,
    /// What goes to stderr, and behind how many bytes of `out`.
    err: Vec<(usize, Vec<u8>)>,
}

impl Ready {
    /// Appends a record.
    pub fn append(&mut self, out: &[u8], err: &[u8]) {
        self.out.extend_from_slice(out);
        if !err.is_empty() {
            self.err.push((self.out.len(), err.to_vec()));
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty() && self.err.is_empty()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.out.len() + self.err.iter().map(|(_, err)| err.len()).sum::<usize>()
    }

    /// Forgets everything, but keeps some of the memory.
    pub fn clear(&mut self) {
        self.out.clear();
        self.out.shrink_to(2 * BATCH);
        self.err.clear();
    }

    /// What is to be written, piece by piece: to stdout, then to stderr.
    pub fn parts(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let ends = self.err.iter().map(|(end, err)| (*end, err.as_slice()));
        ends.chain([(self.out.len(), [].as_slice())]).scan(0, |begin, (end, err)| {
            let out = &self.out[*begin..end];
            *begin = end;
            Some((out, err))
        })
    }
}

/// Records of successive jobs, one behind the other: what goes to stdout and, from `split` on, to
/// stderr. Slots take successive jobs, so that a run is what most often comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) bytes: Box<[u8]>,
    pub(super) split: usize,
    /// How many records.
    pub(super) count: u64,
}

impl Run {
    fn new(count: u64, out: &[u8], err: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(out.len() + err.len());
        bytes.extend_from_slice(out);
        bytes.extend_from_slice(err);
        Self { bytes: bytes.into_boxed_slice(), split: out.len(), count }
    }

    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// The runs that wait for their turn.
#[derive(Debug)]
pub struct Order {
    /// Whose turn it is.
    next: u64,
    /// By the number of their first record.
    waiting: BTreeMap<u64, Run>,
    bytes: usize,
    limit: usize,
    spill: Option<Spill>,
}

impl Order {
    /// The first record is that of job 1. Up to `limit` bytes wait in memory.
    pub fn new(limit: usize) -> Self {
        Self {
            next: 1,
            waiting: BTreeMap::new(),
            bytes: 0,
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
            self.next += count;
            return match self.has_next() {
                true => self.advance(ready, false),
                false => Ok(()),
            };
        }
        let run = Run::new(count, out, err);
        self.bytes += run.cost();
        self.waiting.insert(seq, run);
        match self.is_full() && !self.has_next() {
            true => self.spill(),
            false => Ok(()),
        }
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
            let run = match (waiting == Some(seq), &mut self.spill) {
                (true, _) | (_, None) => self.waiting.pop_first().map(|(_, run)| {
                    self.bytes -= run.cost();
                    run
                }),
                (false, Some(spill)) => match spill.take() {
                    Ok(run) => run,
                    Err(error) => {
                        self.spill = None;
                        return Err(error);
                    }
                },
            };
            let Some(run) = run else { break };
            let (out, err) = run.bytes.split_at(run.split);
            ready.append(out, err);
            self.next = seq + run.count;
        }
        Ok(())
    }

    /// Whether the record is there whose turn it is.
    pub fn has_next(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(&seq, _)| seq == self.next)
            || self.spill.as_ref().and_then(Spill::first) == Some(self.next)
    }

    /// Whether as much waits in memory as may.
    pub fn is_full(&self) -> bool {
        self.bytes > self.limit
    }

    /// Moves all that waits to the temporary file.
    fn spill(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new()?),
        };
        spill.write(&self.waiting)?;
        self.waiting.clear();
        self.bytes = 0;
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
            all_err.extend_from_slice(err);
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
                prop_assert!(order.bytes <= limit + 100);
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
