//! Marks: texts and patterns that end a reply, for programs that answer with any number of lines.

use std::fmt;

use memchr::memmem::Finder;

use super::framing::{Scan, Split};

/// A match of a pattern has at most this many bytes, if it comes in several pieces.
#[cfg(feature = "unstable-engine")]
const LONGEST_MATCH: usize = 4 << 10;

/// What ends a reply.
#[derive(Clone, Debug)]
pub enum Mark {
    /// An empty line.
    BlankLine,
    /// A text, such as a prompt.
    Text(Box<Finder<'static>>),
    /// The first match of a pattern. `^` and `$` match at each line.
    #[cfg(feature = "unstable-engine")]
    Pattern(regex::bytes::Regex),
}

/// A text is no mark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkError {
    /// The text has an escape sequence, which it would have to hold as it is.
    Escape(String),
    /// The pattern is wrong, and why.
    Pattern(String),
    /// The pattern matches nothing at all.
    MatchesNothing,
    /// The library was built without patterns.
    NoPatterns,
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escape(text) => write!(
                f,
                "the text is taken as it is, so it would wait for a backslash: give 're:{text}', where \
                 backslashes have their meaning"
            ),
            Self::Pattern(why) => write!(f, "the pattern is wrong: {why}"),
            Self::MatchesNothing => {
                f.write_str("the pattern matches an empty text, so it would match everywhere")
            }
            Self::NoPatterns => f.write_str("this program was built without patterns"),
        }
    }
}

impl std::error::Error for MarkError {}

impl Mark {
    /// Reads a mark: a text, `re:` and a pattern, or nothing for a blank line.
    ///
    /// # Errors
    /// The text is no mark.
    pub fn parse(text: &str) -> Result<Self, MarkError> {
        if text.is_empty() {
            return Ok(Self::BlankLine);
        }
        if let Some(pattern) = text.strip_prefix("re:") {
            return Self::pattern(pattern);
        }
        let is_escape = |after: char| matches!(after, 'n' | 'r' | 't' | '0' | 'x');
        let escapes = text.match_indices('\\').filter_map(|(at, _)| text[at + 1..].chars().next());
        if escapes.into_iter().any(is_escape) {
            return Err(MarkError::Escape(text.to_owned()));
        }
        Ok(Self::Text(Box::new(Finder::new(text).into_owned())))
    }

    #[cfg(feature = "unstable-engine")]
    fn pattern(pattern: &str) -> Result<Self, MarkError> {
        let regex = super::pattern(pattern).map_err(MarkError::Pattern)?;
        if regex.is_match(b"") {
            return Err(MarkError::MatchesNothing);
        }
        Ok(Self::Pattern(regex))
    }

    #[cfg(not(feature = "unstable-engine"))]
    fn pattern(_: &str) -> Result<Self, MarkError> {
        Err(MarkError::NoPatterns)
    }

    /// Looks for the first reply, as [`Framing::split`](super::framing::Framing::split) does for a message.
    /// The mark and a newline before it are not a part of the reply, unless `keeps` is set. A newline after
    /// the mark belongs to it, unless the mark ends with a blank, as prompts do.
    pub fn split(&self, keeps: bool, bytes: &[u8], scan: &mut Scan) -> Split {
        let Some((begin, end)) = self.find(bytes, scan.seen) else {
            scan.seen = bytes.len();
            return Split::More(0);
        };
        let reply = if keeps { end } else { without_newline(&bytes[..begin]).len() };
        let after = &bytes[end..];
        let mut next = end;
        if !bytes[end - 1].is_ascii_whitespace() {
            scan.owes_newline = matches!(after, [] | [b'\r']);
            next += leading_newline(after);
        }
        Split::Message { begin: 0, end: reply, next }
    }

    /// Where the first mark begins and ends. There was none before `seen`.
    fn find(&self, bytes: &[u8], seen: usize) -> Option<(usize, usize)> {
        match self {
            Self::BlankLine => blank_line(bytes, seen),
            Self::Text(finder) => {
                let len = finder.needle().len();
                let from = seen.saturating_sub(len - 1);
                finder.find(&bytes[from..]).map(|at| (from + at, from + at + len))
            }
            #[cfg(feature = "unstable-engine")]
            Self::Pattern(regex) => {
                let mut from = seen.saturating_sub(LONGEST_MATCH);
                loop {
                    let found = regex.find_at(bytes, from)?;
                    if !found.is_empty() {
                        return Some((found.start(), found.end()));
                    }
                    from = found.end() + 1;
                    if from > bytes.len() {
                        return None;
                    }
                }
            }
        }
    }
}

/// Where the first empty line is, with the newline before it.
fn blank_line(bytes: &[u8], seen: usize) -> Option<(usize, usize)> {
    let first = leading_newline(bytes);
    if first > 0 {
        return Some((0, first));
    }
    let from = seen.saturating_sub(2);
    let mut newlines = memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at);
    newlines.find_map(|at| {
        let len = leading_newline(&bytes[at + 1..]);
        (len > 0).then_some((at, at + 1 + len))
    })
}

/// The length of the newline that the bytes begin with; 0: they begin with none.
pub(crate) fn leading_newline(bytes: &[u8]) -> usize {
    match bytes {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// The bytes without the newline at their end.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The replies in some bytes that come in pieces of this length, as a worker takes them.
    fn replies(mark: &str, keeps: bool, bytes: &[u8], cut: usize) -> (Vec<String>, String) {
        let mark = Mark::parse(mark).expect("a mark");
        let mut scan = Scan::default();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for piece in bytes.chunks(cut) {
            buffer.extend_from_slice(piece);
            scan.drop_owed_newline(&mut buffer);
            while let Split::Message { begin, end, next } = mark.split(keeps, &buffer, &mut scan) {
                found.push(String::from_utf8_lossy(&buffer[begin..end]).into_owned());
                buffer.drain(..next);
                scan = scan.after_message();
            }
        }
        (found, String::from_utf8_lossy(&buffer).into_owned())
    }

    #[test]
    fn marks_of_all_kinds() {
        for (mark, bytes, expected) in [
            ("{ready}", "a\nb\n{ready}\n{ready}\nc{ready}\n", &["a\nb", "", "c"][..]),
            (">>> ", "2\n>>> >>> x>>> \n\n>>> ", &["2", "", "x", "\n"]),
            ("", "= a\n\n= b\nc\n\n\n? no\r\n\r\n", &["= a", "= b\nc", "", "? no"]),
            ("END", "\nEND\n\nEND\r\nEND\n", &["", "", ""]),
            ("re:^ok$", "not ok\nok\nok\n", &["not ok", ""]),
            ("re:^[a-z]+> ", "1 > 0\nmysql> x\nmysql> ", &["1 > 0", "x"]),
            (r"re:\n\.\n", "a\n.b\n.\nc\n.\n", &["a\n.b", "c"]),
        ] {
            for cut in 1..=bytes.len() {
                let (found, rest) = replies(mark, false, bytes.as_bytes(), cut);
                assert_eq!(found, expected, "{mark} {cut}");
                assert_eq!(rest, "", "{mark} {cut}");
            }
        }
        let kept = replies("END", true, b"a\nEND\nb\nEND\n", 100);
        assert_eq!(kept, (vec!["a\nEND".to_owned(), "b\nEND".to_owned()], String::new()));
    }

    #[test]
    fn no_marks() {
        for (text, part) in
            [(r"END\n", r"'re:END\n'"), ("re:(", "the pattern is wrong"), ("re:x*", "empty text")]
        {
            let error = Mark::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Mark::parse(r"C:\>").is_ok());
        let never = Mark::parse(r"re:\b").expect("a mark");
        assert_eq!(never.split(false, b"a b", &mut Scan::default()), Split::More(0));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 1_usize..40) {
            for mark in ["", "a", "\u{e9}", "re:[^a]b", "re:(?-u)\\xff"] {
                replies(mark, false, &bytes, cut);
                replies(mark, true, &bytes, cut);
            }
        }

        #[test]
        fn pieces_do_not_matter(bytes in "(a|b|\n|END|> ){0,30}", cut in 1_usize..9) {
            for mark in ["", "END", "> ", "re:^END"] {
                let whole = replies(mark, false, bytes.as_bytes(), 1000);
                let (found, rest) = replies(mark, false, bytes.as_bytes(), cut);
                prop_assert_eq!((found, rest), whole, "{}", mark);
            }
        }
    }
}
