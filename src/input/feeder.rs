//! The way of jobs from one read to the queue: bytes are read, split into lines, made into jobs,
//! looked up in the journal and fed in batches.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::alike::{FamiliarBeginning, is_usual_end};
use super::job_lines::{Fields, Invalid, UsualLine};
use super::joining::Joiner;
use super::lines::{LineTooLong, Lines, MARK};
use super::plain_lines::{NoHeader, Packed, Plain};
use super::position::Position;
use super::reader::{Form, KeptLines, Reader};
use super::source::Source;
use crate::job::bundle::Bundler;
use crate::job::{Done, Failure, Feed, Job, Kind, Place, Sink};
use crate::journal::JournalError;
use crate::util::setting::Setting;

/// How many bytes are read at once: as many as a pipe holds.
pub(super) const READ_SIZE: usize = 64 << 10;

/// A bundle of unparsed lines has at most this many bytes. It is more than [`READ_SIZE`], since the
/// buffer is larger after a long line.
const BUNDLE_BYTES: usize = 128 << 10;

/// A batch is fed when its jobs hold this many bytes.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// The way of jobs from one read to the queue.
pub(super) struct Feeder<'a> {
    pub(super) reader: &'a Reader,
    pool: &'a dyn Feed,
    sink: &'a dyn Sink,
    /// The names of the sources.
    pub(super) names: Vec<String>,
    batch: Vec<Job>,
    /// The jobs after those of the batch.
    bundler: Bundler,
    /// How the last usual job line began.
    beginning: FamiliarBeginning,
    /// The jobs that wait to be joined.
    joiner: Joiner,
    /// The bytes of the jobs in the batch.
    bytes: usize,
    /// The number of the last job.
    seq: u64,
    /// Lines that wait for more lines to make a job.
    pub(super) packed: Packed,
    /// The next line is a header.
    pub(super) wants_header: bool,
    /// Why reading stopped, unless the pool takes no more jobs.
    pub(super) stopped: Option<StopReason>,
    pub(super) position: Position,
}

/// Why reading stopped.
pub(super) enum StopReason {
    /// The source does not have the header that it should have.
    Header(NoHeader),
    /// A record of the journal can't be read back.
    Journal(JournalError),
}

impl<'a> Feeder<'a> {
    pub(super) fn new(reader: &'a Reader, pool: &'a dyn Feed, sink: &'a dyn Sink) -> Self {
        Self {
            reader,
            pool,
            sink,
            names: reader.sources.iter().map(Source::name).collect(),
            batch: Vec::new(),
            bundler: Bundler::default(),
            beginning: FamiliarBeginning::default(),
            joiner: Joiner::default(),
            bytes: 0,
            seq: 0,
            packed: Packed::default(),
            wants_header: false,
            stopped: None,
            position: Position::new(reader.rest.as_ref()),
        }
    }
}

impl Feeder<'_> {
    /// The number of the last job.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// How many jobs are in the batch.
    pub(super) fn batched(&self) -> usize {
        self.batch.len()
    }

    /// Feeds the last jobs, after all sources were read.
    pub(super) fn finish(&mut self) {
        if self.pack_up() {
            self.position.took(None);
        }
        if let (Some(joining), Form::Plain(plain)) = (self.reader.joining, &self.reader.form) {
            self.batch.extend(self.joiner.take(joining, plain));
        }
        self.feed();
    }

    /// How many jobs were read and not fed.
    pub(super) fn left(&self) -> usize {
        let count = |job: &Job| job.singles().iter().map(Job::count).sum::<usize>();
        self.batch.iter().map(count).sum::<usize>() + self.joiner.len()
    }

    /// Reads one source to its end. `Ok(false)`: the pool takes no more jobs.
    pub(super) fn read(&mut self, source: BorrowedFd<'_>, index: u32) -> io::Result<bool> {
        if let Form::Blocks(blocks) = &self.reader.form {
            return self.blocks(blocks, source, index);
        }
        let Reader { delimiter, max_line, .. } = *self.reader;
        let mut lines = Lines::with(self.reader.is_csv(), delimiter, max_line);
        let begin = self.position.begin(index)?;
        let mut read = begin;
        loop {
            let count = match read_some(source, lines.buffer()) {
                Ok(count) => count,
                Err(error) => {
                    self.feed();
                    return Err(error.into());
                }
            };
            read += count as u64;
            self.reader.intake.add_bytes(count);
            let at_end = count == 0;
            if !self.lines(&mut lines, (index, begin), at_end) {
                return Ok(false);
            }
            if !(if at_end { self.feed_last() } else { self.feed() }) {
                return Ok(false);
            }
            if at_end {
                self.position.read_to(read);
                self.position.came_here();
                if self.packed.is_empty() {
                    self.position.took(None);
                }
                return Ok(true);
            }
        }
    }

    /// Handles the lines of a source that have come. The source is read from `begin` on. Returns whether
    /// to go on.
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
            if !self.usual_lines(lines, source) {
                return false;
            }
            let Some(line) = lines.next(at_end) else { return true };
            let place = Place { source, line: line.number };
            let line_begin = self.position.read_to(begin + line.end);
            if line.text.is_err() {
                self.position.too_long(line_begin);
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

    /// Takes the usual lines that are next, several times as fast as [`Feeder::line`] does. Returns whether to go on.
    fn usual_lines(&mut self, lines: &mut Lines, source: u32) -> bool {
        let reader = self.reader;
        let is_job = matches!(reader.form, Form::Job) && is_usual_end(reader.delimiter);
        if !reader.is_bare() || self.position.is_noted() {
            return true;
        }
        let mut args = Vec::new();
        lines.take_while(|line, bytes| {
            let place = Place { source, line };
            match &reader.form {
                _ if self.bytes >= BATCH_BYTES => None,
                Form::Job if is_job => self.usual_job(place, bytes),
                Form::Plain(plain) if plain.is_simple() => {
                    self.usual_plain(place, plain, bytes, &mut args)
                }
                _ => None,
            }
        });
        self.bytes < BATCH_BYTES || self.feed()
    }

    /// Handles one line. Returns whether to go on.
    pub(super) fn line(&mut self, place: Place, text: Result<&[u8], LineTooLong>) -> bool {
        // Some editors begin a file with a mark of UTF-8.
        let text = text.map(|text| match place.line {
            1 if self.reader.is_text(place.source) => text.strip_prefix(MARK).unwrap_or(text),
            _ => text,
        });
        let reader = self.reader;
        let is_row = matches!(&reader.form, Form::Plain(plain) if !plain.is_simple());
        if !is_row || text.is_err() {
            self.position.came_here();
        }
        match (text, &reader.form) {
            (Err(LineTooLong(max)), _) if self.wants_header => {
                // The run must not take the next line for the header.
                let message = too_long("the header", max);
                self.stopped = Some(StopReason::Header(NoHeader::Misused(message)));
                false
            }
            (Err(LineTooLong(max)), _) => {
                self.invalid(place, &Invalid::of_line(too_long("it", max)), None);
                true
            }
            (Ok(text), Form::Plain(plain)) if is_row => {
                self.row(plain, place, &plain.split(text), text)
            }
            (Ok(text), Form::Message) => match reader.coding.decode(text) {
                Ok(None) => true,
                Ok(Some(message)) => {
                    self.job(Job::message(self.seq + 1, &message), place, None, text)
                }
                Err(invalid) => {
                    self.invalid(place, &invalid, Some(text.into()));
                    true
                }
            },
            (Ok(text), _) => match reader.fields(text) {
                Ok(None) => true,
                Ok(Some(fields)) => self.fields(place, &fields, text),
                Err(invalid) if reader.kept == KeptLines::All => {
                    let job = Job::unreadable(self.seq + 1, place, &invalid.id);
                    self.job(job, place, None, text)
                }
                Err(invalid) => {
                    self.invalid(place, &invalid, Some(text.into()));
                    true
                }
            },
        }
    }

    /// Makes a job of the fields of a line. Returns whether to go on.
    fn fields(&mut self, place: Place, fields: &Fields<'_>, line: &[u8]) -> bool {
        let seq = self.seq + 1;
        let Fields { cmd, args, id, timeout, retries, worker } = fields;
        if (timeout, retries, worker) == (&None, &None, &None)
            && self.reader.is_bare()
            && self.bundle(place, [cmd.as_bytes(), args.as_bytes(), id.as_bytes()])
        {
            return self.bytes < BATCH_BYTES || self.feed();
        }
        let mut job = Job::new(seq, cmd, args, id);
        job.timeout = *timeout;
        job.retries = *retries;
        self.job(job, place, worker.as_deref(), line)
    }

    /// Adds the job of a usual job line to the bundle. The bytes begin with the line. Returns its length. `None`: it is
    /// none, is not whole, or must travel alone.
    fn usual_job(&mut self, place: Place, bytes: &[u8]) -> Option<usize> {
        let (found, len) = self.beginning.usual(bytes, self.reader.delimiter)?;
        let UsualLine { cmd, args, id } = found;
        self.bundle(place, [cmd, args, id]).then_some(len)
    }

    /// As [`Feeder::usual_job`], for a plain line. `args` is a buffer.
    fn usual_plain(
        &mut self,
        place: Place,
        plain: &Plain,
        bytes: &[u8],
        args: &mut Vec<u8>,
    ) -> Option<usize> {
        let len = memchr::memchr(self.reader.delimiter, bytes)?;
        args.clear();
        let cmd = plain.usual(&bytes[..len], args)?;
        self.bundle(place, [cmd.as_bytes(), args, b""]).then_some(len)
    }

    /// Adds a job of these texts (command, args, id) to the bundle. Returns `false` if it must travel alone.
    fn bundle(&mut self, place: Place, [cmd, args, id]: [&[u8]; 3]) -> bool {
        let seq = self.seq + 1;
        let is_added = self.bundler.add((seq, place), cmd, args, id) || {
            self.unbundle();
            self.bundler.add((seq, place), cmd, args, id)
        };
        if is_added {
            self.seq = seq;
        }
        is_added
    }

    /// Finds the pool of a job that was made of a line, and queues it. `worker` is the pool that the
    /// line names. Returns whether to go on.
    pub(super) fn job(
        &mut self,
        mut job: Job,
        place: Place,
        worker: Option<&str>,
        line: &[u8],
    ) -> bool {
        job.place = place;
        job.line = self.reader.kept.are_any().then(|| line.into());
        match self.reader.choose(job, worker) {
            Ok(job) => self.queue(job),
            Err(invalid) => {
                self.invalid(place, &invalid, Some(line.into()));
                true
            }
        }
    }

    /// Adds a complete job to the batch, or delivers its result if the journal has it. Returns whether
    /// to go on.
    pub(super) fn queue(&mut self, mut job: Job) -> bool {
        self.unbundle();
        self.seq = job.seq + job.count() as u64 - 1;
        self.bytes += job.size();
        self.position.took(job.line.clone().map(|line| (job.seq, line)));
        match self.reader.journal.as_ref().map_or(Ok(None), |journal| journal.admit(&mut job)) {
            Ok(None) => self.add(job),
            Ok(Some(recorded)) => recorded.deliver(job, self.sink),
            Err(error) => {
                self.stopped = Some(StopReason::Journal(error));
                return false;
            }
        }
        self.bytes < BATCH_BYTES || self.feed()
    }

    /// Adds a job to the batch, or to the jobs that are joined.
    fn add(&mut self, job: Job) {
        match (self.reader.joining, &self.reader.form) {
            (Some(joining), Form::Plain(plain)) => {
                self.batch.extend(self.joiner.add(joining, plain, job).into_iter().flatten());
            }
            _ => self.batch.push(job),
        }
    }

    /// Moves the bundle to the batch.
    fn unbundle(&mut self) {
        if let Some(job) = self.bundler.take() {
            self.bytes += job.size();
            self.batch.push(job);
        }
    }

    /// Delivers a failure for a line that is no job.
    pub(super) fn invalid(&mut self, place: Place, invalid: &Invalid, line: Option<Arc<[u8]>>) {
        self.seq += 1;
        let name = crate::job::naming::place(place, &self.names).unwrap_or_default();
        let failure = Failure::new(Kind::Invalid, invalid.describe(&name));
        let mut job = Job::unreadable(self.seq, place, &invalid.id);
        if self.packed.is_empty() {
            let kept = line.clone().filter(|_| self.reader.kept.are_any());
            self.position.took(kept.map(|line| (job.seq, line)));
        }
        // The line is all that is known of the job.
        job.line = line;
        self.sink.deliver(&Done {
            job: &job,
            outcome: Err(&failure),
            printed: None,
            run: None,
            unproven: None,
        });
    }

    /// Feeds the batch. Returns whether to go on.
    pub(super) fn feed(&mut self) -> bool {
        self.unbundle();
        self.bytes = 0;
        self.reader.intake.has_jobs(self.seq);
        self.sink.flush();
        if self.reader.stop.load(Ordering::Acquire) {
            return false;
        }
        self.batch.is_empty() || self.pool.feed(&mut self.batch).is_ok()
    }

    /// Feeds the batch at the end of a source. Returns whether all of it was fed: then the source was read to its end,
    /// even if the run has been stopped by now.
    pub(super) fn feed_last(&mut self) -> bool {
        self.feed() || self.batch.is_empty()
    }
}

/// `what` is longer than a line may be.
fn too_long(what: &str, max: usize) -> String {
    let setting = Setting::MaxLine;
    format!("{what} is longer than the limit of {max} bytes (raise {setting} to allow it)")
}

/// Reads the bytes of a source that have come, and waits if there are none. Returns how many it has
/// read; 0: the source is at its end.
pub(super) fn read_some(source: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    buffer.reserve(READ_SIZE);
    loop {
        match rustix::io::read(source, spare_capacity(buffer)) {
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&source, PollFlags::IN)], None);
            }
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
