//! The index of a journal: where the record of each job is, in 32 bytes a record. Results stay in the file.

use std::fs::File;
use std::io::{self, BufRead};
use std::num::NonZeroU32;

use serde_json::value::RawValue;

use super::reader::RecordReader;
use super::record::{self, Lookahead};
use crate::job::key::{Digest128, Key};

/// A record, in 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    digest: Digest128,
    /// Twice the place where the record begins in the file, plus 1 if the job has succeeded.
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
    /// Where each of several equal ranges of digests begins in `entries`. A binary search of all entries
    /// would miss the cache a dozen times for each job.
    parts: Vec<usize>,
}

/// The average number of entries in a part.
const PART: usize = 16;

/// The contents of a journal.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) index: Index,
    /// The length of its whole lines.
    pub(super) len: u64,
    /// How many bytes the torn last line has; 0: it is not torn.
    pub(super) torn: u64,
    /// The recorded limit for packing lines into jobs, in bytes.
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
    /// Reads all of a journal. The record with the digest `pack` has the limit for packing lines
    /// ([`record::pack_line`]).
    ///
    /// # Errors
    /// The file can't be read, or has a line that is no record. Only the last line may be torn.
    pub(super) fn load(file: &File, pack: Digest128) -> Result<Found, Unusable> {
        let mut reader = RecordReader::whole(file.try_clone()?);
        let mut found = Found::default();
        let mut entries = Vec::new();
        let mut number = 0;
        loop {
            let begin = reader.offset();
            let line = reader.look()?;
            number += 1;
            let key = record::key(line);
            if let Some(end) = memchr::memchr(b'\n', line) {
                let line = &line[..=end];
                // A raw value must be UTF-8, so this checks that as well.
                let is_json = serde_json::from_slice::<&RawValue>(line).is_ok();
                let key = key.filter(|_| is_json).ok_or(Unusable::Line(number))?;
                if key.0.digest == pack {
                    found.pack = record::pack(line);
                }
                entries.push(entry(key, begin));
                reader.consume(end + 1);
                continue;
            }
            // The line is too long for the buffer, or has no end.
            let begins_as = Beginning::of(line);
            let rest = reader.skip_line()?;
            if !rest.has_end && begins_as.is_torn(rest.zeros_from) {
                found.len = begin;
                found.torn = reader.offset() - begin;
                found.index = Self::of(entries);
                return Ok(found);
            }
            let is_whole = rest.has_end && rest.last == b'}' && rest.is_text(file, begin)?;
            let key = key.filter(|_| is_whole).ok_or(Unusable::Line(number))?;
            entries.push(entry(key, begin));
        }
    }

    /// Sorts the entries. If a job has several, the last one counts. Only successes are kept.
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

    /// Counts one more job with this digest. Returns its number among them, and the place of its record.
    /// `None`: no job with this digest is recorded.
    pub(super) fn next(&mut self, digest: Digest128) -> Option<(u32, Option<u64>)> {
        let part = part_of(digest, self.parts.len());
        let begin = *self.parts.get(part)?;
        let end = self.parts.get(part + 1).copied().unwrap_or(self.entries.len());
        let first = begin + self.entries[begin..end].partition_point(|entry| entry.digest < digest);
        let entry = self.entries.get_mut(first).filter(|entry| entry.digest == digest)?;
        entry.seen = entry.seen.saturating_add(1);
        let nth = entry.seen;
        let key = |entry: &Entry| (entry.digest, entry.nth.get());
        // Entries are sorted, so entry `nth` is before this index.
        let last = self.entries.len().min(first + nth as usize);
        let place = self.entries[first..last].binary_search_by_key(&(digest, nth), key).ok();
        Some((nth, place.map(|at| self.entries[first + at].place / 2)))
    }
}

/// Which one of `parts` equal parts of all digests this one is in.
fn part_of(digest: Digest128, parts: usize) -> usize {
    let [a, b, c, d, ..] = digest.0;
    let begin = u64::from(u32::from_be_bytes([a, b, c, d]));
    // It is less than `parts`, since `begin` is less than 2³².
    ((u128::from(begin) * parts as u128) >> 32) as usize
}

fn entry((key, is_ok): (Key, bool), begin: u64) -> Entry {
    Entry { digest: key.digest, place: 2 * begin + u64::from(is_ok), nth: key.nth, seen: 0 }
}

/// How a line without an end begins.
#[derive(Clone, Copy)]
enum Beginning {
    /// As a record.
    Record,
    /// With this many bytes of a record, and then zeros. After a power cut, some file systems have zeros in
    /// place of the last bytes.
    Zeros(u64),
    /// In some other way.
    Other,
}

impl Beginning {
    fn of(line: &[u8]) -> Self {
        let len = line.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        if line.starts_with(record::BEGIN) {
            Self::Record
        } else if record::BEGIN.starts_with(&line[..len]) {
            Self::Zeros(len as u64)
        } else {
            Self::Other
        }
    }

    /// Whether the line may be the beginning of a record. It has only zeros from the byte `zeros_from`
    /// on. A file that is no journal must not be cut.
    fn is_torn(self, zeros_from: u64) -> bool {
        match self {
            Self::Record => true,
            Self::Zeros(len) => len == zeros_from,
            Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::PIECE;
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
    fn zeros_at_the_end_are_cut_off_with_the_record_before_them() {
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
