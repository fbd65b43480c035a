//! Which jobs a journal has records of, and where: 32 bytes a record. Results stay in the file.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::record::{self, Window};
use crate::job::key::{Digest128, Key};

/// A journal is read in pieces of so many bytes while it is looked through…
const PIECE: usize = 1 << 20;

/// …and of so many while results are read back.
const LOOK: usize = 64 << 10;

/// A record, in 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    digest: Digest128,
    /// Where the record begins in the file, twice that, and one more if the job has succeeded.
    place: u64,
    nth: NonZeroU32,
    /// In the first entry with its digest: how many such jobs were read in this run.
    seen: u32,
}

/// All records that count.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In the order of their digests.
    entries: Vec<Entry>,
    /// Where each of so many equal parts of all digests begins: to look through all entries for each
    /// job would cost a dozen of accesses to memory that is in no cache.
    parts: Vec<usize>,
}

/// A part has so many entries, about.
const PART: usize = 16;

/// What a journal holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) index: Index,
    /// The length of its whole lines.
    pub(super) len: u64,
    /// The last line is torn: it has so many bytes.
    pub(super) torn: u64,
    /// What is recorded of how lines are packed.
    pub(super) pack: Option<usize>,
}

/// Why a journal can't be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It can't be read.
    Io(io::Error),
    /// This line of it is no record.
    Line(u64),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Index {
    /// Looks through a journal, and for the record with the digest `pack` ([`record::pack_line`]).
    ///
    /// # Errors
    /// It can't be read, or is not a journal, or a damaged one. Only its last line may be torn.
    pub(super) fn load(file: &File, pack: Digest128) -> Result<Found, Unusable> {
        let mut at = At::new(file.try_clone()?, 0, PIECE);
        let mut found = Found::default();
        let mut entries = Vec::new();
        let mut number = 0;
        loop {
            let (begin, line) = (at.offset(), at.look()?);
            number += 1;
            let key = record::key(line);
            if let Some(end) = memchr::memchr(b'\n', line) {
                let line = &line[..=end];
                // A raw value, since that has to be UTF-8.
                let is_json = serde_json::from_slice::<&RawValue>(line).is_ok();
                let key = key.filter(|_| is_json).ok_or(Unusable::Line(number))?;
                if key.0.digest == pack {
                    found.pack = record::pack(line);
                }
                entries.push(entry(key, begin));
                at.consume(end + 1);
                continue;
            }
            // It is too long to be looked at now, or has no end.
            let begins_as = Beginning::of(line);
            let rest = at.skip_line()?;
            if !rest.has_end && begins_as.is_torn(rest.zeros_from) {
                (found.len, found.torn) = (begin, at.offset() - begin);
                found.index = Self::of(entries);
                return Ok(found);
            }
            let is_whole = rest.has_end && rest.last == b'}' && rest.is_text(file, begin)?;
            let key = key.filter(|_| is_whole).ok_or(Unusable::Line(number))?;
            entries.push(entry(key, begin));
        }
    }

    /// Of several records of a job the last one counts, and only successes count.
    fn of(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by_key(|entry| (entry.digest, entry.nth, !entry.place));
        entries.dedup_by_key(|entry| (entry.digest, entry.nth));
        entries.retain(|entry| entry.place & 1 == 1);
        let mut index = Self { parts: Vec::new(), entries };
        let parts = index.entries.len() / PART + 1;
        let mut at = 0;
        for part in 0..parts {
            let is_before = |entry: &&Entry| part_of(entry.digest, parts) < part;
            at += index.entries[at..].iter().take_while(is_before).count();
            index.parts.push(at);
        }
        index
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Which job with this digest the one is that has just been read, and where its record begins.
    /// `None`: no such job is recorded.
    pub(super) fn next(&mut self, digest: Digest128) -> Option<(u32, Option<u64>)> {
        let part = part_of(digest, self.parts.len());
        let begin = *self.parts.get(part)?;
        let end = self.parts.get(part + 1).copied().unwrap_or(self.entries.len());
        let first = begin + self.entries[begin..end].partition_point(|entry| entry.digest < digest);
        let entry = self.entries.get_mut(first).filter(|entry| entry.digest == digest)?;
        entry.seen = entry.seen.saturating_add(1);
        let nth = entry.seen;
        let key = |entry: &Entry| (entry.digest, entry.nth.get());
        // The nth of them stands no further back than that, since they are in order.
        let last = self.entries.len().min(first + nth as usize);
        let place = self.entries[first..last].binary_search_by_key(&(digest, nth), key).ok();
        Some((nth, place.map(|at| self.entries[first + at].place / 2)))
    }
}

/// Which of so many equal parts of all digests one is in.
fn part_of(digest: Digest128, parts: usize) -> usize {
    let [a, b, c, d, ..] = digest.0;
    let begin = u64::from(u32::from_be_bytes([a, b, c, d]));
    // Less than `parts`, since it is less than that of all.
    ((u128::from(begin) * parts as u128) >> 32) as usize
}

fn entry((key, is_ok): (Key, bool), begin: u64) -> Entry {
    Entry { digest: key.digest, place: 2 * begin + u64::from(is_ok), nth: key.nth, seen: 0 }
}

/// What a line without an end begins with.
#[derive(Clone, Copy)]
enum Beginning {
    /// It is a record, as far as it goes.
    Record,
    /// So many bytes of one, and then zeros: after a power cut, some file systems have them where
    /// something was to be.
    Zeros(u64),
    Other,
}

impl Beginning {
    fn of(line: &[u8]) -> Self {
        let len = line.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        match line.starts_with(record::BEGIN) {
            true => Self::Record,
            false if record::BEGIN.starts_with(&line[..len]) => Self::Zeros(len as u64),
            false => Self::Other,
        }
    }

    /// Whether the line, which has nothing but zeros from this byte on, may be the beginning of a
    /// record: a file that is no journal at all must not be cut.
    fn is_torn(self, zeros_from: u64) -> bool {
        match self {
            Self::Record => true,
            Self::Zeros(len) => len == zeros_from,
            Self::Other => false,
        }
    }
}

/// What a line holds that is too long to be looked at at once.
#[derive(Debug, Default)]
struct Long {
    /// How many bytes it has before its end.
    len: u64,
    has_end: bool,
    last: u8,
    /// From this byte on there are only zeros.
    zeros_from: u64,
    /// A byte of it is no UTF-8, or a control character, of which JSON has but a few, between its values.
    is_damaged: bool,
    /// One of those that it may have: a tab.
    has_tab: bool,
}

impl Long {
    /// Adds bytes of it, whole characters of UTF-8 if they are that at all.
    fn add(&mut self, part: &[u8], is_utf8: bool) {
        if let Some(last) = part.iter().rposition(|&byte| byte != 0) {
            self.zeros_from = self.len + last as u64 + 1;
        }
        self.len += part.len() as u64;
        self.last = part.last().copied().unwrap_or(self.last);
        self.is_damaged |= !is_utf8 || part.iter().any(|&byte| byte < b' ' && byte != b'\t');
        self.has_tab |= memchr::memchr(b'\t', part).is_some();
    }

    /// Whether it has only bytes that a record has. To parse it takes much longer, and is done only to
    /// know where a tab stands.
    fn is_text(&self, file: &File, begin: u64) -> io::Result<bool> {
        if self.is_damaged || !self.has_tab {
            return Ok(!self.is_damaged);
        }
        let line = At::new(file.try_clone()?, begin, PIECE).take(self.len);
        match serde_json::from_reader::<_, IgnoredAny>(line) {
            Err(error) if error.is_io() => Err(error.into()),
            outcome => Ok(outcome.is_ok()),
        }
    }
}

/// A file that is read from some place on.
#[derive(Debug)]
pub(super) struct At {
    file: File,
    /// What was read and not consumed is `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    /// Where the buffer ends in the file.
    end: u64,
    /// How much is read at once.
    piece: usize,
}

impl At {
    fn new(file: File, offset: u64, piece: usize) -> Self {
        Self { file, buffer: Vec::new(), at: 0, end: offset, piece }
    }

    /// One that reads records here and there.
    pub(super) fn records(file: File) -> Self {
        Self::new(file, 0, LOOK)
    }

    /// Where the next byte stands in the file.
    fn offset(&self) -> u64 {
        self.end - (self.buffer.len() - self.at) as u64
    }

    /// Goes to a place in the file; what is in memory is not read again.
    pub(super) fn go(&mut self, offset: u64) {
        let begin = self.end - self.buffer.len() as u64;
        match offset.checked_sub(begin).map(usize::try_from) {
            Some(Ok(at)) if at <= self.buffer.len() => self.at = at,
            _ => (self.at, self.end) = (0, offset),
        }
        if self.end == offset {
            self.buffer.clear();
            self.at = 0;
        }
    }

    /// Reads one more piece. Returns whether there was any.
    fn more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + self.piece, 0);
        let read = loop {
            match self.file.read_at(&mut self.buffer[len..], self.end) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(len + count);
        self.end += count as u64;
        read.map(|count| count > 0)
    }

    /// Skips a line, and says what it holds.
    fn skip_line(&mut self) -> io::Result<Long> {
        let mut line = Long::default();
        loop {
            // A character that ends behind what was read so far comes whole with what follows.
            let is_over = self.buffer.len() - self.at < 4 && !self.more()?;
            let rest = &self.buffer[self.at..];
            if rest.is_empty() {
                return Ok(line);
            }
            let end = memchr::memchr(b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            let (len, is_utf8) = match std::str::from_utf8(part) {
                Err(error) if error.error_len().is_none() && end.is_none() && !is_over => {
                    (error.valid_up_to(), true)
                }
                outcome => (part.len(), outcome.is_ok()),
            };
            line.add(&part[..len], is_utf8);
            self.consume(len + usize::from(end.is_some()));
            if end.is_some() {
                line.has_end = true;
                return Ok(line);
            }
        }
    }
}

impl Window for At {
    fn look(&mut self) -> io::Result<&[u8]> {
        while self.buffer.len() - self.at < self.piece
            && memchr::memchr(b'\n', &self.buffer[self.at..]).is_none()
            && self.more()?
        {}
        Ok(&self.buffer[self.at..])
    }
}

impl BufRead for At {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.more()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for At {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut buffer = self.fill_buf()?;
        let count = buffer.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn digest(n: u8) -> Digest128 {
        Digest128([n; 16])
    }

    fn line(n: u8, nth: u32, is_ok: bool, rest: &str) -> String {
        let hex = format!("{n:02x}").repeat(16);
        format!("{{\"key\":\"{hex}\",\"nth\":{nth},\"ok\":{is_ok},\"attempt\":1{rest}}}\n")
    }

    fn load(text: impl AsRef<[u8]>) -> Result<Found, Unusable> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_ref()).expect("written");
        Index::load(&file, digest(0xff))
    }

    #[test]
    fn an_entry_takes_32_bytes() {
        assert_eq!(size_of::<Entry>(), 32);
    }

    #[test]
    fn the_last_record_of_a_job_counts_and_only_successes() {
        let lines = [
            line(7, 1, false, ""),
            line(3, 1, true, ""),
            line(7, 1, true, ""),
            line(3, 1, false, ""),
            line(7, 3, true, ""),
        ];
        let mut index = load(lines.concat()).expect("a journal").index;
        assert_eq!(index.len(), 2);
        assert_eq!(index.next(digest(3)), None);
        let place = |count: usize| lines[..count].concat().len() as u64;
        assert_eq!(index.next(digest(7)), Some((1, Some(place(2)))));
        assert_eq!(index.next(digest(7)), Some((2, None)));
        assert_eq!(index.next(digest(7)), Some((3, Some(place(4)))));
        assert_eq!(index.next(digest(7)), Some((4, None)));
    }

    #[test]
    fn a_last_line_is_torn_at_any_byte() {
        let long = format!(",\"result\":\"{}\"", "x".repeat(2 * PIECE));
        for last in [line(2, 1, true, ",\"result\":[1]"), line(2, 1, true, &long)] {
            let first = line(1, 1, true, "");
            let step = last.len() / 100 + 1;
            for cut in (0..last.len()).step_by(step).chain([last.len() - 1]) {
                let found = load([&first, &last[..cut]].concat()).expect("a journal");
                assert_eq!((found.len, found.torn), (first.len() as u64, cut as u64));
                assert_eq!(found.index.len(), 1);
            }
            let found = load([&first[..], &last].concat()).expect("a journal");
            assert_eq!((found.torn, found.index.len()), (0, 2));
        }
    }

    #[test]
    fn what_is_no_journal_is_not_cut() {
        let good = line(1, 1, true, "");
        for (text, number) in [
            ("no journal".to_owned(), 1),
            ("a\nb".to_owned(), 1),
            (format!("{good}\n{good}"), 2),
            (format!("{good}{}\n{good}", &good[..60]), 2),
            (format!("{good}{good}{}", good.replace("true", "maybe")), 3),
            (good.replace("\"nth\":1", "\"nth\":0"), 1),
            (format!("{good}also"), 2),
        ] {
            match load(&text) {
                Err(Unusable::Line(line)) => assert_eq!(line, number, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn zeros_at_the_end_are_cut_off_with_what_stands_before_them() {
        let good = line(1, 1, true, "");
        for zeros in [1, 9, PIECE, 2 * PIECE] {
            for begun in [0, 1, 7, 8, 30, good.len() - 1] {
                let tail = [&good.as_bytes()[..begun], &vec![0; zeros]].concat();
                let found = load([good.as_bytes(), &tail].concat()).expect("a journal");
                let expected = (good.len() as u64, tail.len() as u64);
                assert_eq!((found.len, found.torn), expected, "{begun} bytes, {zeros} zeros");
            }
            // A file of zeros and something else is no journal.
            for begun in ["", "{\"ke"] {
                let tail = [begun.as_bytes(), &vec![0; zeros], b"else"].concat();
                let found = load([good.as_bytes(), &tail].concat());
                assert!(matches!(found, Err(Unusable::Line(2))), "{begun}, {zeros} zeros");
            }
        }
    }

    #[test]
    fn a_long_record_is_text_as_well() {
        let long = format!(",\"result\":[\t\"{}\"]", "xé".repeat(PIECE));
        let good = line(1, 1, true, &long).into_bytes();
        assert!(load([&good[..], &good].concat()).is_ok());
        for at in [100, PIECE - 1, PIECE, PIECE + 7, good.len() - 9] {
            for bad in [&b"\0"[..], b"\t", b"\x01", b"\r", b"\x1f", b"\xff", &[0; 4096]] {
                let mut text = good.clone();
                let end = (at + bad.len()).min(good.len() - 5);
                text[at..end].copy_from_slice(&bad[..end - at]);
                let found = load([&text[..], &good].concat());
                assert!(matches!(found, Err(Unusable::Line(1))), "{bad:?} at {at}");
            }
        }
    }

    #[test]
    fn a_record_is_text() {
        let text = [line(1, 1, true, ""), line(2, 1, true, ",\"result\":\"x\"")].concat();
        assert!(load(&text).is_ok());
        let mut text = text.into_bytes();
        let last = text.len() - "x\"}\n".len();
        text[last] = 0xff;
        assert!(matches!(load(&text), Err(Unusable::Line(2))));
    }

    #[test]
    fn lines_are_read_from_anywhere() {
        let lines: Vec<String> = (0..200).map(|n| format!("{}\n", "y".repeat(n * 17))).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(lines.concat().as_bytes()).expect("written");
        let mut at = At::new(file, 0, 1000);
        for n in (0..200).chain((0..200).rev()).chain((0..200).map(|n| n * 77 % 200)) {
            at.go(lines[..n].concat().len() as u64);
            let mut line = Vec::new();
            at.read_until(b'\n', &mut line).expect("read");
            assert_eq!(line, lines[n].as_bytes(), "line {n}");
        }
    }

    proptest! {
        #[test]
        fn jobs_find_their_records(records in prop::collection::vec((0_u8..6, 1_u32..5, any::<bool>()), 0..40)) {
            let text: String = records.iter().map(|&(n, nth, ok)| line(n, nth, ok, "")).collect();
            let mut index = load(&text).expect("a journal").index;
            for n in 0..6 {
                for nth in 1..5 {
                    let last = records.iter().rposition(|&(m, mth, _)| (m, mth) == (n, nth));
                    let expected = last.filter(|&at| records[at].2).map(|at| {
                        records[..at].iter().map(|&(n, nth, ok)| line(n, nth, ok, "").len()).sum::<usize>() as u64
                    });
                    match index.next(digest(n)) {
                        None => prop_assert_eq!(expected, None),
                        Some((count, place)) => prop_assert_eq!((count, place), (nth, expected)),
                    }
                }
            }
        }
    }
}
