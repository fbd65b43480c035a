//! Input that is read as a whole before the first job: it is counted, or shuffled. Input that can't be read twice
//! is kept in a temporary file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{SeekFrom, seek, tell};

use super::feeder::{Feeder, READ_SIZE, StopReason, read_some};
use super::intake::Intake;
use super::lines::{LineTooLong, Lines};
use super::plain_lines::NoHeader;
use super::reader::{Form, KeptLines, Reader};
use super::source::Source;
use super::whole::Whole;
use crate::job::{Closed, Done, Feed, Job, Place, Sink};
use crate::util::random::shuffled;
use crate::util::temporary::{temporary_file, temporary_folder};

/// Counts jobs, and takes nothing of them.
struct Counter;

impl Feed for Counter {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        batch.clear();
        Ok(())
    }
}

impl Sink for Counter {
    fn deliver(&self, _done: &Done<'_>) {}
}

impl Reader {
    /// Keeps all sources that can't be read twice, and counts the jobs if their number is wanted. Returns the reader
    /// to go on with; `None`: reading was stopped.
    ///
    /// # Errors
    /// A source can't be read, or can't be kept. The sentence says which.
    pub(super) fn prepared(&self) -> Result<Option<Self>, String> {
        let mut held = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            match self.keep(source).map_err(|error| source.unreadable(&error))? {
                HeldSource::File(file) => held.push(file),
                HeldSource::Stopped => return Ok(None),
            }
        }
        let reader = Self { whole: Whole { held, ..self.whole.clone() }, ..self.clone() };
        if let Some(total) = &self.whole.total {
            let Some(count) = reader.count() else { return Ok(None) };
            // It is set once.
            let _ = total.set(count);
        }
        Ok(Some(reader))
    }

    /// Keeps a source in a temporary file, if it can't be read twice.
    fn keep(&self, source: &Source) -> io::Result<HeldSource> {
        match source {
            Source::Args(_) => Ok(HeldSource::File(None)),
            Source::Stdin => match tell(rustix::stdio::stdin()) {
                // The position is that of the caller.
                Ok(_) => {
                    let file = rustix::stdio::stdin().try_clone_to_owned()?;
                    Ok(HeldSource::File(Some(Arc::new(file.into()))))
                }
                Err(_) => self.copy(rustix::stdio::stdin()),
            },
            Source::File(path) => match path.metadata() {
                Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                    self.copy(File::open(path)?.as_fd())
                }
                // An error is reported when it is read.
                _ => Ok(HeldSource::File(None)),
            },
        }
    }

    fn copy(&self, source: BorrowedFd<'_>) -> io::Result<HeldSource> {
        let file = temporary_file().map_err(not_kept)?;
        let mut buffer = Vec::with_capacity(READ_SIZE);
        let mut at = 0;
        loop {
            buffer.clear();
            let count = read_some(source, &mut buffer)?;
            if count == 0 {
                return Ok(HeldSource::File(Some(Arc::new(file))));
            }
            if self.stop.load(Ordering::Acquire) {
                return Ok(HeldSource::Stopped);
            }
            file.write_all_at(&buffer, at).map_err(not_kept)?;
            at += count as u64;
        }
    }

    /// The number of jobs; `None`: reading was stopped.
    fn count(&self) -> Option<u64> {
        let shuffle = None;
        let reader = Self {
            kept: KeptLines::None,
            journal: None,
            rest: None,
            intake: Arc::new(Intake::default()),
            whole: Whole { shuffle, ..self.whole.clone() },
            form: self.form.with_own_header(),
            ..self.clone()
        };
        let mut feeder = Feeder::new(&reader, &Counter, &Counter);
        let held: Vec<_> = reader.whole.held.iter().flatten().collect();
        let begins: Vec<_> = held.iter().map(|file| tell(file).unwrap_or(0)).collect();
        for (index, source) in reader.sources.iter().enumerate() {
            // What is wrong with a source is reported when it is read for the run.
            let _ = reader.read_source(&mut feeder, index, source, &|_| {});
            feeder.stopped = None;
        }
        feeder.finish();
        for (file, begin) in held.iter().zip(begins) {
            let _ = seek(file, SeekFrom::Start(begin));
        }
        (!self.stop.load(Ordering::Acquire)).then(|| feeder.seq())
    }
}

/// The error that a copy can't be written.
fn not_kept(error: io::Error) -> io::Error {
    let folder = temporary_folder();
    io::Error::other(format!(
        "a copy can't be kept in '{}': {error}; set TMPDIR to a folder with room",
        folder.display()
    ))
}

/// A source that was made ready to be read twice.
enum HeldSource {
    /// Its copy; `None`: it can be read as it is.
    File(Option<Arc<File>>),
    /// Reading was stopped.
    Stopped,
}

/// Where a line is.
struct LinePlace {
    source: u32,
    number: u64,
    begin: u64,
    /// `Err`: it is too long.
    len: Result<usize, LineTooLong>,
    is_open: bool,
}

impl Feeder<'_> {
    /// Reads the lines of all sources in a random order, but not those to skip. Returns whether to go on.
    ///
    /// # Errors
    /// A source can't be read. The sentence says which, and why.
    pub(super) fn shuffle(&mut self, seed: u64, skip: &[bool]) -> Result<bool, String> {
        let reader = self.reader;
        let unreadable =
            |index: usize| move |error: io::Error| reader.sources[index].unreadable(&error);
        let mut files = Vec::new();
        let mut places = Vec::new();
        for (index, &is_skipped) in skip.iter().enumerate() {
            if is_skipped {
                files.push(None);
                continue;
            }
            let (file, begin) = self.open_again(index).map_err(unreadable(index))?;
            let found = self.find_lines(index, &file, begin, &mut places);
            if !found.map_err(unreadable(index))? {
                self.blame_header(index);
                return Ok(false);
            }
            files.push(Some(file));
        }
        let mut text = Vec::new();
        for place in shuffled(places, seed) {
            let index = place.source as usize;
            let Some(Some(file)) = files.get(index) else { continue };
            let line = match place.len {
                Ok(len) => {
                    text.resize(len, 0);
                    file.read_exact_at(&mut text, place.begin).map_err(unreadable(index))?;
                    Ok(text.as_slice())
                }
                Err(too_long) => Err(too_long),
            };
            if !self.found_line(&place, line) || (self.batched() >= 256 && !self.feed()) {
                return Ok(false);
            }
        }
        Ok(self.feed_last())
    }

    /// A source has another header than those before it, so there is no one order for all.
    fn blame_header(&mut self, index: usize) {
        if let Some(StopReason::Header(NoHeader::Different)) = self.stopped {
            let name = self.reader.sources[index].name();
            let message = format!("the header in '{name}' is not that of the input before it");
            self.stopped = Some(StopReason::Header(NoHeader::Misused(message)));
        }
    }

    /// Opens a source whose bytes can be read in any order, and says where they begin.
    fn open_again(&self, index: usize) -> io::Result<(File, u64)> {
        let source = u32::try_from(index).unwrap_or(u32::MAX);
        match (&self.reader.sources[index], self.reader.whole.held(index)) {
            (Source::Stdin, Some(file)) => Ok((file.try_clone()?, tell(&**file).unwrap_or(0))),
            (_, Some(file)) => Ok((file.try_clone()?, 0)),
            (Source::File(path), None) => Ok((self.reader.open(path, source)?, 0)),
            (Source::Stdin | Source::Args(_), None) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Finds the lines of a source. A header is dealt with at once. Returns whether to go on.
    fn find_lines(
        &mut self,
        index: usize,
        file: &File,
        begin: u64,
        places: &mut Vec<LinePlace>,
    ) -> io::Result<bool> {
        let source = u32::try_from(index).unwrap_or(u32::MAX);
        let Reader { delimiter, max_line, .. } = *self.reader;
        let mut lines = Lines::with(self.reader.is_csv(), delimiter, max_line);
        self.wants_header = matches!(&self.reader.form, Form::Plain(plain) if plain.has_header);
        let mut at = begin;
        let mut piece = vec![0; READ_SIZE];
        loop {
            let count = file.read_at(&mut piece, at)?;
            at += count as u64;
            lines.buffer().extend_from_slice(&piece[..count]);
            while let Some(line) = lines.next(count == 0) {
                let place = Place { source, line: line.number };
                if self.wants_header {
                    if !self.line(place, line.text) {
                        return Ok(false);
                    }
                    continue;
                }
                let len = line.text.map(<[u8]>::len);
                let begin = begin + line.begin;
                let is_open = line.is_open;
                places.push(LinePlace { source, number: place.line, begin, len, is_open });
            }
            if count == 0 {
                return Ok(true);
            }
            if self.reader.stop.load(Ordering::Acquire) {
                return Ok(false);
            }
        }
    }

    /// Handles one line. Returns whether to go on.
    fn found_line(&mut self, place: &LinePlace, line: Result<&[u8], LineTooLong>) -> bool {
        let job = Place { source: place.source, line: place.number };
        match line {
            Ok(text) if place.is_open => self.open_record(job, text),
            line => self.line(job, line),
        }
    }
}
