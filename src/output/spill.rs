//! The temporary file for records that have no room in memory. It has heaps: streaks (the records of successive jobs) in
//! order. The file has no name, so it is gone when the process ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::util::temporary::temporary_file;

/// How many bytes are read at once.
const READ_SIZE: usize = 16 << 10;

/// A streak in the file begins with the number of its first job, its length, its split and its count.
const HEAD: usize = 32;

/// A streak on its way to the file.
pub(super) struct Spilled<'a> {
    pub(super) seq: u64,
    pub(super) count: u64,
    pub(super) split: usize,
    pub(super) bytes: &'a [u8],
}

/// The file and the heaps in it.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    end: u64,
    /// Heaps by the number of their first job.
    heaps: BTreeMap<u64, Heap>,
}

/// Streaks that were spilled together, in the order of their numbers.
#[derive(Debug)]
struct Heap {
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
    /// Where the unread part of the heap begins in the file.
    at: u64,
    end: u64,
}

impl Spill {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: temporary_file()?, end: 0, heaps: BTreeMap::new() })
    }

    /// The number of the first record.
    pub(super) fn first(&self) -> Option<u64> {
        self.heaps.first_key_value().map(|(&seq, _)| seq)
    }

    /// Adds streaks, which come in order, as one heap. If that fails, none is added.
    pub(super) fn write<'a>(&mut self, runs: impl Iterator<Item = Spilled<'a>>) -> io::Result<()> {
        let begin = self.end;
        let mut at = begin;
        let mut first = None;
        let mut bytes = Vec::with_capacity(READ_SIZE);
        for run in runs {
            first.get_or_insert(run.seq);
            for number in [run.seq, run.bytes.len() as u64, run.split as u64, run.count] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(run.bytes);
            if bytes.len() >= READ_SIZE {
                self.file.write_all_at(&bytes, at)?;
                at += bytes.len() as u64;
                bytes.clear();
            }
        }
        self.file.write_all_at(&bytes, at)?;
        let Some(first) = first else { return Ok(()) };
        self.end = at + bytes.len() as u64;
        self.heaps.insert(first, Heap { buffer: Vec::new(), taken: 0, at: begin, end: self.end });
        Ok(())
    }

    /// Removes the first streak and calls a function with its bytes for stdout and for stderr. Returns how
    /// many records it has.
    pub(super) fn take(&mut self, hand_on: impl FnOnce(&[u8], &[u8])) -> io::Result<u64> {
        let Some((_, mut heap)) = self.heaps.pop_first() else { return Ok(0) };
        let head = heap.head(&self.file)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        heap.fill(&self.file, HEAD + head.len)?;
        let (out, err) = heap.held()[HEAD..HEAD + head.len].split_at(head.split);
        hand_on(out, err);
        heap.taken += HEAD + head.len;
        match heap.head(&self.file)? {
            Some(next) => drop(self.heaps.insert(next.seq, heap)),
            None if self.heaps.is_empty() => {
                // All streaks have been read: free the disk.
                self.end = 0;
                self.file.set_len(0)?;
            }
            None => {}
        }
        Ok(head.count)
    }
}

/// The fields before a streak in the file.
struct Head {
    seq: u64,
    len: usize,
    split: usize,
    count: u64,
}

impl Heap {
    /// The fields of the first streak. `None`: there is no streak.
    fn head(&mut self, file: &File) -> io::Result<Option<Head>> {
        if self.held().is_empty() && self.at == self.end {
            return Ok(None);
        }
        self.fill(file, HEAD)?;
        let number = |at: usize| {
            let bytes = self.held()[at..at + 8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let size = |at| usize::try_from(number(at)).map_err(io::Error::other);
        Ok(Some(Head { seq: number(0), len: size(8)?, split: size(16)?, count: number(24) }))
    }

    /// The bytes that were read and not taken.
    fn held(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Reads until at least `count` bytes are held.
    fn fill(&mut self, file: &File, count: usize) -> io::Result<()> {
        if self.held().len() >= count {
            return Ok(());
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let held = self.buffer.len();
        let left = usize::try_from(self.end - self.at).map_err(io::Error::other)?;
        let more = (count - held).max(READ_SIZE).min(left);
        self.buffer.resize(held + more, 0);
        file.read_exact_at(&mut self.buffer[held..], self.at)?;
        self.at += more as u64;
        if self.buffer.len() < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
