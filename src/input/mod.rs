//! Bytes → jobs. One thread reads the sources one after the other, splits them into lines, makes a
//! job of each and feeds them to the pool, as fast as the pool takes them and no faster.

pub mod job_lines;
pub mod lines;
pub mod plain_lines;
pub mod rest;
pub mod route;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::job::Feed;
use crate::job::bundle::Bundler;
use crate::job::{Done, Failure, Job, Kind, Place, Sink};
use crate::journal::{Journal, JournalError};
use job_lines::{Fields, Invalid};
use lines::Lines;
use plain_lines::{Columns, NoHeader, Packed, Plain};
use rest::Rest;
use route::Choice;

/// How much is read at once: as much as a pipe holds.
const READ_SIZE: usize = 64 << 10;

/// So many bytes of lines, at most, go together as they stand: more than is read at once, but for
/// what comes behind a long line.
const BUNDLE_BYTES: usize = 128 << 10;

/// So many jobs from the command line are fed at once.
const ARGS_BATCH: usize = 256;

/// A batch is fed at the latest when its jobs hold so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The process's stdin.
    Stdin,
    /// A file.
    File(PathBuf),
    /// Args that were given on the command line: a job for each way to take one of each list.
    Args(Vec<Vec<OsString>>),
}

/// How the reading of the input ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All was read: so many jobs.
    Complete(u64),
    /// The pool takes no more: so many jobs that were read did not get there.
    Stopped(usize),
    /// Some of it could not be read, which was told.
    Incomplete,
    /// It has not the columns that the command asks for: a sentence.
    Misused(String),
    /// What the journal holds could not be read back: a sentence.
    Unresumable(String),
}

impl Source {
    /// What it is called in messages; stdin has no name, since it is what one expects.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin | Self::Args(_) => String::new(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Why it can't be read, as far as that can be seen beforehand.
    fn problem(&self) -> Option<String> {
        let Self::File(path) = self else { return None };
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                Some(self.unreadable(&io::ErrorKind::IsADirectory.into()))
            }
            Ok(_) => access(path, Access::READ_OK).err().map(|e| self.unreadable(&e.into())),
            Err(error) => Some(self.unreadable(&error)),
        }
    }

    fn unreadable(&self, error: &io::Error) -> String {
        let name = match self {
            Self::Stdin => "stdin".to_owned(),
            Self::Args(_) => "the command line".to_owned(),
            Self::File(path) => format!("'{}'", path.display()),
        };
        let what = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::IsADirectory => "it is a directory, not a file of jobs".to_owned(),
            _ => error.to_string(),
        };
        format!("the jobs in {name} could not be read: {what}")
    }
}

/// What a line is.
#[derive(Clone, Debug)]
pub enum Form {
    /// A whole job.
    Job,
    /// The args of a fixed command.
    Plain(Plain),
    /// A message to a worker, whatever its bytes.
    Message,
}

/// How the sources are read.
#[derive(Clone, Debug)]
pub struct Reader {
    /// They are read in this order.
    pub sources: Vec<Source>,
    /// What a line is.
    pub form: Form,
    /// The byte that ends a line.
    pub delimiter: u8,
    /// The longest line, in bytes.
    pub max_line: usize,
    /// Each job keeps the lines it was made of.
    pub keep_lines: bool,
    /// Messages that come together may be fed together, as one job: their outcomes are texts, and
    /// nothing else is asked of each.
    pub bundles: bool,
    /// Which of several pools a job is for.
    pub choice: Choice,
    /// What earlier runs have done, and is not to be done again.
    pub journal: Option<Arc<Journal>>,
    /// Sources of which it is known what is left to do. Jobs keep their lines then.
    pub rest: Option<Arc<Rest>>,
    /// Reading ends soon after this is set.
    pub stop: Arc<AtomicBool>,
}

impl Reader {
    /// Reads all sources to their ends and feeds their jobs to the pool; outcomes of lines that are
    /// no jobs go to `sink`. Blocks while the pool's queue is full. What can't be read is told to
    /// `complain`, a sentence each, at the start as far as it can be seen then; the other sources
    /// are read nevertheless.
    pub fn run(&self, pool: &dyn Feed, sink: &dyn Sink, complain: &dyn Fn(&str)) -> End {
        let names = self.sources.iter().map(Source::name).collect();
        let (batch, bytes, seq, packed) = (Vec::new(), 0, 0, Packed::default());
        let mut feeder = Feeder {
            reader: self,
            pool,
            sink,
            names,
            batch,
            bundler: Bundler::default(),
            bytes,
            seq,
            packed,
            wants_header: false,
            stopped: None,
            source: 0,
            is_kept: false,
            line_end: 0,
            came: Vec::new(),
        };
        let problems: Vec<_> = self.sources.iter().map(Source::problem).collect();
        for problem in problems.iter().flatten() {
            complain(problem);
        }
        let mut is_complete = problems.iter().all(Option::is_none);
        for (index, source) in self.sources.iter().enumerate() {
            if problems[index].is_some() {
                continue;
            }
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            feeder.wants_header = matches!(&self.form, Form::Plain(plain) if plain.has_header);
            let result = match source {
                Source::Args(lists) => Ok(feeder.args(lists)),
                Source::Stdin => feeder.read(rustix::stdio::stdin(), index),
                Source::File(path) => {
                    self.open(path, index).and_then(|file| feeder.read(file.as_fd(), index))
                }
            };
            match result {
                Ok(true) => {}
                Ok(false) => match feeder.stopped.take() {
                    Some(Stopped::Header(NoHeader::Misused(message))) => {
                        return End::Misused(message);
                    }
                    Some(Stopped::Journal(message)) => {
                        return End::Unresumable(message.to_string());
                    }
                    Some(Stopped::Header(NoHeader::Different)) => {
                        complain(&format!(
                            "the header in '{}' is not that of the input before it, so it was not \
                             read",
                            source.name()
                        ));
                        is_complete = false;
                    }
                    None => return End::Stopped(feeder.left()),
                },
                Err(error) => {
                    complain(&source.unreadable(&error));
                    is_complete = false;
                }
            }
        }
        if feeder.pack_up() {
            feeder.took(None);
        }
        feeder.feed();
        if let Some(Stopped::Journal(message)) = feeder.stopped {
            return End::Unresumable(message.to_string());
        }
        match (is_complete, feeder.left()) {
            (_, left @ 1..) => End::Stopped(left),
            (true, _) => End::Complete(feeder.seq),
            (false, _) => End::Incomplete,
        }
    }

    /// Opens a source; one of which nothing may be lost is open already, and may have another name now.
    fn open(&self, path: &Path, source: u32) -> io::Result<File> {
        let kept = self.rest.as_ref().map_or(Ok(None), |rest| rest.source(source))?;
        kept.map_or_else(|| File::open(path), |(file, _)| Ok(file))
    }

    /// Whether lines are text that a person may have written with an editor, and not any bytes, such
    /// as names of files.
    fn is_text(&self, source: u32) -> bool {
        let source = usize::try_from(source).ok().and_then(|index| self.sources.get(index));
        let is_form = match &self.form {
            Form::Job => true,
            Form::Plain(plain) => plain.columns != Columns::One,
            Form::Message => false,
        };
        is_form && self.delimiter == b'\n' && !matches!(source, Some(Source::Args(_)))
    }

    /// Reads a line that is a job; `Ok(None)`: the line is to be skipped.
    fn fields<'a>(&'a self, line: &'a [u8]) -> Result<Option<Fields<'a>>, Invalid> {
        match &self.form {
            Form::Job => job_lines::parse(line),
            Form::Plain(plain) => plain.parse(line),
            Form::Message => Ok(None),
        }
    }

    /// Whether jobs have nothing but their texts, unless their lines say more of them.
    fn is_bare(&self) -> bool {
        !self.keep_lines && self.journal.is_none() && matches!(self.choice, Choice::One)
    }

    /// Finds the pool of a job.
    fn choose(&self, mut job: Job, worker: Option<&str>) -> Result<Job, Invalid> {
        if matches!((&self.choice, worker), (Choice::One, None)) {
            return Ok(job);
        }
        match self.choice.lane(&job, worker) {
            Ok(lane) => {
                job.lane = lane;
                Ok(job)
            }
            Err(invalid) => {
                let id = job.id().map(String::from_utf8_lossy).unwrap_or_default();
                Err(Invalid { id: id.into_owned(), ..invalid })
            }
        }
    }
}

/// The way of jobs from one read to the queue.
struct Feeder<'a> {
    reader: &'a Reader,
    pool: &'a dyn Feed,
    sink: &'a dyn Sink,
    /// What the sources are called.
    names: Vec<String>,
    batch: Vec<Job>,
    /// The jobs behind those of the batch.
    bundler: Bundler,
    bytes: usize,
    /// The number of the last job.
    seq: u64,
    /// Lines that are to make a job together with those that follow.
    packed: Packed,
    /// The next line is a header.
    wants_header: bool,
    /// Why a source is not read on.
    stopped: Option<Stopped>,
    /// The source that is being read.
    source: u32,
    /// Nothing of it may be lost.
    is_kept: bool,
    /// Where in it the line that was read last ends.
    line_end: u64,
    /// How far the sources were read of which there are lines among those that wait, or in the job that
    /// is being made.
    came: Vec<(u32, u64)>,
}

/// Why a source is not read on.
enum Stopped {
    /// It has not the header it should have.
    Header(NoHeader),
    /// The journal can't be read: a sentence.
    Journal(JournalError),
}

impl Feeder<'_> {
    /// How many jobs did not get to the pool.
    fn left(&self) -> usize {
        self.batch.iter().map(Job::count).sum()
    }

    /// Reads one source to its end. `Ok(false)`: the pool takes no more jobs.
    fn read(&mut self, source: BorrowedFd<'_>, index: u32) -> io::Result<bool> {
        let is_csv =
            matches!(&self.reader.form, Form::Plain(plain) if plain.columns == Columns::Csv);
        let mut lines = match is_csv {
            true => Lines::of_csv(self.reader.max_line),
            false => Lines::new(self.reader.delimiter, self.reader.max_line),
        };
        let begin = self.begin(index)?;
        let mut read = begin;
        loop {
            let buffer = lines.buffer();
            buffer.reserve(READ_SIZE);
            let at_end = match rustix::io::read(source, spare_capacity(buffer)) {
                Ok(count) => {
                    read += count as u64;
                    count == 0
                }
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(&source, PollFlags::IN)], None);
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(error) => {
                    self.feed();
                    return Err(error.into());
                }
            };
            if !self.lines(&mut lines, (index, begin), at_end) || !self.feed() {
                return Ok(false);
            }
            if at_end {
                self.line_end = read;
                self.came_here();
                if self.packed.is_empty() {
                    self.took(None);
                }
                return Ok(true);
            }
        }
    }

    /// A source begins to be read. Returns where, if nothing of it may be lost.
    fn begin(&mut self, source: u32) -> io::Result<u64> {
        let kept = self.reader.rest.as_ref().map_or(Ok(None), |rest| rest.source(source))?;
        (self.source, self.is_kept) = (source, kept.is_some());
        self.line_end = kept.map_or(0, |(_, begin)| begin);
        Ok(self.line_end)
    }

    /// The line that was read last goes into the next job, or is none.
    fn came_here(&mut self) {
        if self.is_kept {
            self.came.retain(|(source, _)| *source != self.source);
            self.came.push((self.source, self.line_end));
        }
    }

    /// What has come up to here is a job, or nothing.
    fn took(&mut self, job: Option<(u64, Arc<[u8]>)>) {
        if let Some(rest) = self.reader.rest.as_ref().filter(|_| !self.came.is_empty()) {
            rest.took(&self.came, job);
            self.came.clear();
        }
    }

    /// Deals with the lines that have come of a source, which is read from `begin` on. Returns whether to
    /// go on.
    fn lines(&mut self, lines: &mut Lines, (source, begin): (u32, u64), at_end: bool) -> bool {
        loop {
            while self.reader.bundles
                && let Some((line, text, count)) = lines.whole(BUNDLE_BYTES)
            {
                let mut job = Job::of_lines(self.seq + 1, text, count);
                job.place = Place { source, line };
                if !self.queue(job) {
                    return false;
                }
            }
            let Some(line) = lines.next(at_end) else { return true };
            let place = Place { source, line: line.number };
            let line_begin = std::mem::replace(&mut self.line_end, begin + line.end);
            if line.text.is_err()
                && let Some(rest) = &self.reader.rest
            {
                rest.too_long(source, line_begin, self.line_end);
            }
            let goes_on = match (line.is_open, line.text) {
                (true, Ok(text)) => self.open_record(place, text),
                (_, text) => self.line(place, text),
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// Deals with one line. Returns whether to go on.
    fn line(&mut self, place: Place, text: Result<&[u8], lines::TooLong>) -> bool {
        // Some editors begin a file with a mark that says it is UTF-8.
        let mark = b"\xef\xbb\xbf";
        let text = text.map(|text| match place.line {
            1 if self.reader.is_text(place.source) => text.strip_prefix(mark).unwrap_or(text),
            _ => text,
        });
        let reader = self.reader;
        let is_row = matches!(&reader.form, Form::Plain(plain) if !plain.is_simple());
        if !is_row || text.is_err() {
            self.came_here();
        }
        match (text, &reader.form) {
            (Err(lines::TooLong(max)), _) if self.wants_header => {
                // The line behind it is none.
                let message = format!(
                    "the header is longer than the limit of {max} bytes (raise --max-line to allow \
                     it)"
                );
                self.stopped = Some(Stopped::Header(NoHeader::Misused(message)));
                false
            }
            (Err(lines::TooLong(max)), _) => {
                let message = format!(
                    "it is longer than the limit of {max} bytes (raise --max-line to allow it)"
                );
                self.invalid(place, &Invalid::of_line(message), None);
                true
            }
            (Ok(text), Form::Plain(plain)) if is_row => {
                self.row(plain, place, &plain_lines::split(plain.columns, text), text)
            }
            (Ok(text), Form::Message) => {
                self.job(Job::message(self.seq + 1, text), place, None, text)
            }
            (Ok(text), _) => match reader.fields(text) {
                Ok(None) => true,
                Ok(Some(fields)) => self.fields(place, &fields, text),
                Err(invalid) => {
                    self.invalid(place, &invalid, Some(text.into()));
                    true
                }
            },
        }
    }

    /// A line is a job. Returns whether to go on.
    fn fields(&mut self, place: Place, fields: &Fields<'_>, line: &[u8]) -> bool {
        let seq = self.seq + 1;
        let Fields { cmd, args, id, timeout, retries, worker } = fields;
        if (timeout, retries, worker) == (&None, &None, &None) && self.reader.is_bare() {
            let is_added = self.bundler.add((seq, place), cmd, args, id) || {
                self.unbundle();
                self.bundler.add((seq, place), cmd, args, id)
            };
            if is_added {
                self.seq = seq;
                return self.bytes < BATCH_BYTES || self.feed();
            }
        }
        let mut job = Job::new(seq, cmd, args, id);
        (job.timeout, job.retries) = (*timeout, *retries);
        self.job(job, place, worker.as_deref(), line)
    }

    /// A job was made of a line, which may say which worker it is for. Returns whether to go on.
    fn job(&mut self, mut job: Job, place: Place, worker: Option<&str>, line: &[u8]) -> bool {
        job.place = place;
        job.line = self.reader.keep_lines.then(|| line.into());
        match self.reader.choose(job, worker) {
            Ok(job) => self.queue(job),
            Err(invalid) => {
                self.invalid(place, &invalid, Some(line.into()));
                true
            }
        }
    }

    /// Deals with a CSV record that has a quote without its end. What it has taken of the input can't be
    /// told apart any more, but must not pass for a field. Returns whether to go on.
    fn open_record(&mut self, place: Place, text: &[u8]) -> bool {
        let message = "a quote begins a field and none ends it, up to the end of the input";
        if self.wants_header {
            let message = format!("the header is not CSV: {message}");
            self.stopped = Some(Stopped::Header(NoHeader::Misused(message)));
            return false;
        }
        let goes_on = self.pack_up();
        self.came_here();
        self.invalid(place, &Invalid::of_line(message), Some(text.into()));
        goes_on
    }

    /// A job is complete. Returns whether to go on.
    fn queue(&mut self, mut job: Job) -> bool {
        self.unbundle();
        self.seq = job.seq + job.count() as u64 - 1;
        self.bytes += job.size();
        self.took(job.line.clone().map(|line| (job.seq, line)));
        match self.reader.journal.as_ref().map_or(Ok(None), |journal| journal.admit(&mut job)) {
            Ok(None) => self.batch.push(job),
            Ok(Some(recorded)) => recorded.deliver(job, self.sink),
            Err(message) => {
                self.stopped = Some(Stopped::Journal(message));
                return false;
            }
        }
        self.bytes < BATCH_BYTES || self.feed()
    }

    /// What is bundled goes with the batch.
    fn unbundle(&mut self) {
        if let Some(job) = self.bundler.take() {
            self.bytes += job.size();
            self.batch.push(job);
        }
    }

    /// A line is no job, which is its result.
    fn invalid(&mut self, place: Place, invalid: &Invalid, line: Option<Arc<[u8]>>) {
        self.seq += 1;
        let name = crate::job::naming::place(place, &self.names).unwrap_or_default();
        let failure = Failure::new(Kind::Invalid, invalid.describe(&name));
        let mut job = Job::unreadable(self.seq, place, &invalid.id);
        job.line = line.filter(|_| self.reader.keep_lines);
        if self.packed.is_empty() {
            self.took(job.line.clone().map(|line| (job.seq, line)));
        }
        self.sink.deliver(&Done { job: &job, outcome: Err(&failure), printed: None, run: None });
    }

    /// Deals with one line that was taken apart. Returns whether to go on.
    fn row(&mut self, plain: &Plain, place: Place, columns: &[Cow<'_, [u8]>], line: &[u8]) -> bool {
        if std::mem::take(&mut self.wants_header) {
            self.stopped = plain.read_header(columns).err().map(Stopped::Header);
            let _ = plain.header_line.set(line.to_vec());
            if self.stopped.is_none() && self.packed.is_empty() {
                self.came_here();
                self.took(None);
            }
            return self.stopped.is_none();
        }
        if plain.is_full(&self.packed, columns) && !self.pack_up() {
            return false;
        }
        if self.packed.is_empty() {
            self.packed.place = place;
        }
        let before = self.packed.lines.len();
        if self.reader.keep_lines {
            if !self.packed.is_empty() {
                self.packed.lines.push(self.reader.delimiter);
            }
            self.packed.lines.extend_from_slice(line);
        }
        match plain.add(&mut self.packed, columns) {
            Ok(is_full) => {
                self.came_here();
                !is_full || self.pack_up()
            }
            Err(invalid) => {
                // Those before it are a job before it.
                self.packed.lines.truncate(before);
                let goes_on = self.pack_up();
                self.came_here();
                self.invalid(place, &invalid, Some(line.into()));
                goes_on
            }
        }
    }

    /// Makes a job of the lines that wait for more. Returns whether to go on.
    fn pack_up(&mut self) -> bool {
        let Form::Plain(plain) = &self.reader.form else { return true };
        let lines = std::mem::take(&mut self.packed.lines);
        match plain.take(&mut self.packed, self.seq + 1) {
            Some(mut job) => {
                let line: Option<Arc<[u8]>> = self.reader.keep_lines.then(|| lines.into());
                job.line.clone_from(&line);
                let place = job.place;
                match self.reader.choose(job, None) {
                    Ok(job) => self.queue(job),
                    Err(invalid) => {
                        self.invalid(place, &invalid, line);
                        true
                    }
                }
            }
            None => true,
        }
    }

    /// Makes jobs of all ways to take one arg of each list. Returns whether to go on.
    fn args(&mut self, lists: &[Vec<OsString>]) -> bool {
        let mut lists: Vec<&[OsString]> = lists.iter().map(Vec::as_slice).collect();
        if let Form::Plain(plain) = &self.reader.form
            && self.wants_header
        {
            // Each list begins with its name.
            let split: Option<Vec<_>> = lists.iter().map(|list| list.split_first()).collect();
            let (names, rest): (Vec<_>, _) = split.unwrap_or_default().into_iter().unzip();
            lists = rest;
            let names = names.iter().map(|name| plain_lines::split(plain.columns, name.as_bytes()));
            let names: Vec<_> = names.flatten().collect();
            if names.is_empty() || !self.row(plain, Place::default(), &names, b"") {
                return names.is_empty();
            }
        }
        let ways = match lists.iter().any(|list| list.is_empty()) {
            true => 0,
            // More than can be counted are never done.
            false => lists.iter().map(|list| list.len()).fold(1, usize::saturating_mul),
        };
        for way in 0..ways {
            let mut rest = way;
            let mut columns: Vec<Cow<'_, [u8]>> = Vec::with_capacity(lists.len());
            // The last list turns fastest.
            for list in lists.iter().rev() {
                columns.push(Cow::Borrowed(list[rest % list.len()].as_bytes()));
                rest /= list.len();
            }
            columns.reverse();
            let goes_on = match &self.reader.form {
                Form::Plain(plain) if !plain.is_simple() || columns.len() > 1 => {
                    let line = columns.join(&b'\t');
                    let fields =
                        columns.iter().flat_map(|arg| plain_lines::split(plain.columns, arg));
                    self.row(plain, Place::default(), &fields.collect::<Vec<_>>(), &line)
                }
                _ => {
                    let place = Place { source: 0, line: way as u64 + 1 };
                    self.line(place, Ok(&columns.join(&b' ')))
                }
            };
            let is_batch = self.batch.len() >= ARGS_BATCH;
            if !goes_on || (is_batch && !self.feed()) {
                return false;
            }
        }
        self.feed()
    }

    /// Feeds the batch. Returns whether to go on.
    fn feed(&mut self) -> bool {
        self.unbundle();
        self.bytes = 0;
        self.sink.flush();
        if self.reader.stop.load(Ordering::Acquire) {
            return false;
        }
        self.batch.is_empty() || self.pool.feed(&mut self.batch).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::job::Closed;

    /// Takes all jobs, and remembers how large the batches were.
    #[derive(Default)]
    struct Sizes(Mutex<Vec<usize>>);

    impl Feed for Sizes {
        fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
            let size = batch.drain(..).map(|job| job.size()).sum();
            self.0.lock().expect("nothing panics").push(size);
            Ok(())
        }
    }

    impl Sink for Sizes {
        fn deliver(&self, _done: &Done<'_>) {}
    }

    fn reader(path: PathBuf) -> Reader {
        Reader {
            sources: vec![Source::File(path)],
            form: Form::Job,
            delimiter: b'\n',
            max_line: 64 << 20,
            keep_lines: false,
            bundles: false,
            choice: Choice::One,
            journal: None,
            rest: None,
            stop: Arc::default(),
        }
    }

    /// Behind a long line, the buffer that held it takes as much at once.
    #[test]
    fn what_is_read_at_once_is_fed_in_batches_of_their_size() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = format!("# {}\n{}", "x".repeat(8 << 20), "a [1]\n".repeat(500_000));
        std::fs::write(&file, text).expect("there is room for it");
        let sizes = Sizes::default();
        let end = reader(file.path().into()).run(&sizes, &sizes, &|problem| panic!("{problem}"));
        assert_eq!(end, End::Complete(500_000));
        let sizes = sizes.0.into_inner().expect("nothing panics");
        let largest = sizes.iter().max().expect("batches");
        assert!(*largest < 2 * BATCH_BYTES, "a batch of {largest} bytes");
    }
}
