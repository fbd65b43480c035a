//! A block: whole records of the input, which are the stdin of one command. Either its bytes are held in
//! memory, or it is a range of a file, which is copied to the command without being held.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use crate::util::lock::lock;

/// Whole records of the input.
#[derive(Debug)]
pub struct Block {
    /// The header of the input, which each block begins with; empty: there is none.
    pub header: Arc<[u8]>,
    /// Where it begins in its source, in bytes.
    pub begin: u64,
    /// Its bytes after the header.
    pub body: BlockBody,
}

/// The bytes of a block.
#[derive(Debug)]
pub enum BlockBody {
    /// Bytes in memory.
    Held(HeldBytes),
    /// The bytes of a file from the beginning of the block on.
    Range {
        /// The file.
        file: Arc<File>,
        /// How many bytes there are.
        len: u64,
    },
}

/// The next bytes of a block.
#[derive(Debug)]
pub(crate) enum BlockPart<'a> {
    Bytes(&'a [u8]),
    /// Bytes of a file: where they begin, and how many there are.
    Range(&'a File, u64, u64),
}

impl Block {
    /// How many bytes it has, without the header.
    pub fn body_len(&self) -> u64 {
        match &self.body {
            BlockBody::Held(held) => held.bytes.len() as u64,
            BlockBody::Range { len, .. } => *len,
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.header.len() as u64 + self.body_len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        match &self.body {
            BlockBody::Held(held) => held.bytes.len(),
            BlockBody::Range { .. } => 0,
        }
    }

    /// Its bytes from this one on. There are some if `at` is less than its length.
    pub(crate) fn part(&self, at: u64) -> BlockPart<'_> {
        let header = self.header.len() as u64;
        if at < header {
            return BlockPart::Bytes(tail(&self.header, at));
        }
        match &self.body {
            BlockBody::Held(held) => BlockPart::Bytes(tail(&held.bytes, at - header)),
            BlockBody::Range { file, len } => {
                let at = at - header;
                BlockPart::Range(file, self.begin + at, len.saturating_sub(at))
            }
        }
    }

    /// Its bytes without the header, from the first to the last.
    pub fn read(&self) -> BlockReader<'_> {
        BlockReader { block: self, at: self.header.len() as u64 }
    }
}

/// Reads the bytes of a block.
#[derive(Debug)]
pub struct BlockReader<'a> {
    block: &'a Block,
    at: u64,
}

impl BlockReader<'_> {
    /// Replaces `piece` with the next bytes, up to `most` of them. None: there are no more.
    ///
    /// # Errors
    /// The file can't be read, or is shorter now.
    pub fn next(&mut self, piece: &mut Vec<u8>, most: usize) -> io::Result<()> {
        piece.clear();
        while piece.len() < most && self.at < self.block.len() {
            let room = most - piece.len();
            let count = match self.block.part(self.at) {
                BlockPart::Bytes(bytes) => {
                    piece.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    bytes.len().min(room)
                }
                BlockPart::Range(file, begin, len) => {
                    let before = piece.len();
                    let most = usize::try_from(len).unwrap_or(usize::MAX).min(room);
                    piece.resize(before + most, 0);
                    let count = file.read_at(&mut piece[before..], begin)?;
                    piece.truncate(before + count);
                    count
                }
            };
            if count == 0 {
                return Err(shortened());
            }
            self.at += count as u64;
        }
        Ok(())
    }
}

/// The error that a file has fewer bytes than it had before.
pub(crate) fn shortened() -> io::Error {
    io::Error::other("the file has become shorter since the run began")
}

fn tail(bytes: &[u8], at: u64) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default()
}

/// Blocks are compared as jobs are: each is equal to itself alone.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Block {}

/// Bytes in a buffer that goes back to its [`Buffers`].
#[derive(Debug, Default)]
pub struct HeldBytes {
    bytes: Vec<u8>,
    buffers: Buffers,
}

impl HeldBytes {
    pub(crate) fn new(bytes: Vec<u8>, buffers: &Buffers) -> Self {
        Self { bytes, buffers: buffers.clone() }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.buffers.put(std::mem::take(&mut self.bytes));
    }
}

/// Large buffers that are used again: the system needs as long to make one as to copy its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// This many buffers are kept. More are free only when a run ends, or after a pause.
const KEPT: usize = 2;

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut free = lock(&self.0);
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &Block) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        block.read().next(&mut bytes, 100).map(|()| bytes)
    }

    #[test]
    fn both_kinds_have_the_same_bytes() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(b"head\none\ntwo\n", 0).expect("there is room");
        let file = Arc::new(file);
        let buffers = Buffers::default();
        let header: Arc<[u8]> = (*b"head\n").into();
        let held = BlockBody::Held(HeldBytes::new(b"one\n".to_vec(), &buffers));
        for body in [held, BlockBody::Range { file: Arc::clone(&file), len: 4 }] {
            let block = Block { header: Arc::clone(&header), begin: 5, body };
            assert_eq!((block.len(), block.body_len()), (9, 4));
            assert_eq!(read(&block).expect("readable"), b"one\n");
            assert!(matches!(block.part(3), BlockPart::Bytes(b"d\n")));
        }
        let body = BlockBody::Range { file, len: 9 };
        let block = Block { header, begin: 5, body };
        assert!(read(&block).is_err(), "it is longer than the file");
    }
}
