//! Counts the jobs of an input beside the run: those of lists of args, and those of regular files, which
//! can be read twice. Files that are too large for that are estimated from what was read of them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, seek};

use super::arg_lists::ArgLists;
use super::coding::Coding;
use super::intake::Intake;
use super::lines::Lines;
use super::plain_lines::{Columns, Pack};
use super::reader::{Form, Reader};
use super::source::Source;

/// Files of more bytes are not counted, since that would take as long as reading them for the run.
const MOST_BYTES: u64 = 64 << 20;

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;

/// The count of the jobs of an input, on its way.
#[derive(Debug)]
pub struct Census {
    reader: Reader,
    sources: VecDeque<CountedSource>,
    /// The bytes of all files.
    bytes: u64,
    /// The lines that were counted. With CSV, the records.
    rows: u64,
    total: Option<u64>,
}

/// A source that was not counted to its end.
#[derive(Debug)]
enum CountedSource {
    /// This many combinations of args.
    Args(u64),
    /// A file, and where its rest begins.
    File { file: File, at: u64, lines: Box<Lines>, rows: u64 },
}

impl Census {
    /// Begins to count the jobs that `reader` is about to read. `None`: some source can't be read twice, so nothing
    /// is known of its jobs before it ends.
    pub fn new(reader: &Reader) -> Option<Self> {
        let mut census = Self {
            reader: reader.clone(),
            sources: VecDeque::new(),
            bytes: 0,
            rows: 0,
            total: None,
        };
        for (index, source) in reader.sources.iter().enumerate() {
            let counted = match source {
                Source::Args(lists) => CountedSource::Args(census.combinations(lists)?),
                Source::Stdin => census.file(of_stdin()?),
                Source::File(path) => {
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    match census.open(path, index) {
                        Ok(file) => census.file(file?),
                        // The run reports that, and goes on without it.
                        Err(_) => continue,
                    }
                }
            };
            census.sources.push_back(counted);
        }
        Some(census)
    }

    /// How many jobs there are in all, and whether that is known exactly. `None`: nothing is known yet.
    pub fn total(&self, intake: &Intake) -> Option<(u64, bool)> {
        if let Some(total) = self.total {
            return Some((total, true));
        }
        let (jobs, read) = (intake.jobs(), intake.bytes());
        let is_estimable = self.bytes > 0 && read > 0 && jobs > 0;
        let estimate = || u128::from(jobs) * u128::from(self.bytes.max(read)) / u128::from(read);
        is_estimable.then(|| (u64::try_from(estimate()).unwrap_or(u64::MAX), false))
    }

    /// Counts on for about this long. A file that can't be read is left out.
    pub fn step(&mut self, time: Duration) {
        let is_countable = self.bytes <= MOST_BYTES && self.lines_of_a_job().is_some();
        if self.total.is_some() || !is_countable {
            return;
        }
        let begin = Instant::now();
        while let Some(source) = self.sources.front_mut() {
            if begin.elapsed() >= time {
                return;
            }
            let rows = match source {
                CountedSource::Args(count) => Some(*count),
                CountedSource::File { file, at, lines, rows } => {
                    count_piece(&self.reader, file, at, lines, rows)
                }
            };
            if let Some(rows) = rows {
                self.rows = self.rows.saturating_add(rows);
                self.sources.pop_front();
            }
        }
        self.total = self.lines_of_a_job().map(|lines| self.rows.div_ceil(lines));
    }

    /// How many lines make a job. `None`: that depends on the lines.
    fn lines_of_a_job(&self) -> Option<u64> {
        match &self.reader.form {
            Form::Plain(plain) => match plain.pack {
                Pack::Lines(lines) => Some((lines as u64).max(1)),
                Pack::Bytes { .. } => None,
            },
            Form::Job | Form::Message => Some(1),
            Form::Blocks(_) => None,
        }
    }

    fn combinations(&self, lists: &ArgLists) -> Option<u64> {
        let names = usize::from(has_header(&self.reader));
        lists.count(names).map(|count| count as u64)
    }

    fn file(&mut self, (file, at): (File, u64)) -> CountedSource {
        let size = file.metadata().map_or(0, |data| data.len());
        self.bytes = self.bytes.saturating_add(size.saturating_sub(at));
        let reader = &self.reader;
        let lines = Lines::with(reader.is_csv(), reader.delimiter, reader.max_line);
        CountedSource::File { file, at, lines: Box::new(lines), rows: 0 }
    }

    /// Opens a file, and says where its jobs begin. `None`: it is no regular file. Another must not be
    /// opened twice.
    fn open(&self, path: &Path, index: u32) -> io::Result<Option<(File, u64)>> {
        let kept = self.reader.rest.as_ref().map_or(Ok(None), |rest| rest.source(index))?;
        if kept.is_some() {
            return Ok(kept);
        }
        let is_regular = path.metadata()?.is_file();
        is_regular.then(|| Ok((File::open(path)?, 0))).transpose()
    }
}

/// Counts the next piece of a file. Returns the rows of the whole file at its end.
fn count_piece(
    reader: &Reader,
    file: &File,
    at: &mut u64,
    lines: &mut Lines,
    rows: &mut u64,
) -> Option<u64> {
    let buffer = lines.buffer();
    let before = buffer.len();
    buffer.resize(before + PIECE, 0);
    let count = file.read_at(&mut buffer[before..], *at).unwrap_or(0);
    buffer.truncate(before + count);
    *at += count as u64;
    let at_end = count == 0;
    while !reader.is_csv()
        && let Some((_, text, count)) = lines.whole(usize::MAX)
    {
        *rows += (count - skipped(reader, text)) as u64;
    }
    while let Some(line) = lines.next(at_end) {
        *rows += u64::from(line.text.map_or(true, |text| is_row(reader, text)));
    }
    at_end.then(|| rows.saturating_sub(u64::from(has_header(reader))))
}

/// Stdin and where it is read from, if it is a regular file.
fn of_stdin() -> Option<(File, u64)> {
    let file = File::from(rustix::stdio::stdin().try_clone_to_owned().ok()?);
    let is_regular = file.metadata().is_ok_and(|data| data.is_file());
    let at = seek(&file, SeekFrom::Current(0)).ok()?;
    is_regular.then_some((file, at))
}

fn has_header(reader: &Reader) -> bool {
    matches!(&reader.form, Form::Plain(plain) if plain.has_header)
}

/// How many of these lines, which all have their ends, are no rows. Most lines show that by their first byte.
fn skipped(reader: &Reader, text: &[u8]) -> usize {
    if is_each_line_a_row(reader) {
        return 0;
    }
    let mut begin = 0;
    let mut skipped = 0;
    for end in memchr::memchr_iter(reader.delimiter, text) {
        let is_doubtful =
            matches!(text[begin], b'#' | b'\n' | b'\r' | b' ' | b'\t' | b'\x0c') || begin == end;
        skipped += usize::from(is_doubtful && !is_row(reader, &text[begin..end]));
        begin = end + 1;
    }
    skipped
}

/// Whether no line is skipped.
fn is_each_line_a_row(reader: &Reader) -> bool {
    match &reader.form {
        Form::Plain(plain) => plain.columns != Columns::Json,
        Form::Message => reader.coding != Coding::Json,
        Form::Job | Form::Blocks(_) => false,
    }
}

/// Whether a line becomes a job, or a part of one. An invalid line has a result too.
fn is_row(reader: &Reader, line: &[u8]) -> bool {
    let begin = line.trim_ascii_start().first();
    match &reader.form {
        Form::Job => begin.is_some_and(|first| *first != b'#'),
        Form::Plain(plain) if plain.columns == Columns::Json => begin.is_some(),
        Form::Message if reader.coding == Coding::Json => begin.is_some(),
        Form::Plain(_) | Form::Message | Form::Blocks(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::input::plain_lines::Plain;

    fn total(reader: &Reader) -> Option<u64> {
        let mut census = Census::new(reader)?;
        census.step(Duration::MAX);
        census.total
    }

    fn count(form: Form, text: &str) -> Option<u64> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("there is room for it");
        total(&Reader::simple(form, vec![Source::File(file.path().into())]))
    }

    fn plain(columns: Columns) -> Plain {
        Plain { columns, ..Plain::strings("", &[]) }
    }

    #[test]
    fn each_form_counts_its_own_rows() {
        assert_eq!(count(Form::Message, ""), Some(0));
        assert_eq!(count(Form::Message, "a\n\nb"), Some(3));
        assert_eq!(count(Form::Message, &"a\n".repeat(1_000_000)), Some(1_000_000));
        assert_eq!(count(Form::Job, "# no\n\na []\n  \nb []"), Some(2));
        assert_eq!(count(Form::Plain(plain(Columns::One)), "a\n\nb\n"), Some(3));
        assert_eq!(count(Form::Plain(plain(Columns::Json)), "1\n\n2\n"), Some(2));
        assert_eq!(count(Form::Plain(plain(Columns::Csv)), "a,\"b\nc\"\n\nd,e\n"), Some(2));
        let named = Plain { has_header: true, ..plain(Columns::Csv) };
        assert_eq!(count(Form::Plain(named), "n,m\n1,2\n3,4\n"), Some(2));
        let packed = Plain { pack: Pack::Lines(2), ..plain(Columns::One) };
        assert_eq!(count(Form::Plain(packed), "a\nb\nc\n"), Some(2));
    }

    #[test]
    fn lists_of_args_are_multiplied() {
        let list = |words: &[&str]| words.iter().map(Into::into).collect::<Vec<_>>();
        let args =
            |form, lists| total(&Reader::simple(form, vec![Source::Args(ArgLists::from(lists))]));
        let lists = || vec![list(&["a", "b"]), list(&["1", "2", "3"])];
        assert_eq!(args(Form::Plain(plain(Columns::One)), lists()), Some(6));
        let named = Plain { has_header: true, ..plain(Columns::One) };
        assert_eq!(args(Form::Plain(named), lists()), Some(2));
        let packed = Plain { pack: Pack::Lines(4), ..plain(Columns::One) };
        assert_eq!(args(Form::Plain(packed), lists()), Some(2));
    }

    #[test]
    fn what_can_be_read_only_once_is_not_counted() {
        assert!(
            Census::new(&Reader::simple(Form::Job, vec![Source::File("/dev/null".into())]))
                .is_none()
        );
        let gone = Source::File("/nowhere".into());
        assert_eq!(total(&Reader::simple(Form::Job, vec![gone])), Some(0));
    }

    #[test]
    fn a_large_file_is_estimated() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(MOST_BYTES * 2).expect("holes take no room");
        let mut census = Census::new(&Reader::simple(Form::Message, vec![])).expect("no source");
        let source = census.file((file, 0));
        census.sources.push_back(source);
        census.step(Duration::MAX);
        let intake = Intake::default();
        assert_eq!(census.total(&intake), None);
        intake.add_bytes(1 << 20);
        intake.has_jobs(10);
        assert_eq!(census.total(&intake), Some((1280, false)));
    }
}
