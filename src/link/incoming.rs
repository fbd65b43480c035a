//! The bytes that have come over a link and were not read as messages yet.

use super::MOST_KEPT;
use super::frame::{FrameSplit, LONGEST, split};
use crate::util::buffer::TypicalSize;

/// Bytes that have come, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
    typical: TypicalSize,
    /// No message has more bytes.
    longest: usize,
}

impl Default for Incoming {
    fn default() -> Self {
        Self::with_longest(LONGEST)
    }
}

/// The bytes are no message. The link has no meaning any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

impl Incoming {
    /// For messages of up to this many bytes.
    pub(crate) fn with_longest(longest: usize) -> Self {
        Self { bytes: Vec::new(), read: 0, typical: TypicalSize::new(), longest }
    }

    /// Whether all bytes that have come were read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where bytes that come are appended.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes that were not read yet.
    #[cfg(test)]
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    /// Calls `each` with all whole messages: their kind and their bytes. It returns `None` for a message
    /// that is none.
    ///
    /// # Errors
    /// The bytes are no message.
    pub(crate) fn each(
        &mut self,
        mut each: impl FnMut(u8, &[u8]) -> Option<()>,
    ) -> Result<(), Garbled> {
        loop {
            match split(&self.bytes[self.read..], self.longest) {
                FrameSplit::Frame { kind, message, len } => {
                    each(kind, message).ok_or(Garbled)?;
                    self.read += len;
                }
                FrameSplit::Partial => break,
                FrameSplit::Broken => return Err(Garbled),
            }
        }
        let read = std::mem::take(&mut self.read);
        if read == self.bytes.len() {
            self.typical.empty_but(MOST_KEPT, &mut self.bytes);
        } else {
            self.bytes.drain(..read);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::seal;
    use super::*;

    #[test]
    fn messages_are_read_once_and_nonsense_is_noticed() {
        let mut stream = Vec::new();
        for kind in 1..=3 {
            seal(kind, &mut stream, |out| out.push(kind));
        }
        for cut in 0..=stream.len() {
            let (mut incoming, mut seen) = (Incoming::default(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                incoming.end().extend_from_slice(part);
                let result = incoming.each(|kind, message| {
                    seen.push((kind, message.to_vec()));
                    Some(())
                });
                assert_eq!(result, Ok(()));
            }
            assert_eq!(seen, [(1, vec![1]), (2, vec![2]), (3, vec![3])]);
            assert!(incoming.rest().is_empty());
        }
        let mut incoming = Incoming::default();
        incoming.end().extend_from_slice(&stream);
        assert_eq!(incoming.each(|kind, _| (kind < 2).then_some(())), Err(Garbled));
        let mut incoming = Incoming::default();
        incoming.end().extend_from_slice(b"Last login: today");
        assert_eq!(incoming.each(|_, _| Some(())), Err(Garbled));
    }
}
