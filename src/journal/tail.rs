//! The end of a journal: where records are appended. Nothing is appended after a write has failed.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::record;
use crate::job::Done;
use crate::job::key::Key;
use crate::job::printed::Capture;

/// Where records are appended.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// The length of the whole records.
    len: u64,
    /// A record could not be written.
    is_broken: bool,
}

impl Tail {
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file, len, is_broken: false }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Appends records, whole lines.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            match (&self.file).write(&records[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if written == records.len() {
                break Ok(());
            }
        };
        // Each whole line counts as recorded, even if a later one could not be written.
        let whole = memchr::memrchr(b'\n', &records[..written]).map_or(0, |at| at + 1);
        self.appended(whole as u64, result)
    }

    /// Appends records, whole lines, all of them or none.
    pub(super) fn append_captured(&mut self, records: &Capture) -> io::Result<()> {
        let result = records.each(|piece| (&self.file).write_all(piece));
        let len = if result.is_ok() { records.len() } else { 0 };
        self.appended(len, result)
    }

    /// Appends one record piece by piece.
    pub(super) fn append_large(&mut self, done: &Done<'_>, key: Key) -> io::Result<()> {
        let (len, result) = write_large(done, key, &self.file);
        self.appended(len, result)
    }

    /// Counts whole records of `len` bytes. After an error, cuts off a torn record.
    fn appended(&mut self, len: u64, result: io::Result<()>) -> io::Result<()> {
        self.len += len;
        if result.is_err() {
            self.is_broken = true;
            // If this fails as well, the next run cuts off the torn line.
            let _ = self.file.set_len(self.len);
        }
        result
    }
}

/// Writes a record piece by piece. Returns its length, if all of it was written.
fn write_large(done: &Done<'_>, key: Key, file: &File) -> (u64, io::Result<()>) {
    let mut out = Counting { out: BufWriter::with_capacity(64 << 10, file), count: 0 };
    let result = record::write(done, key, &mut out).and_then(|()| out.flush());
    let len = if result.is_ok() { out.count } else { 0 };
    // The bytes that are left in the buffer must not be written after the torn record is cut off.
    drop(out.out.into_parts());
    (len, result)
}

/// Counts the bytes that are written.
struct Counting<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
