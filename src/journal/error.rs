//! Why a journal can't be used, as values that callers can tell apart and as sentences.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::util::setting::Setting;

/// Why a journal can't be used.
#[derive(Debug)]
pub struct JournalError {
    /// Where the journal is.
    pub path: PathBuf,
    /// The problem with it.
    pub problem: JournalProblem,
}

/// A problem with a journal.
#[derive(Debug)]
#[non_exhaustive]
pub enum JournalProblem {
    /// The file can't be opened.
    Unopened(io::Error),
    /// Another run uses the journal.
    Locked,
    /// The file can't be locked.
    Unlockable(io::Error),
    /// The path names a folder, a socket or the like.
    NotAFile,
    /// The file has text that is no journal.
    NotAJournal,
    /// The journal has records, but the settings do not say to resume.
    HasRecords,
    /// The file can't be read or written.
    Unreadable(io::Error),
    /// A line is not a record.
    Damaged {
        /// Its number, from 1.
        line: u64,
    },
    /// There is room for fewer bytes of arguments than the jobs of the journal have.
    LessRoom {
        /// How many bytes its jobs have at most.
        then: usize,
        /// How many bytes there is room for.
        now: usize,
    },
    /// A record can't be read back.
    RecordUnreadable {
        /// Where the record begins, in bytes from 0.
        place: u64,
        /// Why.
        error: io::Error,
    },
    /// A large result could not be copied to a temporary file.
    NotSpooled(io::Error),
    /// Records could not be written, or not synced to the disk.
    NotRecorded(io::Error),
}

impl JournalError {
    pub(super) fn new(path: &Path, problem: JournalProblem) -> Self {
        Self { path: path.to_owned(), problem }
    }
}

impl std::error::Error for JournalError {}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            JournalProblem::Unopened(error) => write_unopened(&self.path, error, f),
            JournalProblem::Locked => write!(
                f,
                "the journal '{path}' is in use by another run: wait for its end, or name another \
                 file"
            ),
            JournalProblem::Unlockable(error) => {
                write!(f, "the journal '{path}' can't be locked: {error}")
            }
            JournalProblem::NotAFile => {
                write!(f, "the journal '{path}' can't be used: it is not a file")
            }
            JournalProblem::NotAJournal => write!(
                f,
                "the file '{path}' is no journal: none of its lines is a record; name another file"
            ),
            JournalProblem::HasRecords => write!(
                f,
                "the journal '{path}' has records of an earlier run: give {} to continue that run, \
                 or remove the file to start again",
                Setting::Resume
            ),
            JournalProblem::Unreadable(error) => {
                write!(f, "the journal '{path}' can't be used: {error}")
            }
            JournalProblem::Damaged { line } => write!(
                f,
                "the journal '{path}' can't be used: line {line} is not a record; if the file is a \
                 journal, remove that line, and its job will be run again"
            ),
            JournalProblem::LessRoom { then, now } => write!(
                f,
                "the journal '{path}' can't be used: its jobs have up to {then} bytes of arguments, \
                 but now there is room for {now} only, so its lines would make other jobs; make the \
                 environment smaller or the limit of the stack (ulimit -s) larger, as in that run, \
                 or name another file"
            ),
            JournalProblem::RecordUnreadable { place, error } => write!(
                f,
                "the journal '{path}' can't be used: the record at byte {place} could not be read \
                 back: {error}; remove that line, and its job will be run again"
            ),
            JournalProblem::NotSpooled(error) => write!(
                f,
                "a result in the journal '{path}' could not be kept in a temporary file in '{}': \
                 {error}; make room there, or set TMPDIR to another folder, and resume",
                crate::util::temporary::temporary_folder().display()
            ),
            JournalProblem::NotRecorded(error) => write!(
                f,
                "results could not be recorded in the journal '{path}': {error}; the results of jobs \
                 that have run are printed, but {} runs each job again that has no record",
                Setting::Resume
            ),
        }
    }
}

fn write_unopened(path: &Path, error: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let path = path.display();
    match Errno::from_io_error(error) {
        Some(Errno::LOOP) => write!(
            f,
            "the journal '{path}' can't be used: it is a symbolic link, and those are not followed; \
             name the file itself"
        ),
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
            write!(f, "the journal '{path}' can't be written: {error}")
        }
        // The error says that another user has made the file.
        None if error.kind() == io::ErrorKind::PermissionDenied => {
            write!(f, "the journal '{path}' can't be used: {error}; name another file")
        }
        _ => write!(f, "the journal '{path}' can't be opened: {error}"),
    }
}
