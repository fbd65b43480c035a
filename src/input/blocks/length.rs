//! How many bytes a source has, if that is known before it is read.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, SeekFrom, fstat, seek};

use crate::input::source::Source;

/// A source with a known length.
pub(super) struct WholeFile {
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// The length of a source in bytes, if it is known.
pub(super) fn len(source: &Source) -> Option<u64> {
    match source {
        Source::Stdin => whole(rustix::stdio::stdin()).map(|file| file.end - file.begin),
        Source::File(path) => path.metadata().ok().filter(|data| data.is_file()).map(|d| d.len()),
        Source::Args(_) => None,
    }
}

/// The bytes of a regular file that were not read.
pub(super) fn whole(source: BorrowedFd<'_>) -> Option<WholeFile> {
    let stat = fstat(source.as_fd()).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let begin = seek(source, SeekFrom::Current(0)).ok().filter(|_| is_file)?;
    let end = u64::try_from(stat.st_size).ok()?;
    Some(WholeFile { begin, end: end.max(begin) })
}
