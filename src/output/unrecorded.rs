//! The records of results that are not proven yet: in memory while they are few, then in the temporary
//! file.

use std::io::Write;
use std::sync::Arc;

use crate::job::printed::{Capture, Spool};
use crate::journal::{Journal, JournalError};

/// More bytes than this go to the file.
const MOST: usize = 1 << 20;

/// Bytes go to the file in pieces of this length.
const PIECE: usize = 256 << 10;

/// Records that the journal may get later: whole lines.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    /// The first records.
    filed: Option<Capture>,
    /// The records after those.
    held: Vec<u8>,
}

impl Unrecorded {
    /// The buffer to which the next record is appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    /// Whether [`Unrecorded::spill`] is to be called.
    pub(super) fn is_large(&self) -> bool {
        self.held.len() > MOST
    }

    /// Moves the records from memory to the file. If the file can't be written, they stay in memory.
    pub(super) fn spill(&mut self, spool: &Arc<Spool>) {
        let filed = self.filed.get_or_insert_with(|| Capture::new(spool));
        for piece in std::mem::take(&mut self.held).chunks(PIECE) {
            // After an error, the capture holds the bytes and tries again.
            let _ = filed.write(piece);
        }
    }

    /// Appends all records to the journal.
    pub(super) fn append_to(&self, journal: &Journal) -> Result<(), JournalError> {
        if let Some(filed) = &self.filed {
            journal.append_captured(filed)?;
        }
        journal.append(&self.held)
    }
}
