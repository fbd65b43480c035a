//! `--failed`: a file of the lines of failed jobs, as input for another run. It replaces an older file only when the
//! run is over, so the older file may be the input of the run. Lines that were not run stay in it.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use anyhow::Context as _;
use procpool::engine::files::Beside;
use procpool::engine::input::remainder::{LineForm, Remainder, add_missing};
use procpool::engine::{Block, Job};

use crate::descriptors::{self, Stream};
use crate::lock::lock;
use crate::outputs::{WriteTarget, unwritable};

/// A block is copied in pieces of this many bytes.
const PIECE: usize = 256 << 10;

/// The form of the lines, and their source.
#[derive(Debug, Default)]
pub struct FailedSettings {
    /// The byte that ends a line.
    pub delimiter: u8,
    /// The text that ends a record: the delimiter, if lines are not in blocks.
    pub record_end: Vec<u8>,
    /// Lines are CSV records.
    pub is_csv: bool,
    /// The first line of the file.
    pub header: Arc<OnceLock<Vec<u8>>>,
    /// The remaining input, if the file is the input.
    pub rest: Option<Arc<Remainder>>,
    /// Some input comes through a pipe. Its other end may be reading the file.
    pub is_piped: bool,
}

/// The lines of failed jobs, as they are in the input.
#[derive(Debug)]
pub struct FailedLines {
    path: PathBuf,
    settings: FailedSettings,
    file: Mutex<FailedFile>,
}

#[derive(Debug)]
struct FailedFile {
    out: LineOut,
    /// The header was written.
    has_begun: bool,
    /// The run is over. Nothing is added any more.
    is_over: bool,
    /// The file is in its place, and has all lines.
    is_readable: bool,
    trouble: Option<String>,
    /// How many lines were too long to be kept.
    lost: u64,
    /// It has a line of a job that has failed.
    has_lines: bool,
}

#[derive(Debug)]
enum LineOut {
    /// A FIFO or a terminal, for example, which takes lines as they come.
    Stream(File),
    /// A new file, which will replace another.
    Beside(Box<Beside>),
}

impl LineOut {
    fn file(&self) -> &File {
        match self {
            Self::Stream(file) => file,
            Self::Beside(beside) => beside.file(),
        }
    }
}

impl FailedLines {
    /// Begins the file.
    ///
    /// # Errors
    /// It can't be written there.
    pub fn open(
        (path, target): (PathBuf, WriteTarget),
        settings: FailedSettings,
    ) -> anyhow::Result<Self> {
        let out = match target {
            WriteTarget::Stderr => {
                descriptors::copy(Stream::Stderr).map(|fd| LineOut::Stream(fd.into()))
            }
            WriteTarget::Place(place) if place.is_regular() => {
                place.beside().map(Box::new).map(LineOut::Beside)
            }
            WriteTarget::Place(place) => place.create().map(LineOut::Stream),
        };
        let out = out.with_context(|| unwritable(&path))?;
        let file = FailedFile {
            out,
            has_begun: false,
            is_over: false,
            is_readable: false,
            trouble: None,
            lost: 0,
            has_lines: false,
        };
        Ok(Self { path, settings, file: Mutex::new(file) })
    }

    /// Adds the line of a job that is over, if the job has failed.
    pub fn over(&self, job: &Job, has_failed: bool) {
        if has_failed || self.settings.rest.is_some() {
            let mut file = self.lock();
            if file.is_over {
                return;
            }
            // A line that was too long is not here. It is copied from the input at the end.
            let is_lost = job.line().is_none() && job.block().is_none();
            file.lost += u64::from(has_failed && is_lost && self.settings.rest.is_none());
            file.has_lines |= has_failed && !is_lost;
            let added = match (job.line(), job.block()) {
                _ if !has_failed => Ok(()),
                (Some(line), _) => self.add(&mut file, line),
                (None, Some(block)) => self.add_block(&mut file, block),
                (None, None) => Ok(()),
            };
            if let Err(error) = added {
                let message = format!("the lines of failed jobs could not be written: {error}");
                file.trouble.get_or_insert(message);
            }
            if let Some(rest) = &self.settings.rest {
                rest.done(job.seq);
            }
        }
    }

    /// Puts the file in its place after the run. `is_whole`: all of the input was read and run. Returns a message
    /// for the user, if there is one.
    pub fn finish(&self, is_whole: bool) -> Option<String> {
        let mut file = self.lock();
        if file.is_over {
            return None;
        }
        file.is_over = true;
        let path = self.path.display();
        let LineOut::Beside(beside) = &file.out else { return None };
        let has_old = beside.old_len() > 0;
        if has_old && let Some(trouble) = &mut file.trouble {
            trouble.push_str(&format!("; '{path}' is unchanged"));
            return None;
        }
        let keeps_old = self.settings.is_piped && !is_whole && has_old;
        if let Err(error) = self.put(&mut file, keeps_old) {
            file.trouble.get_or_insert(format!(
                "the lines of failed jobs could not be written: {error}; '{path}' is unchanged"
            ));
            return None;
        }
        let has_lines = file.has_lines || self.settings.rest.is_some();
        file.is_readable = file.trouble.is_none() && has_lines;
        if file.lost > 0 {
            let (what, it) = if file.lost == 1 { ("line", "it") } else { ("lines", "them") };
            return Some(format!(
                "'{path}' lacks {} {what} longer than --max-line: raise that to run {it}",
                file.lost
            ));
        }
        keeps_old.then(|| {
            format!(
                "the run ended early, and its input may come from '{path}': the old lines of that \
                 file are kept"
            )
        })
    }

    /// Whether the file has the lines of all failed jobs, and can be the input of another run.
    pub fn is_readable(&self) -> bool {
        self.lock().is_readable
    }

    /// Why the file is not complete, if it is not.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.take()
    }

    /// Adds the lines that were not run, and puts the file in the place of the older one.
    fn put(&self, file: &mut FailedFile, keeps_old: bool) -> io::Result<()> {
        if let Some(rest) = self.settings.rest.as_ref().filter(|rest| !rest.is_empty()) {
            self.begin(file)?;
            rest.write(self.form(), &mut file.out.file())?;
        }
        let LineOut::Beside(beside) = &file.out else { return Ok(()) };
        if keeps_old {
            add_missing(&beside.old()?, beside.file(), self.form())?;
        }
        beside.replace()
    }

    fn add(&self, file: &mut FailedFile, line: &[u8]) -> io::Result<()> {
        self.begin(file)?;
        file.out.file().write_all(&[line, &[self.settings.delimiter]].concat())
    }

    /// Adds a block, with its header if it is the first one, and with an end of its last record.
    fn add_block(&self, file: &mut FailedFile, block: &Block) -> io::Result<()> {
        self.begin(file)?;
        let end = &self.settings.record_end;
        let (mut bytes, mut piece, mut last) = (block.read(), Vec::new(), Vec::new());
        loop {
            bytes.next(&mut piece, PIECE)?;
            if piece.is_empty() {
                break;
            }
            file.out.file().write_all(&piece)?;
            last.extend_from_slice(&piece[piece.len().saturating_sub(end.len())..]);
            last.drain(..last.len().saturating_sub(end.len()));
        }
        file.out.file().write_all(if last == *end { &[] } else { end })
    }

    fn begin(&self, file: &mut FailedFile) -> io::Result<()> {
        match self.settings.header.get() {
            Some(header) if !file.has_begun => {
                file.has_begun = true;
                file.out.file().write_all(&[header, &self.settings.record_end[..]].concat())
            }
            _ => Ok(()),
        }
    }

    fn form(&self) -> LineForm<'_> {
        let FailedSettings { delimiter, is_csv, header, .. } = &self.settings;
        let header = header.get().map(Vec::as_slice);
        LineForm { delimiter: *delimiter, is_csv: *is_csv, header }
    }

    fn lock(&self) -> MutexGuard<'_, FailedFile> {
        lock(&self.file)
    }
}
