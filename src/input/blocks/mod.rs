//! Blocks: an input is cut at the ends of records into pieces of many bytes, and each is a job. Nothing is
//! done for each record.

mod cut;
mod ends;
mod length;
mod reading;
mod windows;

use std::sync::{Arc, OnceLock};

pub use self::ends::RecordEnd;
use self::length::len;
use super::source::Source;

/// How an input is cut into blocks.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// How long they are.
    pub size: BlockSize,
    /// Where records end.
    pub records: RecordEnd,
    /// The first record of each input is a header, and each block begins with it.
    pub has_header: bool,
    /// A block is a message to a worker. Otherwise it is the stdin of a command.
    pub are_messages: bool,
    /// A message has no record end at its end: the framing adds one.
    pub lose_last_end: bool,
    /// The header of the first input, after it was read.
    pub header_line: Arc<OnceLock<Vec<u8>>>,
}

/// How long blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSize {
    /// At most this many bytes, unless one record is longer.
    Bytes(u64),
    /// All inputs make this many blocks of about equal length. Their lengths must be known.
    Parts(u64),
}

impl Blocks {
    /// Whether this source can be cut into blocks. Parts of an input are made only if its length is known.
    pub fn can_cut(&self, source: &Source) -> bool {
        // A file that is not there is reported later.
        let is_gone = matches!(source, Source::File(path) if !path.exists());
        matches!(self.size, BlockSize::Bytes(_)) || is_gone || len(source).is_some()
    }
}
