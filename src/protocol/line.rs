//! The framing `line`: a message is what stands before a newline.

/// Where the first message in some bytes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message's length, from the first byte on.
    pub len: usize,
    /// Where the bytes behind it begin.
    pub next: usize,
}

/// Finds the first message in `bytes`; `None`: more bytes are needed. The first `seen` bytes are
/// known to hold no end of a message, so that a long message is not searched again and again.
pub fn split(bytes: &[u8], seen: usize) -> Option<Frame> {
    let end = seen + memchr::memchr(b'\n', bytes.get(seen..)?)?;
    Some(Frame { len: end, next: end + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec("[^\n]{0,20}", 0..20),
            cut in 1_usize..16,
        ) {
            let sent: String = messages.iter().map(|message| format!("{message}\n")).collect();
            let mut received: Vec<String> = Vec::new();
            let (mut buffer, mut seen) = (Vec::new(), 0);
            for piece in sent.as_bytes().chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = split(&buffer, seen) {
                    received.push(String::from_utf8(buffer[..frame.len].to_vec()).expect("UTF-8"));
                    buffer.drain(..frame.next);
                    seen = 0;
                }
                seen = buffer.len();
            }
            prop_assert_eq!(received, messages);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn half_a_message_is_none() {
        assert_eq!(split(b"", 0), None);
        assert_eq!(split(b"half", 0), None);
        assert_eq!(split(b"half", 4), None);
        assert_eq!(split(b"\n", 0), Some(Frame { len: 0, next: 1 }));
    }
}
