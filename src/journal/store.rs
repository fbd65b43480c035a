//! An open journal: looks up the record of each job that is read, and appends new records.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use super::error::{JournalError, JournalProblem};
use super::file;
use super::index::{Found, Index, Unusable};
use super::key::{Context, Repeats};
use super::reader::RecordReader;
use super::record::{self, Recorded};
use super::sync::DiskSync;
use super::tail::Tail;
use crate::job::key::Key;
use crate::job::printed::{Capture, Spool};
use crate::job::{Done, Job, Kind};
use crate::util::lock::lock;

/// How a journal is used.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// Where the journal is.
    pub path: PathBuf,
    /// Jobs that have succeeded according to the journal are not run again. Without this, the journal
    /// must be new or empty.
    pub resume: bool,
    /// A record is on the disk before its result is printed.
    pub sync: bool,
    /// The settings that give jobs their meaning besides their own texts.
    pub context: Context,
    /// The most bytes of lines in a job, if the lines of a job are limited by their bytes.
    pub pack: Option<usize>,
}

/// A journal that is open and locked.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    context: Context,
    past: Mutex<Past>,
    tail: Mutex<Tail>,
    sync: Option<Arc<DiskSync>>,
    /// Where large results go when they are read back.
    spool: Arc<Spool>,
    resumed: AtomicU64,
    recorded: u64,
    torn: u64,
    pack: Option<usize>,
}

/// The records of earlier runs.
#[derive(Debug)]
struct Past {
    index: Index,
    repeats: Repeats,
    records: RecordReader,
}

impl Journal {
    /// Opens a journal, or makes it. With [`JournalSettings::resume`], looks through all of it, and cuts
    /// off a torn last line.
    ///
    /// # Errors
    /// Why the run can't begin: the journal can't be opened or read, another run has it, or it is
    /// damaged.
    pub fn open(settings: &JournalSettings) -> Result<Self, JournalError> {
        Self::try_open(settings).map_err(|problem| JournalError::new(&settings.path, problem))
    }

    fn try_open(settings: &JournalSettings) -> Result<Self, JournalProblem> {
        let file = file::open(&settings.path)?;
        file::lock(&file)?;
        let metadata = file.metadata().map_err(JournalProblem::Unreadable)?;
        let found = load(&file, &metadata, settings)?;
        let (pack, line) = packing(settings, found.pack)?;
        (&file).write_all(&line).map_err(JournalProblem::Unreadable)?;
        let len = found.len + line.len() as u64;
        Self::begin(settings, file, len, found, pack).map_err(JournalProblem::Unreadable)
    }

    fn begin(
        settings: &JournalSettings,
        file: File,
        len: u64,
        found: Found,
        pack: Option<usize>,
    ) -> io::Result<Self> {
        let sync = if settings.sync { Some(DiskSync::start(&file, &settings.path)?) } else { None };
        let records = RecordReader::records(file.try_clone()?);
        Ok(Self {
            path: settings.path.clone(),
            context: settings.context.clone(),
            recorded: found.index.len() as u64,
            past: Mutex::new(Past { index: found.index, repeats: Repeats::default(), records }),
            tail: Mutex::new(Tail::new(file, len)),
            sync,
            spool: Arc::default(),
            resumed: AtomicU64::new(0),
            torn: found.torn,
            pack,
        })
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name for the run that the journal is of: it stays the same when the run is resumed, and another journal has
    /// another one.
    ///
    /// # Errors
    /// The file can't be looked at.
    pub fn name_of_run(&self) -> std::io::Result<String> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(&self.path)?;
        let born = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let born = born.unwrap_or_default().as_nanos();
        let path = std::fs::canonicalize(&self.path)?;
        Ok(format!("{} {} {born}", path.display(), found.ino()))
    }

    /// How many bytes of a torn last line were cut off.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// [`JournalSettings::pack`] of the first run, so that lines make the same jobs again.
    pub fn pack(&self) -> Option<usize> {
        self.pack
    }

    /// How many jobs had succeeded according to the journal when it was opened.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// How many jobs of this run had succeeded in an earlier run.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Gives a job its key, or finds its result of an earlier run. Call this for all jobs in the order of the
    /// input.
    ///
    /// # Errors
    /// Its record can't be read back.
    pub fn admit(&self, job: &mut Job) -> Result<Option<Recorded>, JournalError> {
        let digest = self.context.digest(job);
        let mut past = lock(&self.past);
        let Past { index, repeats, records } = &mut *past;
        let (nth, place) = index.next(digest).unwrap_or_else(|| (repeats.count(digest), None));
        let Some(place) = place else {
            job.key = NonZeroU32::new(nth).map(|nth| Key { digest, nth });
            return Ok(None);
        };
        records.go(place);
        let recorded = Recorded::read(records, &self.spool)
            .map_err(|error| JournalError::new(&self.path, not_read_back(place, error)))?;
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Ok(Some(recorded))
    }

    /// Adds the record of a job to `records`, for [`Journal::append`]. A cancelled job and a job without a
    /// key have no record. [`Journal::admit`] gives a job its key.
    pub fn add(done: &Done<'_>, records: &mut Vec<u8>) {
        if let Some(key) = key_of(done) {
            let begin = records.len();
            if record::write(done, key, records).is_err() {
                // Results in memory can be read, so this does not happen. A job without a record is
                // run again.
                records.truncate(begin);
            }
        }
    }

    /// Appends records, whole lines. Nothing is appended after a write has failed.
    ///
    /// # Errors
    /// They could not be written. This is reported once.
    pub fn append(&self, records: &[u8]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.append_by(|tail| tail.append(records))
    }

    /// Appends records that may lie in a temporary file: whole lines, all of them or none.
    ///
    /// # Errors
    /// As for [`Journal::append`], or they could not be read back.
    pub(crate) fn append_captured(&self, records: &Capture) -> Result<(), JournalError> {
        self.append_by(|tail| tail.append_captured(records))
    }

    /// Appends the record of a command with a large output, piece by piece.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn append_large(&self, done: &Done<'_>) -> Result<(), JournalError> {
        match key_of(done) {
            Some(key) => self.append_by(|tail| tail.append_large(done, key)),
            None => Ok(()),
        }
    }

    fn append_by(
        &self,
        append: impl FnOnce(&mut Tail) -> io::Result<()>,
    ) -> Result<(), JournalError> {
        let mut tail = lock(&self.tail);
        if tail.is_broken() {
            return Ok(());
        }
        append(&mut tail).map_err(|error| self.not_recorded(error))?;
        if let Some(sync) = &self.sync {
            sync.written();
        }
        Ok(())
    }

    /// Waits until all records that were appended are on the disk, with [`JournalSettings::sync`].
    ///
    /// # Errors
    /// They could not be written there. This is reported once.
    pub(crate) fn wait_synced(&self) -> Result<(), JournalError> {
        let Some(sync) = &self.sync else { return Ok(()) };
        sync.wait_synced().map_err(|error| self.not_recorded(error))
    }

    fn not_recorded(&self, error: io::Error) -> JournalError {
        JournalError::new(&self.path, JournalProblem::NotRecorded(error))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(sync) = &self.sync {
            sync.end();
        }
    }
}

/// Finds the records of a file, and cuts off a torn last line.
fn load(
    file: &File,
    metadata: &Metadata,
    settings: &JournalSettings,
) -> Result<Found, JournalProblem> {
    if !metadata.is_file() && !metadata.file_type().is_char_device() {
        return Err(JournalProblem::NotAFile);
    }
    if metadata.len() > 0 && !settings.resume {
        let is_journal = file::may_be_journal(file);
        let problem =
            if is_journal { JournalProblem::HasRecords } else { JournalProblem::NotAJournal };
        return Err(problem);
    }
    if !metadata.is_file() {
        return Ok(Found::default());
    }
    let found = Index::load(file, settings.context.pack()).map_err(|unusable| match unusable {
        Unusable::Io(error) => JournalProblem::Unreadable(error),
        Unusable::Line(_) if !file::may_be_journal(file) => JournalProblem::NotAJournal,
        Unusable::Line(line) => JournalProblem::Damaged { line },
    })?;
    if found.torn > 0 {
        file.set_len(found.len).map_err(JournalProblem::Unreadable)?;
    }
    Ok(found)
}

/// The most bytes of lines in a job, and the record of that limit if the journal has none. The environment
/// takes a part of the room, and may be larger in a later run. So half of the room is left for it.
fn packing(
    settings: &JournalSettings,
    recorded: Option<usize>,
) -> Result<(Option<usize>, Vec<u8>), JournalProblem> {
    match (settings.pack, recorded) {
        (Some(now), Some(then)) if now < then => Err(JournalProblem::LessRoom { then, now }),
        (Some(_), Some(then)) => Ok((Some(then), Vec::new())),
        (Some(now), None) => {
            let half = now / 2;
            Ok((Some(half), record::pack_line(settings.context.pack(), half)))
        }
        (None, _) => Ok((None, Vec::new())),
    }
}

/// Why a record can't be read back.
fn not_read_back(place: u64, error: io::Error) -> JournalProblem {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        // The record is good. A large result is kept in a temporary file until it can be printed.
        StorageFull | QuotaExceeded | FileTooLarge => JournalProblem::NotSpooled(error),
        _ => JournalProblem::RecordUnreadable { place, error },
    }
}

/// The key of a job that is to be recorded. A job that was cancelled is not over.
fn key_of(done: &Done<'_>) -> Option<Key> {
    done.job.key.filter(|_| !done.outcome.is_err_and(|failure| failure.kind == Kind::Cancelled))
}
