//! Records that found no room in memory: sorted runs, one behind the other, in a temporary file
//! that has no name, so that nothing of it outlives the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::order::Record;

/// How much of a run is read at once.
const READ_SIZE: usize = 16 << 10;

/// A record in the file begins with its job's number, its length and its split.
const HEAD: usize = 24;

/// The file and the runs in it.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    end: u64,
    /// By the number of their first record.
    runs: BTreeMap<u64, Run>,
}

/// Records in the order of their numbers.
#[derive(Debug)]
struct Run {
    buffer: Vec<u8>,
    /// How much of the buffer has been taken.
    taken: usize,
    /// Where the rest lies.
    at: u64,
    end: u64,
}

impl Spill {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, end: 0, runs: BTreeMap::new() })
    }

    /// The number of the first record.
    pub(super) fn first(&self) -> Option<u64> {
        self.runs.first_key_value().map(|(&seq, _)| seq)
    }

    /// Adds records as a run. If that fails, none was added.
    pub(super) fn write(&mut self, records: &BTreeMap<u64, Record>) -> io::Result<()> {
        let Some((&first, _)) = records.first_key_value() else {
            return Ok(());
        };
        let begin = self.end;
        let mut at = begin;
        let mut bytes = Vec::with_capacity(READ_SIZE);
        for (&seq, record) in records {
            for number in [seq, record.bytes.len() as u64, record.split as u64] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&record.bytes);
            if bytes.len() >= READ_SIZE {
                self.file.write_all_at(&bytes, at)?;
                at += bytes.len() as u64;
                bytes.clear();
            }
        }
        self.file.write_all_at(&bytes, at)?;
        self.end = at + bytes.len() as u64;
        self.runs.insert(first, Run { buffer: Vec::new(), taken: 0, at: begin, end: self.end });
        Ok(())
    }

    /// Takes the first record out.
    pub(super) fn take(&mut self) -> io::Result<Option<Record>> {
        let Some((_, mut run)) = self.runs.pop_first() else {
            return Ok(None);
        };
        let (_, len, split) = run.head(&self.file)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        run.fill(&self.file, HEAD + len)?;
        let bytes = run.held()[HEAD..HEAD + len].into();
        run.taken += HEAD + len;
        match run.head(&self.file)? {
            Some((seq, ..)) => drop(self.runs.insert(seq, run)),
            None if self.runs.is_empty() => {
                // All has been read: the room on the disk is given back.
                self.end = 0;
                self.file.set_len(0)?;
            }
            None => {}
        }
        Ok(Some(Record { bytes, split }))
    }
}

impl Run {
    /// Number, length and split of the first record; `None`: there is none.
    fn head(&mut self, file: &File) -> io::Result<Option<(u64, usize, usize)>> {
        if self.held().is_empty() && self.at == self.end {
            return Ok(None);
        }
        self.fill(file, HEAD)?;
        let number = |at: usize| {
            let bytes = self.held()[at..at + 8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let size = |at| usize::try_from(number(at)).map_err(io::Error::other);
        Ok(Some((number(0), size(8)?, size(16)?)))
    }

    /// What has been read and not been taken.
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
        match self.buffer.len() < count {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        }
    }
}
