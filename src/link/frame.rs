//! Frames separate messages in the stream of bytes of a link. A frame is the length of the rest (4 bytes,
//! the lowest first), a byte for the kind of message, and the message.

/// The length and the kind.
const HEAD: usize = 5;

/// No frame is longer. A link that announces a longer one has lost its place.
pub(crate) const LONGEST: usize = 1 << 30;

/// Appends a frame of this kind. `write` appends its message.
pub(crate) fn seal(kind: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    write(out);
    let len = u32::try_from(out.len() - begin - 4).unwrap_or(u32::MAX);
    out[begin..begin + 4].copy_from_slice(&len.to_le_bytes());
}

/// The first frame of these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameSplit<'a> {
    /// It is whole.
    Frame {
        /// The kind of message.
        kind: u8,
        /// The message.
        message: &'a [u8],
        /// How many bytes the frame has.
        len: usize,
    },
    /// More bytes are needed.
    Partial,
    /// These bytes are no frame.
    Broken,
}

/// Finds the first frame of these bytes. A frame of more than `longest` bytes is none.
pub(crate) fn split(bytes: &[u8], longest: usize) -> FrameSplit<'_> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return FrameSplit::Partial };
    let len = head[..4].iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
    if len == 0 || len > longest {
        return FrameSplit::Broken;
    }
    match rest.get(..len - 1) {
        Some(message) => FrameSplit::Frame { kind: head[4], message, len: len + 4 },
        None => FrameSplit::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_wherever_they_are_cut(
            messages in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            piece in 1_usize..20,
        ) {
            let mut stream = Vec::new();
            for (kind, message) in &messages {
                seal(*kind, &mut stream, |out| out.extend_from_slice(message));
            }
            let (mut buffer, mut seen) = (Vec::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let FrameSplit::Frame { kind, message, len } = split(&buffer, LONGEST) {
                    seen.push((kind, message.to_vec()));
                    buffer.drain(..len);
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            split(&bytes, LONGEST);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_noticed_at_once() {
        assert_eq!(split(&[0, 0, 0, 0, 1], LONGEST), FrameSplit::Broken);
        assert_eq!(split(&[255; 5], LONGEST), FrameSplit::Broken);
        assert_eq!(split(&[9, 0, 0, 0, 1], 8), FrameSplit::Broken);
        assert_eq!(split(&[9, 0, 0, 0], 8), FrameSplit::Partial);
    }
}
