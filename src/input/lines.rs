//! Splits a stream of bytes into lines or CSV records. A line that is too long is skipped piece by
//! piece, and is never held in memory.

use super::csv::RecordEnds;
use crate::util::buffer::TypicalSize;

/// A line, without the byte that ends it.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Its bytes.
    pub text: Result<&'a [u8], LineTooLong>,
    /// It is a CSV record with a quote that is not closed, and holds all the rest of the stream.
    pub is_open: bool,
    /// Where it begins in the stream, in bytes.
    pub begin: u64,
    /// Where it ends in the stream, in bytes, after the byte that ends it.
    pub end: u64,
}

/// A line is longer than this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong(pub usize);

/// The bytes that have come and the lines found in them.
#[derive(Debug)]
pub struct Lines {
    delimiter: u8,
    max: usize,
    buffer: Vec<u8>,
    /// How many bytes of the stream came before those of the buffer.
    before: u64,
    /// Where the next line begins: within the buffer, or at its end.
    start: usize,
    /// How many bytes from `start` on were searched: no line ends in them. The buffer only grows
    /// meanwhile, so it holds all of them.
    seen: usize,
    /// The current line is too long. Its bytes are dropped as they come.
    skipping: bool,
    /// How many lines there have been.
    number: u64,
    /// Lines are CSV records: a quoted newline does not end them.
    csv: Option<Box<RecordEnds>>,
    typical: TypicalSize,
}

impl Lines {
    /// Lines end with `delimiter` and have at most `max` bytes.
    pub fn new(delimiter: u8, max: usize) -> Self {
        Self {
            delimiter,
            max,
            buffer: Vec::new(),
            before: 0,
            start: 0,
            seen: 0,
            skipping: false,
            number: 0,
            csv: None,
            typical: TypicalSize::new(),
        }
    }

    /// As [`Lines::new`], or CSV records: a quoted newline does not end them, and blank lines do not count.
    pub fn with(is_csv: bool, delimiter: u8, max: usize) -> Self {
        match RecordEnds::new(is_csv) {
            Some(ends) => Self { csv: Some(Box::new(ends)), ..Self::new(b'\n', max) },
            None => Self::new(delimiter, max),
        }
    }

    /// The buffer. Append the next bytes of the stream to it after [`Lines::next`] has returned `None`.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        let held = self.buffer.len();
        self.buffer.drain(..self.start);
        self.before += self.start as u64;
        self.start = 0;
        self.typical.shrink(held, &mut self.buffer);
        &mut self.buffer
    }

    /// Takes the whole lines in the next `most` bytes. Returns the number of the first line, the bytes
    /// of all lines with their ends, and how many lines there are. `None`: there is no whole line, or a
    /// line may be too long. Then call [`Lines::next`].
    pub fn whole(&mut self, most: usize) -> Option<(u64, &[u8], usize)> {
        let rest = &self.buffer[self.start..];
        let len = memchr::memrchr(self.delimiter, &rest[..rest.len().min(most)])? + 1;
        if self.skipping || len > self.max {
            return None;
        }
        let count = memchr::memchr_iter(self.delimiter, &rest[..len]).count();
        let begin = self.start;
        let first = self.number + 1;
        self.start = begin + len;
        self.seen = 0;
        self.number += count as u64;
        Some((first, &self.buffer[begin..begin + len], count))
    }

    /// Takes whole lines for as long as `take` takes them. `take` gets the number of a line and bytes that begin with
    /// it. It returns the length of the line; `None`: it is left, or is not whole. A line that is too long is left.
    /// There are no records of CSV.
    pub fn take_while(&mut self, mut take: impl FnMut(u64, &[u8]) -> Option<usize>) {
        let rest = &self.buffer[self.start..];
        // A long line that comes in pieces is looked at only when it is whole.
        let is_whole =
            self.seen == 0 || memchr::memchr(self.delimiter, &rest[self.seen..]).is_some();
        if self.skipping || !is_whole {
            return;
        }
        let mut begin = 0;
        loop {
            let bytes = &rest[begin..];
            let bytes = &bytes[..bytes.len().min(self.max.saturating_add(1))];
            let Some(len) = take(self.number + 1, bytes) else { break };
            self.number += 1;
            begin += len + 1;
        }
        if begin > 0 {
            self.start += begin;
            self.seen = 0;
        }
    }

    /// The next line. `None`: more bytes are needed or, if `at_end` says that the stream has ended,
    /// there are no more lines. The last line need not have an end.
    pub fn next(&mut self, at_end: bool) -> Option<Line<'_>> {
        if !self.begin_record(at_end) {
            return None;
        }
        let rest = &self.buffer[self.start..];
        let found = match &mut self.csv {
            None => memchr::memchr(self.delimiter, &rest[self.seen..]),
            Some(csv) => csv.end(&rest[self.seen..]),
        };
        let mut is_open = false;
        let (len, step) = match found.map(|at| self.seen + at) {
            Some(at) => (at, at + 1),
            None if at_end && (!rest.is_empty() || self.skipping) => {
                // If a line break does not end the last record, a quote in it is not closed.
                is_open = self.csv.as_mut().is_some_and(|csv| csv.end(b"\n").is_none());
                (rest.len(), rest.len())
            }
            None => {
                self.seen = rest.len();
                if self.skipping || self.seen > self.max {
                    if let Some(csv) = &mut self.csv {
                        csv.newlines += newlines(rest);
                    }
                    self.skipping = true;
                    self.start = self.buffer.len();
                    self.seen = 0;
                }
                return None;
            }
        };
        let too_long = self.skipping || len > self.max;
        let begin = self.start;
        self.start += step;
        self.seen = 0;
        self.skipping = false;
        let line = &self.buffer[begin..begin + len];
        self.number += 1;
        let number = self.number;
        if let Some(csv) = &mut self.csv {
            csv.is_after_return = self.buffer.get(begin + len) == Some(&b'\r');
            self.number += std::mem::take(&mut csv.newlines) + newlines(line);
        }
        let text = if too_long { Err(LineTooLong(self.max)) } else { Ok(line) };
        let (start, end) = (self.before + begin as u64, self.before + self.start as u64);
        Some(Line { number, text, is_open, begin: start, end })
    }

    /// Skips line breaks before a CSV record and, at the beginning of the stream, the mark of UTF-8.
    /// Returns whether the record can be read.
    fn begin_record(&mut self, at_end: bool) -> bool {
        let Some(csv) = &mut self.csv else { return true };
        if self.seen > 0 || self.skipping {
            return true;
        }
        if !csv.has_begun {
            let rest = &self.buffer[self.start..];
            if rest.len() < MARK.len() && MARK.starts_with(rest) && !at_end {
                return false;
            }
            csv.has_begun = true;
            self.start += if rest.starts_with(MARK) { MARK.len() } else { 0 };
        }
        let rest = &self.buffer[self.start..];
        let len = rest.iter().position(|byte| !b"\n\r".contains(byte)).unwrap_or(rest.len());
        let breaks = &rest[..len];
        if let Some(first) = breaks.first() {
            // If a CR ended the last record, the LF after it is not another line break.
            let is_after_return = std::mem::take(&mut csv.is_after_return);
            let counted = if is_after_return && *first == b'\n' { &breaks[1..] } else { breaks };
            self.number += newlines(counted);
        }
        self.start += len;
        true
    }
}

/// The mark of UTF-8 that some editors begin a file with.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All lines of `bytes`, which arrive in pieces of `piece` bytes.
    fn lines(bytes: &[u8], piece: usize, max: usize) -> Vec<Result<Vec<u8>, LineTooLong>> {
        let mut lines = Lines::new(b'\n', max);
        let mut all = Vec::new();
        let mut pieces = bytes.chunks(piece);
        loop {
            let piece = pieces.next();
            lines.buffer().extend_from_slice(piece.unwrap_or_default());
            assert!(lines.buffer.len() <= max + piece.map_or(0, <[u8]>::len) + 1);
            while let Some(line) = lines.next(piece.is_none()) {
                all.push(line.text.map(<[u8]>::to_vec));
                assert_eq!(line.number, all.len() as u64);
            }
            if piece.is_none() {
                return all;
            }
        }
    }

    #[test]
    fn the_last_line_needs_no_newline() {
        let texts = |bytes: &[u8]| -> Vec<_> {
            lines(bytes, 3, 100).into_iter().map(|line| line.expect("short")).collect()
        };
        assert_eq!(texts(b""), Vec::<Vec<u8>>::new());
        assert_eq!(texts(b"\n"), [b""]);
        assert_eq!(texts(b"a\nb"), [b"a", b"b"]);
        assert_eq!(texts(b"a\nb\n"), [b"a", b"b"]);
        assert_eq!(texts(b"a\n\nb"), [b"a".as_slice(), b"", b"b"]);
    }

    #[test]
    fn a_long_line_is_skipped_alone() {
        let too_long = Err(LineTooLong(3));
        assert_eq!(
            lines(b"abc\nabcd\nab", 2, 3),
            [Ok(b"abc".to_vec()), Err(LineTooLong(3)), Ok(b"ab".to_vec())]
        );
        assert_eq!(lines(b"abcdefgh", 2, 3), std::slice::from_ref(&too_long));
        assert_eq!(lines(b"abcdefgh\n", 1, 3), [too_long]);
    }

    /// All CSV records of `bytes`, which arrive in pieces of `piece` bytes.
    fn records(bytes: &[u8], piece: usize, max: usize) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::with(true, b'\n', max);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece).map(Some).chain([None]) {
            lines.buffer().extend_from_slice(piece.unwrap_or_default());
            while let Some(line) = lines.next(piece.is_none()) {
                let text = line.text.map(|text| String::from_utf8_lossy(text).into_owned());
                all.push((line.number, text.ok()));
            }
        }
        all
    }

    #[test]
    fn a_long_record_has_as_many_lines_as_it_has() {
        let some = |number, text: &str| (number, Some(text.to_owned()));
        for piece in 1..20 {
            let found = records(b"a\n\"b\nc\nd\ne\"\n\r\n\ng\n\n\n\n\n\n\n\n", piece, 4);
            assert_eq!(found, [some(1, "a"), (2, None), some(8, "g")], "{piece}");
        }
    }

    #[test]
    fn a_mark_of_utf_8_is_no_part_of_the_first_record() {
        let some = |number, text: &str| (number, Some(text.to_owned()));
        for piece in 1..9 {
            let found = records(b"\xef\xbb\xbf\"a\nb\"\n\xef\xbb\xbf\"c\n", piece, 100);
            assert_eq!(found, [some(1, "\"a\nb\""), some(3, "\u{feff}\"c")], "{piece}");
            assert_eq!(records(b"\xef\xbb\xbf\n", piece, 100), []);
            assert_eq!(records(b"\xef\xbb", piece, 100), [some(1, "\u{fffd}")]);
        }
    }

    proptest! {
        #[test]
        fn records_go_by_their_bytes_and_not_by_their_pieces(
            bytes in prop::collection::vec(prop::sample::select(b"a\",\n\r".to_vec()), 0..60),
            piece in 1_usize..10,
            max in 0_usize..12,
        ) {
            prop_assert_eq!(records(&bytes, piece, max), records(&bytes, 100, max));
        }

        #[test]
        fn as_the_standard_library_splits(
            bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..60),
            piece in 1_usize..10,
            max in 0_usize..6,
        ) {
            let mut expected: Vec<_> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let expected: Vec<_> = expected
                .into_iter()
                .map(|line| if line.len() > max { Err(LineTooLong(max)) } else { Ok(line) })
                .collect();
            prop_assert_eq!(lines(&bytes, piece, max), expected);
        }

        #[test]
        fn whoever_takes_them_the_lines_are_the_same(
            bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..60),
            most in prop::collection::vec(0_usize..4, 1..8),
            piece in 1_usize..30,
            max in 0_usize..6,
        ) {
            let mut taken = Lines::new(b'\n', max);
            let (mut all, mut most) = (Vec::new(), most.into_iter().cycle());
            for piece in bytes.chunks(piece).map(Some).chain([None]) {
                taken.buffer().extend_from_slice(piece.unwrap_or_default());
                loop {
                    let mut left = most.next().unwrap_or_default();
                    taken.take_while(|number, bytes| {
                        let len = memchr::memchr(b'\n', bytes).filter(|_| left > 0)?;
                        all.push((number, Ok(bytes[..len].to_vec())));
                        left -= 1;
                        Some(len)
                    });
                    let Some(line) = taken.next(piece.is_none()) else { break };
                    all.push((line.number, line.text.map(<[u8]>::to_vec)));
                }
            }
            let expected = lines(&bytes, piece, max);
            let expected: Vec<_> = expected.into_iter().enumerate().map(|(nth, line)| (nth as u64 + 1, line)).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
