//! `--failed`: the lines of failed jobs, to be fed in again. They replace a file when the run is over, so
//! that it can be the input of the run; what of the input was not run stays in it.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context as _;
use procpool::Job;
use procpool::files::Beside;
use procpool::input::remainder::{LineForm, Remainder, add_missing};

use crate::descriptors::{self, Stream};
use crate::outputs::{Target, unwritable};

/// What the lines are.
#[derive(Debug, Default)]
pub struct Lines {
    /// What ends a line.
    pub delimiter: u8,
    /// Lines are CSV records.
    pub is_csv: bool,
    /// The line that is to be the first.
    pub header: Arc<OnceLock<Vec<u8>>>,
    /// What is left to do of the input, where the file is the input.
    pub rest: Option<Arc<Remainder>>,
    /// Some input comes through a pipe, whose other end may be reading the file.
    pub is_piped: bool,
}

/// The lines of jobs that have failed, as they stood in the input.
#[derive(Debug)]
pub struct FailedLines {
    path: PathBuf,
    lines: Lines,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    out: Out,
    /// The header is written.
    has_begun: bool,
    /// The file has replaced the other, and nothing is added any more.
    is_over: bool,
    trouble: Option<String>,
}

#[derive(Debug)]
enum Out {
    /// A FIFO or a terminal, say, which takes lines as they come.
    Stream(File),
    /// A file, which will replace another.
    Beside(Beside),
}

impl Out {
    fn file(&self) -> &File {
        match self {
            Self::Stream(file) => file,
            Self::Beside(beside) => beside.file(),
        }
    }
}

impl FailedLines {
    /// Makes room for them.
    ///
    /// # Errors
    /// They can't be written there.
    pub fn open((path, target): (PathBuf, Target), lines: Lines) -> anyhow::Result<Self> {
        let out = match target {
            Target::Stderr => descriptors::copy(Stream::Stderr).map(|fd| Out::Stream(fd.into())),
            Target::Place(place) if place.is_regular() => place.beside().map(Out::Beside),
            Target::Place(place) => place.create().map(Out::Stream),
        };
        let out = out.with_context(|| unwritable(&path))?;
        let state = State { out, has_begun: false, is_over: false, trouble: None };
        Ok(Self { path, lines, state: Mutex::new(state) })
    }

    /// A job is over.
    pub fn over(&self, job: &Job, has_failed: bool) {
        if has_failed || self.lines.rest.is_some() {
            let mut state = self.lock();
            if state.is_over {
                return;
            }
            // A line that was too long is copied at the end, if it is to be kept.
            if let Some(line) = job.line().filter(|_| has_failed)
                && let Err(error) = self.add(&mut state, line)
            {
                let message = format!("the lines of failed jobs could not be written: {error}");
                state.trouble.get_or_insert(message);
            }
            if let Some(rest) = &self.lines.rest {
                rest.done(job.seq);
            }
        }
    }

    /// The run is over: the file comes to its place. `is_whole`: all of the input was read and run.
    /// Returns what is to be said of it.
    pub fn finish(&self, is_whole: bool) -> Option<String> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.is_over, true) {
            return None;
        }
        let path = self.path.display();
        let Out::Beside(beside) = &state.out else { return None };
        let has_old = beside.old_len() > 0;
        if has_old && let Some(trouble) = &mut state.trouble {
            trouble.push_str(&format!("; '{path}' is as it was"));
            return None;
        }
        let keeps_old = self.lines.is_piped && !is_whole && has_old;
        if let Err(error) = self.put(&mut state, keeps_old) {
            state.trouble.get_or_insert(format!(
                "the lines of failed jobs could not be written: {error}; '{path}' is as it was"
            ));
            return None;
        }
        keeps_old.then(|| {
            format!(
                "the run was cut short, and its input may have come from '{path}': the lines that \
                 were in it are kept there"
            )
        })
    }

    /// Why they are not whole, if they are not.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.take()
    }

    /// Adds what was not run, and puts the file in the place of the other.
    fn put(&self, state: &mut State, keeps_old: bool) -> io::Result<()> {
        if let Some(rest) = self.lines.rest.as_ref().filter(|rest| !rest.is_empty()) {
            self.begin(state)?;
            rest.write(self.form(), &mut state.out.file())?;
        }
        let Out::Beside(beside) = &state.out else { return Ok(()) };
        if keeps_old {
            add_missing(&beside.old()?, beside.file(), self.form())?;
        }
        beside.replace()
    }

    fn add(&self, state: &mut State, line: &[u8]) -> io::Result<()> {
        self.begin(state)?;
        state.out.file().write_all(&[line, &[self.lines.delimiter]].concat())
    }

    fn begin(&self, state: &mut State) -> io::Result<()> {
        match self.lines.header.get() {
            Some(header) if !std::mem::replace(&mut state.has_begun, true) => {
                state.out.file().write_all(&[header, &[self.lines.delimiter][..]].concat())
            }
            _ => Ok(()),
        }
    }

    fn form(&self) -> LineForm<'_> {
        let Lines { delimiter, is_csv, header, .. } = &self.lines;
        let header = header.get().map(Vec::as_slice);
        LineForm { delimiter: *delimiter, is_csv: *is_csv, header }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
