//! Framings: bytes from a worker → messages. First a byte that chooses the pieces, then the bytes.

use procpool::engine::Protocol;
use procpool::engine::protocol::framing::{
    FRAMINGS, Framing, LINES_AND_NULS, OF_REPLIES, Scan, Split, line, nul,
};

use super::{choice, pieces};

/// How bytes were split.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    messages: Vec<Vec<u8>>,
    /// What came after them and is no whole message.
    left: Vec<u8>,
    broken: Option<&'static str>,
}

/// The pieces make no difference, and what was sealed is split as it was.
pub fn check(data: &[u8]) {
    let (how, bytes) = choice(data);
    for framing in FRAMINGS.iter().chain(OF_REPLIES).copied().chain([&LINES_AND_NULS]) {
        let whole = received(&[bytes], framing.split);
        let parts = received(&pieces(how, bytes), framing.split);
        assert_eq!(whole, parts, "{}", framing.name);
    }
    for framing in FRAMINGS {
        round_trip(framing, bytes);
    }
    let raw = Protocol::named("raw").expect("a protocol");
    for (framing, end) in [(&line::LINE, b'\n'), (&nul::NUL, 0)] {
        for count in 1..4 {
            let many =
                raw.clone().framed(framing).with_reply_messages(count).expect("they have ends");
            let parts = received(&pieces(how, bytes), |bytes, scan| many.split(bytes, scan));
            let ends: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == end).collect();
            let mut begin = 0;
            let expected = ends.chunks_exact(count).map(|ends| {
                let last = ends[count - 1];
                bytes[std::mem::replace(&mut begin, last + 1)..last].to_vec()
            });
            assert_eq!(parts.messages, expected.collect::<Vec<_>>(), "{count} of {}", framing.name);
        }
    }
}

/// Takes messages out of bytes that come in pieces, as a slot does.
fn received(pieces: &[&[u8]], split: impl Fn(&[u8], &mut Scan) -> Split) -> Received {
    let mut received = Received::default();
    let (mut scan, mut least) = (Scan::default(), 0);
    for piece in pieces {
        received.left.extend_from_slice(piece);
        loop {
            match split(&received.left, &mut scan) {
                Split::Message { begin, end, next } => {
                    assert!(begin <= end && end <= next && next <= received.left.len());
                    assert!(next > 0, "it makes no progress");
                    assert!(end - begin >= least, "{least} bytes were promised");
                    received.messages.push(received.left[begin..end].to_vec());
                    received.left.drain(..next);
                    (scan, least) = (Scan::default(), 0);
                }
                Split::More(len) => {
                    assert!(len >= least, "less is needed than before");
                    least = len;
                    break;
                }
                Split::Broken(why) => {
                    received.broken = Some(why);
                    // How much has come by then goes by the pieces.
                    received.left.clear();
                    return received;
                }
            }
        }
    }
    received
}

/// A message that is sealed after other bytes is split as it was. One that can't be sealed leaves no trace.
fn round_trip(framing: &Framing, message: &[u8]) {
    let mut out = b"before".to_vec();
    let start = out.len();
    out.extend_from_slice(message);
    let before = out.clone();
    if (framing.seal)(&mut out, start).is_err() {
        return assert_eq!(out, before, "{}", framing.name);
    }
    assert_eq!(&out[..start], b"before", "{}", framing.name);
    // Any bytes can be sealed as JSON, but only JSON is.
    if framing.name == "json"
        && serde_json::from_slice::<&serde_json::value::RawValue>(message).is_err()
    {
        return;
    }
    let len = out.len();
    out.extend_from_slice(b"after");
    let sealed = received(&[&out[start..len]], framing.split);
    let message = if framing.name == "json" { message.trim_ascii() } else { message };
    assert_eq!(sealed.messages, [message], "{}", framing.name);
    match (framing.split)(&out[start..], &mut Scan::default()) {
        Split::Message { begin, end, .. } => assert_eq!(&out[start..][begin..end], message),
        other => panic!("{}: {other:?}", framing.name),
    }
}
