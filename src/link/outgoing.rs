//! The messages of one end of a link that the stream has not taken yet.

use std::time::{Duration, Instant};

/// Bytes that wait to be written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// When something was written last.
    last: Instant,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), written: 0, last: Instant::now() }
    }

    /// Where messages are appended.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes that are not written yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// This number of further bytes is written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        self.last = Instant::now();
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            // One long message does not hold its memory for ever.
            self.bytes.shrink_to(1 << 20);
        } else if self.written >= 1 << 20 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Takes all that is not written, to be written elsewhere.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.last = Instant::now();
        let mut all = std::mem::take(&mut self.bytes);
        all.drain(..std::mem::take(&mut self.written));
        all
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
                outgoing.advance(count);
            }
            written.extend(outgoing.take());
            prop_assert_eq!(written, said);
            prop_assert!(outgoing.is_empty());
        }
    }
}
