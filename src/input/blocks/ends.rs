//! Where records end in bytes. This is a pure function of the bytes.

/// Where records end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordEnd {
    /// A record ends after the text `end`, if the text `start` comes next. Each may be empty. If both are,
    /// a record may end anywhere.
    Text {
        /// The text at the end of each record.
        end: Vec<u8>,
        /// The text at the beginning of each record.
        start: Vec<u8>,
    },
    /// Records are CSV: a newline ends one, unless it is within quotes.
    Csv,
}

impl RecordEnd {
    /// Records that end with this byte.
    pub fn byte(byte: u8) -> Self {
        Self::Text { end: vec![byte], start: Vec::new() }
    }

    /// The text to write after a record without an end.
    pub fn text(&self) -> &[u8] {
        match self {
            Self::Text { end, .. } => end,
            Self::Csv => b"\n",
        }
    }
}

/// The last place of a text in bytes.
pub(super) fn last(text: &[u8], bytes: &[u8]) -> Option<usize> {
    match text {
        &[byte] => memchr::memrchr(byte, bytes),
        _ => memchr::memmem::rfind(bytes, text),
    }
}

/// The first place of a text in bytes.
pub(super) fn first(text: &[u8], bytes: &[u8]) -> Option<usize> {
    match text {
        &[byte] => memchr::memchr(byte, bytes),
        _ => memchr::memmem::find(bytes, text),
    }
}

/// Finds the ends of CSV records in bytes that come piece by piece, from the beginning of a record on. It
/// stops only at quotes, so it is much quicker than a reader of the fields.
#[derive(Debug)]
pub(super) struct CsvScan {
    state: CsvState,
    /// The last byte that was seen ended a field.
    field_begins: bool,
    /// How many bytes were seen.
    pub(super) seen: u64,
    /// Where the first and the last record end that ended, in all bytes that were seen.
    pub(super) ends: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CsvState {
    /// Outside quotes.
    Open,
    /// Within quotes.
    Quoted,
    /// After a quote within quotes: the end of the quotes, or the first of two quotes that mean one.
    AfterQuote,
}

impl CsvScan {
    pub(super) fn new() -> Self {
        Self { state: CsvState::Open, field_begins: true, seen: 0, ends: None }
    }

    /// Looks at the next bytes.
    pub(super) fn look(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.state {
                CsvState::Open => self.look_outside(rest, self.seen + at as u64),
                CsvState::Quoted => match memchr::memchr(b'"', rest) {
                    Some(quote) => {
                        self.state = CsvState::AfterQuote;
                        quote + 1
                    }
                    None => rest.len(),
                },
                CsvState::AfterQuote if rest[0] == b'"' => {
                    self.state = CsvState::Quoted;
                    1
                }
                CsvState::AfterQuote => {
                    self.state = CsvState::Open;
                    self.field_begins = false;
                    0
                }
            };
        }
        self.seen += bytes.len() as u64;
    }

    /// Looks at bytes outside quotes, up to the next quote. They begin at `begin`. Returns how many were
    /// looked at.
    fn look_outside(&mut self, rest: &[u8], begin: u64) -> usize {
        let quote = memchr::memchr(b'"', rest);
        let open = &rest[..quote.unwrap_or(rest.len())];
        if let Some(last) = memchr::memrchr(b'\n', open) {
            let last = begin + last as u64 + 1;
            let first = match self.ends {
                Some((first, _)) => first,
                None => begin + memchr::memchr(b'\n', open).unwrap_or_default() as u64 + 1,
            };
            self.ends = Some((first, last));
        }
        if let Some(byte) = open.last() {
            self.field_begins = b",\n\r".contains(byte);
        }
        let Some(quote) = quote else { return rest.len() };
        // A quote within a field is a character like any other.
        if self.field_begins {
            self.state = CsvState::Quoted;
        }
        self.field_begins = false;
        quote + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ends of all records, by another scan after each byte.
    fn ends(bytes: &[u8]) -> Vec<usize> {
        let last = |len: usize| {
            let mut scan = CsvScan::new();
            scan.look(&bytes[..len]);
            scan.ends.map_or(0, |(_, last)| last)
        };
        (1..=bytes.len()).filter(|&len| last(len) == len as u64).collect()
    }

    #[test]
    fn quotes_hide_newlines() {
        for (text, expected) in [
            ("a,b\nc\n", vec![4, 6]),
            ("\"a\nb\",c\nd\n", vec![8, 10]),
            ("\"a\"\"\nb\"\n", vec![8]),
            ("5\" pipe\n\"6\"\" pipe\"\n", vec![8, 19]),
            ("a,\"b\n", vec![]),
            ("\"a\"b\"\n\"\n", vec![6]),
            ("a,\r\n\"\n\"\n", vec![4, 8]),
        ] {
            assert_eq!(ends(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        /// The same records end as for the reader of CSV that splits lines.
        #[cfg(feature = "csv")]
        #[test]
        fn records_are_those_of_the_reader(text in "[ab,\"\n]{0,24}") {
            let mut lines = crate::input::lines::Lines::with(true, b'\n', 1 << 20);
            lines.buffer().extend_from_slice(text.as_bytes());
            let mut expected = Vec::new();
            while let Some(line) = lines.next(false) {
                expected.push(usize::try_from(line.end).expect("small"));
            }
            // The reader skips blank lines, which are records of no fields.
            let is_blank = |end: &&usize| {
                let begin = text[..**end - 1].rfind('\n').map_or(0, |at| at + 1);
                begin == **end - 1
            };
            let found = ends(text.as_bytes());
            let skipped: Vec<_> = found.iter().filter(|end| !expected.contains(end)).collect();
            prop_assert!(skipped.iter().all(is_blank), "{:?} {:?}", found, expected);
            prop_assert!(expected.iter().all(|end| found.contains(end)), "{:?} {:?}", found, expected);
        }

        #[test]
        fn pieces_change_nothing(text in "[ab,\"\n\r]{0,24}", piece in 1_usize..5) {
            let mut whole = CsvScan::new();
            whole.look(text.as_bytes());
            let mut pieces = CsvScan::new();
            text.as_bytes().chunks(piece).for_each(|piece| pieces.look(piece));
            prop_assert_eq!(whole.ends, pieces.ends);
        }
    }
}
