//! The inputs that are cut into blocks: a file, of which little is read and nothing is held, and a stream,
//! of which the next block is held.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::cut::InputWindow;
use crate::input::feeder::read_some;
use crate::job::BlockBody;
use crate::job::block::{Buffers, HeldBytes, shortened};

/// How many bytes a pipe on stdin holds, if the system allows it.
#[cfg(target_os = "linux")]
const WIDE: usize = 1 << 20;

/// A window that blocks are taken from.
pub(super) trait Blocked: InputWindow {
    /// Takes the first `len` bytes as a block.
    fn take(&mut self, len: u64) -> BlockBody;

    /// Drops the first `len` bytes.
    fn skip(&mut self, len: u64);
}

/// The rest of a file.
#[derive(Debug)]
pub(super) struct FileWindow {
    pub(super) file: Arc<File>,
    /// Where the next block begins in the file.
    pub(super) begin: u64,
    /// Where the file ends.
    pub(super) end: u64,
    buffer: Vec<u8>,
}

impl FileWindow {
    pub(super) fn new(file: File, begin: u64, end: u64) -> Self {
        Self { file: Arc::new(file), begin, end, buffer: Vec::new() }
    }
}

impl InputWindow for FileWindow {
    fn fill(&mut self, to: u64) -> io::Result<u64> {
        Ok(to.min(self.end.saturating_sub(self.begin)))
    }

    fn bytes(&mut self, from: u64, to: u64) -> io::Result<&[u8]> {
        let len = usize::try_from(to - from).map_err(io::Error::other)?;
        self.buffer.resize(len, 0);
        self.file.read_exact_at(&mut self.buffer, self.begin + from).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof { shortened() } else { error }
        })?;
        Ok(&self.buffer)
    }

    fn forget(&mut self, _before: u64) {}
}

impl Blocked for FileWindow {
    fn take(&mut self, len: u64) -> BlockBody {
        self.begin += len;
        BlockBody::Range { file: Arc::clone(&self.file), len }
    }

    fn skip(&mut self, len: u64) {
        self.begin += len;
    }
}

/// The rest of a stream.
#[derive(Debug)]
pub(super) struct StreamWindow<'a> {
    source: BorrowedFd<'a>,
    buffer: Vec<u8>,
    /// How many bytes before those of the buffer were forgotten.
    forgotten: u64,
    is_at_end: bool,
    buffers: Buffers,
}

impl<'a> StreamWindow<'a> {
    pub(super) fn new(source: BorrowedFd<'a>) -> Self {
        // More bytes at once: fewer changes between the processes at both ends.
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(source, WIDE);
        Self {
            source,
            buffer: Vec::new(),
            forgotten: 0,
            is_at_end: false,
            buffers: Buffers::default(),
        }
    }

    fn have(&self) -> u64 {
        self.forgotten + self.buffer.len() as u64
    }

    fn index(&self, at: u64) -> usize {
        let at = usize::try_from(at.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        at.min(self.buffer.len())
    }
}

impl InputWindow for StreamWindow<'_> {
    fn fill(&mut self, to: u64) -> io::Result<u64> {
        while !self.is_at_end && self.have() < to {
            let missing = usize::try_from(to - self.have()).map_err(io::Error::other)?;
            self.buffer.try_reserve(missing)?;
            self.is_at_end = read_some(self.source, &mut self.buffer)? == 0;
        }
        Ok(self.have().min(to))
    }

    fn bytes(&mut self, from: u64, to: u64) -> io::Result<&[u8]> {
        Ok(&self.buffer[self.index(from)..self.index(to)])
    }

    fn forget(&mut self, before: u64) {
        let index = self.index(before);
        self.buffer.drain(..index);
        self.forgotten += index as u64;
    }
}

impl Blocked for StreamWindow<'_> {
    fn take(&mut self, len: u64) -> BlockBody {
        let index = self.index(len);
        let mut rest = self.buffers.take();
        rest.extend_from_slice(&self.buffer[index..]);
        let mut bytes = std::mem::replace(&mut self.buffer, rest);
        bytes.truncate(index);
        self.forgotten = 0;
        BlockBody::Held(HeldBytes::new(bytes, &self.buffers))
    }

    fn skip(&mut self, len: u64) {
        self.forget(len);
        self.forgotten = 0;
    }
}
