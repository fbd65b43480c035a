//! The messages of one end of a link that the stream has not taken yet.

use std::time::{Duration, Instant};

use super::MOST_KEPT;
use crate::util::buffer::TypicalSize;

/// Bytes that wait to be written. They are never moved: those that are being written have a buffer of their
/// own.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// What is being written.
    front: Vec<u8>,
    /// How many bytes of it are written.
    written: usize,
    /// What was said since.
    bytes: Vec<u8>,
    typical: TypicalSize,
    /// When something was written last.
    last: Instant,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            front: Vec::new(),
            written: 0,
            bytes: Vec::new(),
            typical: TypicalSize::new(),
            last: Instant::now(),
        }
    }

    /// Where messages are appended.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes are not written yet.
    pub(crate) fn len(&self) -> usize {
        self.front.len() - self.written + self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written next; empty: all is written.
    pub(crate) fn rest(&mut self) -> &[u8] {
        if self.written == self.front.len() {
            self.written = 0;
            // One long message does not hold its memory for ever.
            self.typical.empty_but(MOST_KEPT, &mut self.front);
            std::mem::swap(&mut self.front, &mut self.bytes);
        }
        &self.front[self.written..]
    }

    /// This number of further bytes is written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        self.last = Instant::now();
    }

    /// Takes what is to be written next, and how many bytes of it are written already.
    /// [`Outgoing::put_back`] follows.
    pub(crate) fn take(&mut self) -> (Vec<u8>, usize) {
        self.rest();
        self.last = Instant::now();
        (std::mem::take(&mut self.front), std::mem::take(&mut self.written))
    }

    /// Puts back what was taken, of which this many bytes are written now.
    pub(crate) fn put_back(&mut self, taken: Vec<u8>, written: usize) {
        self.front = taken;
        self.written = written;
    }

    /// Whether a sign of life is due: nothing was written for this long, and nothing waits.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.is_empty() && self.last.elapsed() >= time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_said_is_written_in_order(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..30), 0_usize..40), 0..20),
        ) {
            let (mut outgoing, mut said, mut written) = (Outgoing::new(), Vec::new(), Vec::new());
            for (piece, most) in pieces {
                outgoing.end().extend_from_slice(&piece);
                said.extend_from_slice(&piece);
                let count = most.min(outgoing.rest().len());
                written.extend_from_slice(&outgoing.rest()[..count]);
                if most % 2 == 0 {
                    outgoing.advance(count);
                } else {
                    let (taken, before) = outgoing.take();
                    outgoing.end().extend_from_slice(b"more");
                    said.extend_from_slice(b"more");
                    outgoing.put_back(taken, before + count);
                }
            }
            while !outgoing.is_empty() {
                let (taken, before) = outgoing.take();
                written.extend(&taken[before..]);
                let all = taken.len();
                outgoing.put_back(taken, all);
            }
            prop_assert_eq!(written, said);
            prop_assert!(outgoing.is_empty());
        }
    }
}
