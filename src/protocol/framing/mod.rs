//! Framings: bytes ↔ messages. Each is a pair of pure functions in a file of its own and a line in
//! [`FRAMINGS`]. The tests here try each framing of that table.

pub mod content_length;
pub mod fixed;
pub mod json;
pub mod line;
pub mod netstring;
pub mod nul;
pub mod size_line;
pub mod varint;

use super::mark::leading_newline;
use crate::util::setting::Setting;

/// Where a message begins and ends among other bytes.
#[derive(Debug)]
pub struct Framing {
    /// Its name.
    pub name: &'static str,
    /// Makes a message of the bytes of `out` from `start` on.
    ///
    /// # Errors
    /// Why those bytes can't be a message, as a sentence about "the message". Then `out` is as it was.
    pub seal: fn(out: &mut Vec<u8>, start: usize) -> Result<(), String>,
    /// Looks for the first message in some bytes. Its places are within the bytes: `begin` <= `end` <=
    /// `next`, and `next` is more than 0. `scan` holds the progress of earlier looks at the beginning of
    /// the same bytes. It is the default before the first look.
    pub split: fn(bytes: &[u8], scan: &mut Scan) -> Split,
}

/// How far bytes without a whole message were searched. So a long message that comes in pieces is searched
/// only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// How many bytes have been looked at.
    pub seen: usize,
    /// How many blanks are before the message.
    blanks: usize,
    /// How many messages of a reply of several messages have ended.
    ended: usize,
    /// How many brackets are open after those bytes.
    depth: usize,
    /// Whether those bytes end within a string.
    in_string: bool,
    /// Whether those bytes end with a backslash that escapes the next one.
    is_escaped: bool,
    /// The mark that ended the last reply may be followed by a newline, which belongs to it.
    pub(super) owes_newline: bool,
}

/// The byte order mark, which some programs begin a text with.
const BOM: &[u8] = b"\xef\xbb\xbf";

impl Scan {
    /// The state after a whole message.
    pub(crate) fn after_message(self) -> Self {
        Self { owes_newline: self.owes_newline, ..Self::default() }
    }

    /// Removes a newline at the beginning of new bytes that belongs to the mark before them.
    pub(crate) fn drop_owed_newline(&mut self, bytes: &mut Vec<u8>) {
        if self.owes_newline && !matches!(&bytes[..], [] | [b'\r']) {
            self.owes_newline = false;
            bytes.drain(..leading_newline(bytes));
        }
    }

    /// Skips blanks and byte order marks.
    fn skip_blanks(&mut self, bytes: &[u8]) {
        while let Some(&byte) = bytes.get(self.blanks) {
            if byte.is_ascii_whitespace() {
                self.blanks += 1;
            } else if bytes[self.blanks..].starts_with(BOM) {
                self.blanks += BOM.len();
            } else {
                break;
            }
        }
    }
}

/// The beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// A whole message.
    Message {
        /// Where it begins.
        begin: usize,
        /// The index after its last byte.
        end: usize,
        /// Where the bytes after it begin.
        next: usize,
    },
    /// A part of a message, which will have at least this many bytes.
    More(usize),
    /// No message. The phrase says why.
    Broken(&'static str),
}

/// All framings.
pub static FRAMINGS: &[&Framing] = &[
    &line::LINE,
    &nul::NUL,
    &fixed::U16,
    &fixed::U32,
    &fixed::U32LE,
    &content_length::CONTENT_LENGTH,
    &netstring::NETSTRING,
    &varint::VARINT,
    &json::JSON,
];

/// The framing of a worker in `sh`. Requests are lines, since the `read` of `sh` takes lines. Replies end
/// with a NUL byte, since they may be several lines. The user can't choose this framing.
pub static LINES_AND_NULS: Framing =
    Framing { name: "lines and NUL bytes", seal: line::seal, split: nul::split };

/// Framings of replies alone: their requests are lines.
pub static OF_REPLIES: &[&Framing] = &[&size_line::SIZE_LINE];

/// The framing of this name.
pub fn named(name: &str) -> Option<&'static Framing> {
    FRAMINGS.iter().chain(OF_REPLIES).copied().find(|framing| framing.name == name)
}

/// The framings of this name or, with a comma, of these names: that of requests, and that of replies.
pub fn pair(names: &str) -> Option<(&'static Framing, &'static Framing)> {
    let (requests, replies) = names.split_once(',').unwrap_or((names, names));
    Some((named(requests)?, named(replies)?))
}

/// The message of `len` bytes that begins at `begin`, once it is complete. `after` bytes end it.
fn counted(bytes: &[u8], begin: usize, len: usize, after: usize) -> Split {
    match begin.checked_add(len).and_then(|end| Some((end, end.checked_add(after)?))) {
        Some((end, next)) if next <= bytes.len() => Split::Message { begin, end, next },
        Some(_) => Split::More(len),
        None => Split::Broken("its length is too large"),
    }
}

/// Puts a head before the bytes of `out` from `start` on.
fn insert(out: &mut Vec<u8>, start: usize, head: &[u8]) {
    out.splice(start..start, head.iter().copied());
}

/// Adds the byte that ends a message. The message must not hold it.
fn end_with(out: &mut Vec<u8>, start: usize, end: u8, name: &str) -> Result<(), String> {
    match memchr::memchr(end, &out[start..]) {
        Some(_) => Err(format!(
            "the message holds {name}, which would end it: choose another {}, such as u32",
            Setting::Framing
        )),
        None => {
            out.push(end);
            Ok(())
        }
    }
}

/// Looks for the byte that ends a message.
fn until(bytes: &[u8], scan: &mut Scan, end: u8) -> Split {
    match memchr::memchr(end, bytes.get(scan.seen..).unwrap_or_default()) {
        Some(at) => {
            let end = scan.seen + at;
            Split::Message { begin: 0, end, next: end + 1 }
        }
        None => {
            scan.seen = bytes.len();
            Split::More(bytes.len())
        }
    }
}

/// Looks for the first `count` messages. They are taken as one, with the bytes that separate them. `framing`
/// must end each message with a byte.
pub fn split_many(framing: &Framing, count: usize, bytes: &[u8], scan: &mut Scan) -> Split {
    loop {
        match (framing.split)(bytes, scan) {
            Split::Message { next, .. } if scan.ended + 1 < count => {
                scan.ended += 1;
                scan.seen = next;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that can be a message in all framings.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let json = prop_oneof![
            Just("{}".to_owned()),
            Just(r#"{"id":1,"result":{"a":"b\"}]\\"}}"#.to_owned()),
            Just(r#"["[",{"x":[1,2]}]"#.to_owned()),
            "\"[a-zé{\\[ ]{0,300}\"",
            "[1-9][0-9]{0,5}",
        ];
        json.prop_map(String::into_bytes)
    }

    fn sealed(framing: &Framing, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            let start = out.len();
            out.extend_from_slice(message);
            (framing.seal)(&mut out, start).expect("a message");
        }
        out
    }

    /// Takes the messages out of bytes that come in pieces, as a slot does.
    fn received<'a>(framing: &Framing, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut buffer = Vec::new();
        let mut scan = Scan::default();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match (framing.split)(&buffer, &mut scan) {
                    Split::Message { begin, end, next } => {
                        messages.push(buffer[begin..end].to_vec());
                        buffer.drain(..next);
                        scan = Scan::default();
                    }
                    Split::More(_) => break,
                    Split::Broken(why) => panic!("{}: {why}", framing.name),
                }
            }
        }
        assert!(buffer.trim_ascii().is_empty(), "{}: {buffer:?} is left", framing.name);
        messages
    }

    #[test]
    fn names_differ() {
        for (index, framing) in FRAMINGS.iter().enumerate() {
            assert_eq!(FRAMINGS.iter().position(|other| other.name == framing.name), Some(index));
            assert!(named(framing.name).is_some_and(|found| std::ptr::eq(found, *framing)));
        }
        let (requests, replies) = pair("line,content-length").expect("framings");
        assert_eq!((requests.name, replies.name), ("line", "content-length"));
        assert!(pair("line,").is_none() && pair("line,nul,u32").is_none());
    }

    #[test]
    fn a_message_of_no_bytes() {
        for framing in FRAMINGS.iter().filter(|framing| framing.name != "json") {
            let bytes = sealed(framing, &[Vec::new(), Vec::new()]);
            assert_eq!(received(framing, [&bytes[..]].into_iter()), [b"", b""], "{}", framing.name);
        }
    }

    #[test]
    fn nothing_is_no_message() {
        for framing in FRAMINGS {
            assert_eq!((framing.split)(b"", &mut Scan::default()), Split::More(0));
        }
    }

    #[test]
    fn a_long_message_is_known_by_its_head() {
        for name in ["u16", "u32", "u32le", "content-length", "netstring", "varint"] {
            let framing = named(name).expect("a framing");
            let bytes = sealed(framing, &[vec![b'x'; 60_000]]);
            let split = (framing.split)(&bytes[..30], &mut Scan::default());
            assert_eq!(split, Split::More(60_000), "{name}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(message(), 0..8),
            cut in 1_usize..40,
        ) {
            for framing in FRAMINGS {
                let bytes = sealed(framing, &messages);
                prop_assert_eq!(&received(framing, bytes.chunks(cut)), &messages, "{}", framing.name);
            }
        }

        #[test]
        fn bytes_that_are_no_text_come_out_as_well(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
            cut in 1_usize..40,
        ) {
            for name in ["u16", "u32", "u32le", "content-length", "netstring", "varint"] {
                let framing = named(name).expect("a framing");
                let bytes = sealed(framing, &messages);
                prop_assert_eq!(&received(framing, bytes.chunks(cut)), &messages, "{}", name);
            }
        }

        #[test]
        fn many_messages_are_one_reply(
            replies in prop::collection::vec(prop::collection::vec("[a-z]{0,5}", 3), 1..5),
            cut in 1_usize..40,
        ) {
            for (framing, end) in [(&line::LINE, "\n"), (&nul::NUL, "\0")] {
                let bytes: String = replies.iter().flatten().map(|part| part.clone() + end).collect();
                let mut scan = Scan::default();
                let mut at = 0;
                let mut found = Vec::new();
                for until in (0..bytes.len()).step_by(cut).chain([bytes.len()]) {
                    while let Split::Message { begin, end, next } =
                        split_many(framing, 3, &bytes.as_bytes()[at..until.max(at)], &mut scan)
                    {
                        found.push(bytes[at + begin..at + end].to_owned());
                        at += next;
                        scan = Scan::default();
                    }
                }
                let expected: Vec<_> = replies.iter().map(|parts| parts.join(end)).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn a_part_of_a_message_is_none(message in message()) {
            for framing in FRAMINGS {
                let bytes = sealed(framing, std::slice::from_ref(&message));
                // The bytes after a JSON value end it, so its last byte is optional.
                let whole = if framing.name == "json" { message.len() } else { bytes.len() };
                for len in 0..whole {
                    let split = (framing.split)(&bytes[..len], &mut Scan::default());
                    prop_assert!(matches!(split, Split::More(_)), "{} {len}: {split:?}", framing.name);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            cut in 1_usize..40,
        ) {
            for framing in FRAMINGS {
                let mut scan = Scan::default();
                let mut begin = 0;
                for end in (0..bytes.len()).step_by(cut) {
                    match (framing.split)(&bytes[begin..end.max(begin)], &mut scan) {
                        Split::Message { begin: from, end: to, next } => {
                            prop_assert!(from <= to && to <= next && begin + next <= end);
                            prop_assert!(next > 0, "{} makes no progress", framing.name);
                            begin += next;
                            scan = Scan::default();
                        }
                        Split::More(_) => {}
                        Split::Broken(_) => break,
                    }
                }
            }
        }
    }
}
