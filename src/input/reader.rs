//! The settings of the input: its sources, the form of its lines, and the pools that jobs are for.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::blocks::Blocks;
use super::coding::Coding;
use super::intake::Intake;
use super::job_lines::{self, Fields, Invalid};
use super::joining::Joining;
use super::plain_lines::{Columns, Plain};
use super::remainder::Remainder;
use super::route::Route;
use super::source::Source;
use super::whole::Whole;
use crate::job::Job;
use crate::journal::Journal;

/// How the reading of the input ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All of the input was read. The number is how many jobs there are.
    Complete(u64),
    /// The pool takes no more jobs. The number is how many jobs were read and not fed.
    Stopped(usize),
    /// Some of the input could not be read. That was reported.
    Incomplete,
    /// The input lacks columns that the command needs. The text is a sentence.
    Misused(String),
    /// A record of the journal could not be read back. The text is a sentence.
    Unresumable(String),
}

/// What a line is.
#[derive(Clone, Debug)]
pub enum Form {
    /// A whole job.
    Job,
    /// The args of a fixed command.
    Plain(Plain),
    /// A message to a worker, which may be any bytes.
    Message,
    /// A line alone is nothing: a block has many lines.
    Blocks(Blocks),
}

impl Form {
    /// The same for another reading of the same input.
    pub(super) fn with_own_header(&self) -> Self {
        match self {
            Self::Plain(plain) => Self::Plain(Plain {
                header: Arc::default(),
                header_line: Arc::default(),
                ..plain.clone()
            }),
            form => form.clone(),
        }
    }
}

/// Which lines are kept with the jobs that are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptLines {
    /// None.
    None,
    /// Those of all jobs.
    OfJobs,
    /// All. A line that is no job becomes an empty job: others decide what it is.
    All,
}

impl KeptLines {
    pub(super) fn are_any(self) -> bool {
        self != Self::None
    }
}

/// How the sources are read.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The sources, in the order in which they are read.
    pub sources: Vec<Source>,
    /// What a line is.
    pub form: Form,
    /// How the bytes of a message are written in its line.
    pub coding: Coding,
    /// The byte that ends a line.
    pub delimiter: u8,
    /// The longest line, in bytes.
    pub max_line: usize,
    /// Which lines are kept with their jobs.
    pub kept: KeptLines,
    /// Messages that are read together may be fed as one job. Their results are delivered together
    /// ([`Sink::texts`](crate::Sink::texts)).
    pub bundles: bool,
    /// How jobs are joined, whose results are one list; `None`: each job is asked for alone.
    pub joining: Option<Joining>,
    /// Which of several pools a job is for.
    pub route: Route,
    /// The journal: a job that has succeeded according to it is not run again.
    pub journal: Option<Arc<Journal>>,
    /// The sources that are written back, with the jobs that are not done. Jobs keep their lines then.
    pub rest: Option<Arc<Remainder>>,
    /// Reading ends soon after this is set.
    pub stop: Arc<AtomicBool>,
    /// How far the reading has come.
    pub intake: Arc<Intake>,
    /// What needs all of the input before the first job.
    pub whole: Whole,
}

impl Reader {
    /// Reads lines of these sources, and nothing more is wanted.
    #[cfg(test)]
    pub(super) fn simple(form: Form, sources: Vec<Source>) -> Self {
        Self {
            sources,
            form,
            coding: Coding::default(),
            delimiter: b'\n',
            max_line: 64 << 20,
            kept: KeptLines::None,
            bundles: false,
            joining: None,
            route: Route::One,
            journal: None,
            rest: None,
            stop: Arc::default(),
            intake: Arc::default(),
            whole: Whole::default(),
        }
    }

    /// Opens a source. A source that is written back is open already, and may have another name now.
    pub(super) fn open(&self, path: &Path, source: u32) -> io::Result<File> {
        let kept = self.rest.as_ref().map_or(Ok(None), |rest| rest.source(source))?;
        kept.map_or_else(|| File::open(path), |(file, _)| Ok(file))
    }

    /// Whether lines are CSV records.
    pub(super) fn is_csv(&self) -> bool {
        matches!(&self.form, Form::Plain(plain) if plain.columns.is_csv())
    }

    /// Whether lines are text that a person may have written with an editor, and not any bytes, such
    /// as names of files.
    pub(super) fn is_text(&self, source: u32) -> bool {
        let source = usize::try_from(source).ok().and_then(|index| self.sources.get(index));
        let is_form = match &self.form {
            Form::Job => true,
            Form::Plain(plain) => plain.columns != Columns::One,
            Form::Message => self.coding != Coding::Plain,
            Form::Blocks(_) => false,
        };
        is_form && self.delimiter == b'\n' && !matches!(source, Some(Source::Args(_)))
    }

    /// Reads a line that is a job. `Ok(None)`: the line is skipped.
    pub(super) fn fields<'a>(&'a self, line: &'a [u8]) -> Result<Option<Fields<'a>>, Invalid> {
        match &self.form {
            Form::Job => job_lines::parse(line),
            Form::Plain(plain) => plain.parse(line),
            Form::Message | Form::Blocks(_) => Ok(None),
        }
    }

    /// Whether a job has nothing but its texts, unless its line says more.
    pub(super) fn is_bare(&self) -> bool {
        !self.kept.are_any()
            && self.joining.is_none()
            && self.journal.is_none()
            && matches!(self.route, Route::One)
    }

    /// Finds the pool of a job.
    pub(super) fn choose(&self, mut job: Job, worker: Option<&str>) -> Result<Job, Invalid> {
        if matches!((&self.route, worker), (Route::One, None)) {
            return Ok(job);
        }
        match self.route.pool_of(&job, worker) {
            Ok(pool) => {
                job.pool = pool;
                Ok(job)
            }
            Err(invalid) => {
                let id = job.id().map(String::from_utf8_lossy).unwrap_or_default();
                Err(Invalid { id: id.into_owned(), ..invalid })
            }
        }
    }
}
