//! The file of a journal: how it is opened and locked, and whether it is a journal at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::JournalProblem;
use super::record;
use crate::util::files::{FilePlace, Links};

/// How long to wait for the lock. A run that was just killed may have left a child that has not become its
/// program yet. Until it does, the child holds the lock: on a busy machine for a part of a second.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait between two looks at the lock.
const LOCK_TICK: Duration = Duration::from_millis(10);

/// Opens the file. A new file can be read by nobody else. A symbolic link in its place is not followed, not
/// even the user's own: a link must not direct records to another file.
pub(super) fn open(path: &Path) -> Result<File, JournalProblem> {
    let opened = FilePlace::find(path, Links::Refused).and_then(|place| place.append_and_read());
    opened.map_err(JournalProblem::Unopened)
}

/// Locks the file for as long as it is open.
pub(super) fn lock(file: &File) -> Result<(), JournalProblem> {
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < end => thread::sleep(LOCK_TICK),
            Err(Errno::WOULDBLOCK) => return Err(JournalProblem::Locked),
            Err(error) => return Err(JournalProblem::Unlockable(io::Error::from(error))),
        }
    }
}

/// Whether a file that is not empty looks like a journal: one of its first lines begins as a record does, or
/// the whole file is the beginning of a record.
pub(super) fn may_be_journal(file: &File) -> bool {
    let mut head = vec![0; 64 << 10];
    let Ok(length) = file.read_at(&mut head, 0) else { return true };
    // A crash may leave zeros in place of the last bytes that were written.
    let end = head[..length].iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let head = &head[..end];
    let digits = |line: &[u8]| line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_begun = |line: &[u8]| {
        let key = line.strip_prefix(record::BEGIN);
        key.is_some_and(|key| key[digits(key)..].starts_with(b"\",\"nth\":"))
    };
    // The whole file may be the beginning of one record.
    let is_short = !head.is_empty()
        && !head.contains(&b',')
        && (head.starts_with(record::BEGIN) || record::BEGIN.starts_with(head));
    is_short || head.split(|&byte| byte == b'\n').any(is_begun)
}
