//! The journal of a run: what came of each job, written when it finishes, so that a run that was cut
//! short can be gone on with.
//!
//! A record is written before its result is printed, and with [`Settings::sync`] it is on the disk
//! by then. So what anybody has seen of a run is in its journal, and a job that is in the journal is
//! not run again.

mod index;
mod key;
mod record;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::job::key::Key;
use crate::job::printed::Spool;
use crate::job::{Done, Job, Kind};
use crate::util::files::{Links, Place};
use index::{At, Index, Unusable};
pub use key::Context;
use key::Repeats;
pub use record::Recorded;

/// A process that was killed a moment ago may have left a child that is just about to become a
/// command, and holds the lock until then.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
/// How long to wait between two looks at the lock.
const LOCK_TICK: Duration = Duration::from_millis(10);

/// How a journal is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds is taken for done; otherwise it must be new or empty.
    pub resume: bool,
    /// What is printed is on the disk before.
    pub sync: bool,
    /// What jobs mean besides what stands in them.
    pub context: Context,
    /// Lines go together in jobs of so many bytes at most, if they go by their bytes.
    pub pack: Option<usize>,
}

/// A journal that is open, and locked.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    context: Context,
    known: Mutex<Known>,
    tail: Mutex<Tail>,
    sync: Option<Arc<Sync>>,
    /// Where large results go when they are read back.
    spool: Arc<Spool>,
    resumed: AtomicU64,
    recorded: u64,
    torn: u64,
    pack: Option<usize>,
}

/// What the reader of the input asks about.
#[derive(Debug)]
struct Known {
    index: Index,
    repeats: Repeats,
    records: At,
}

/// Where records are appended.
#[derive(Debug)]
struct Tail {
    file: File,
    /// Its whole records end here.
    len: u64,
    /// A record could not be written, and none will be.
    is_broken: bool,
}

/// What was written, and what of it is on the disk.
#[derive(Debug, Default)]
struct Sync {
    state: Mutex<Synced>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Synced {
    /// How often records were written…
    written: u64,
    /// …and how many of these writes are on the disk.
    synced: u64,
    trouble: Option<io::Error>,
    is_broken: bool,
    is_over: bool,
}

impl Journal {
    /// Opens a journal, or makes it. With [`Settings::resume`], looks through all of it, and cuts off
    /// a last line that is torn.
    ///
    /// # Errors
    /// A sentence that says why the run can't begin: it can't be opened or read, another run has it,
    /// or it is not as it should be.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let name = settings.path.display();
        let cannot = |error: io::Error| format!("the journal '{name}' can't be used: {error}");
        let file = open(&settings.path)?;
        lock_file(&file, &settings.path)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() && !metadata.file_type().is_char_device() {
            return Err(format!("the journal '{name}' can't be used: it is not a file"));
        }
        if metadata.len() > 0 && !settings.resume {
            if !may_be_journal(&file) {
                return Err(format!(
                    "the file '{name}' is no journal: none of its lines is a record; name another \
                     file"
                ));
            }
            return Err(format!(
                "the journal '{name}' has records of an earlier run: go on with that run by \
                 --resume, or remove the file to begin anew"
            ));
        }
        let found = match metadata.is_file() {
            true => {
                Index::load(&file, settings.context.pack()).map_err(|unusable| match unusable {
                    Unusable::Io(error) => cannot(error),
                    Unusable::Line(number) => format!(
                        "the journal '{name}' can't be used: line {number} is not a record; if the \
                     file is a journal, remove that line, and its job will be run again"
                    ),
                })?
            }
            false => index::Found::default(),
        };
        if found.torn > 0 {
            file.set_len(found.len).map_err(cannot)?;
        }
        let (pack, line) = packing(settings, found.pack)?;
        (&file).write_all(&line).map_err(cannot)?;
        let len = found.len + line.len() as u64;
        let sync = match settings.sync {
            true => Some(Sync::start(&file, &settings.path).map_err(cannot)?),
            false => None,
        };
        let records = At::records(file.try_clone().map_err(cannot)?);
        Ok(Self {
            path: settings.path.clone(),
            context: settings.context.clone(),
            recorded: found.index.len() as u64,
            known: Mutex::new(Known { index: found.index, repeats: Repeats::default(), records }),
            tail: Mutex::new(Tail { file, len, is_broken: false }),
            sync,
            spool: Arc::default(),
            resumed: AtomicU64::new(0),
            torn: found.torn,
            pack,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes of a torn last line were cut off.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// As [`Settings::pack`], but what it was in the first run, so that lines make the same jobs again.
    pub fn pack(&self) -> Option<usize> {
        self.pack
    }

    /// How many jobs had succeeded according to the journal when it was opened.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// How many jobs of this run had succeeded before.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Gives a job its key, or finds what came of it in an earlier run. Jobs must be shown in the
    /// order of the input.
    ///
    /// # Errors
    /// A sentence: its record can't be read back.
    pub fn admit(&self, job: &mut Job) -> Result<Option<Recorded>, String> {
        let digest = self.context.digest(job);
        let mut known = lock(&self.known);
        let Known { index, repeats, records } = &mut *known;
        let (nth, place) = index.next(digest).unwrap_or_else(|| (repeats.count(digest), None));
        let Some(place) = place else {
            job.key = NonZeroU32::new(nth).map(|nth| Key { digest, nth });
            return Ok(None);
        };
        records.go(place);
        let recorded =
            Recorded::read(records, &self.spool).map_err(|error| self.unreadable(place, &error))?;
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Ok(Some(recorded))
    }

    /// Why a record can't be read back, as a sentence.
    fn unreadable(&self, place: u64, error: &io::Error) -> String {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let path = self.path.display();
        match error.kind() {
            // The record is good: what is much of it is kept until its turn to be printed comes.
            StorageFull | QuotaExceeded | FileTooLarge => format!(
                "a result in the journal '{path}' could not be kept in a temporary file in '{}': \
                 {error}; make room there, or set TMPDIR to another folder, and resume",
                std::env::temp_dir().display()
            ),
            _ => format!(
                "the journal '{path}' can't be used: the record at byte {place} could not be read \
                 back: {error}; remove that line, and its job will be run again"
            ),
        }
    }

    /// Adds the record of a job to those that are to be appended, unless it is no job of the journal's
    /// ([`Journal::admit`] makes it one), or has not come to an end by itself.
    pub fn add(done: &Done<'_>, records: &mut Vec<u8>) {
        if let Some(key) = key_of(done) {
            let begin = records.len();
            if record::write(done, key, records).is_err() {
                // What lies in memory can be read back. A job whose record is missing is run again.
                records.truncate(begin);
            }
        }
    }

    /// Appends records, whole lines. Once some could not be written, nothing is appended any more.
    ///
    /// # Errors
    /// A sentence, once: what could not be written.
    pub fn append(&self, records: &[u8]) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        let mut tail = lock(&self.tail);
        if tail.is_broken {
            return Ok(());
        }
        let mut written = 0;
        let result = loop {
            match (&tail.file).write(&records[written..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if written == records.len() {
                break Ok(());
            }
        };
        // What was written whole is recorded, also where the rest was not.
        let whole = memchr::memrchr(b'\n', &records[..written]).map_or(0, |at| at + 1);
        self.appended(&mut tail, whole as u64, result)
    }

    /// Appends the record of a command that has printed a lot, piece by piece.
    ///
    /// # Errors
    /// As those of [`Journal::append`].
    pub fn append_large(&self, done: &Done<'_>) -> Result<(), String> {
        let Some(key) = key_of(done) else { return Ok(()) };
        let mut tail = lock(&self.tail);
        if tail.is_broken {
            return Ok(());
        }
        let (count, result) = write_large(done, key, &tail.file);
        self.appended(&mut tail, count, result)
    }

    /// So many bytes of whole records were appended, and no more if there is an error.
    fn appended(&self, tail: &mut Tail, len: u64, result: io::Result<()>) -> Result<(), String> {
        tail.len += len;
        let Err(error) = result else {
            if let Some(sync) = &self.sync {
                lock(&sync.state).written += 1;
                sync.changed.notify_all();
            }
            return Ok(());
        };
        tail.is_broken = true;
        // If even that fails, the torn line is cut off by the next run.
        let _ = tail.file.set_len(tail.len);
        Err(self.unrecorded(&error))
    }

    fn unrecorded(&self, error: &io::Error) -> String {
        format!(
            "results could not be recorded in the journal '{}': {error}; those of jobs that have \
             run are printed, but only what is recorded counts as done for --resume",
            self.path.display()
        )
    }

    /// Waits until all that was appended is on the disk, if that was asked for. What could not be
    /// brought there is told once, as a sentence.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let Some(sync) = &self.sync else { return Ok(()) };
        let mut state = lock(&sync.state);
        let wanted = state.written;
        while state.synced < wanted && !state.is_broken {
            state = sync.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.trouble.take().map_or(Ok(()), |error| Err(self.unrecorded(&error)))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(sync) = &self.sync {
            lock(&sync.state).is_over = true;
            sync.changed.notify_all();
        }
    }
}

impl Sync {
    /// Starts the thread that brings records to the disk: all that were written while it was busy with
    /// those before, at once.
    fn start(file: &File, path: &Path) -> io::Result<Arc<Self>> {
        // What earlier runs have recorded will be printed, too.
        file.sync_data().or_else(pass_devices)?;
        // The file itself is to be there after a power cut; if its folder can't be opened, so be it.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        let (sync, file) = (Arc::new(Self::default()), file.try_clone()?);
        let thread = Arc::clone(&sync);
        thread::Builder::new().name("journal".into()).spawn(move || thread.run(&file))?;
        Ok(sync)
    }

    fn run(&self, file: &File) {
        let mut state = lock(&self.state);
        loop {
            while state.written == state.synced && !state.is_over {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.written == state.synced {
                return;
            }
            let written = state.written;
            drop(state);
            let result = file.sync_data();
            state = lock(&self.state);
            state.synced = written;
            if let Err(error) = result.or_else(pass_devices) {
                (state.trouble, state.is_broken) = (Some(error), true);
                self.changed.notify_all();
                return;
            }
            self.changed.notify_all();
        }
    }
}

/// What can't be brought to a disk, since it does not lie on one, need not be.
fn pass_devices(error: io::Error) -> io::Result<()> {
    match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => Ok(()),
        _ => Err(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key of a job that is to be recorded. One that was cancelled is not over.
fn key_of(done: &Done<'_>) -> Option<Key> {
    done.job.key.filter(|_| !done.outcome.is_err_and(|failure| failure.kind == Kind::Cancelled))
}

/// Opens the file, for nobody else to read. A link in its place is not followed, not even one's own:
/// whoever can make one there must not have other files written to.
fn open(path: &Path) -> Result<File, String> {
    let opened = Place::find(path, Links::Refused).and_then(|place| place.append_and_read());
    opened.map_err(|error| {
        let name = path.display();
        match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => format!(
                "the journal '{name}' can't be used: it is a symbolic link, and those are not \
                 followed; name the file itself"
            ),
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
                format!("the journal '{name}' can't be written: {error}")
            }
            // Somebody else has made what is there.
            None if error.kind() == io::ErrorKind::PermissionDenied => {
                format!("the journal '{name}' can't be used: {error}; name another file")
            }
            _ => format!("the journal '{name}' can't be opened: {error}"),
        }
    })
}

/// Whether a file that is not empty looks like a journal, by its first lines: one of them begins as a
/// record does, or as much as there is of the first does.
fn may_be_journal(file: &File) -> bool {
    let mut head = vec![0; 64 << 10];
    let Ok(length) = file.read_at(&mut head, 0) else { return true };
    // What was lost in a crash may be zeros.
    let end = head[..length].iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let head = &head[..end];
    let digits = |line: &[u8]| line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_begun = |line: &[u8]| {
        let key = line.strip_prefix(record::BEGIN);
        key.is_some_and(|key| key[digits(key)..].starts_with(b"\",\"nth\":"))
    };
    // All that there is may be the beginning of one.
    let is_short = !head.is_empty()
        && !head.contains(&b',')
        && (head.starts_with(record::BEGIN) || record::BEGIN.starts_with(head));
    is_short || head.split(|&byte| byte == b'\n').any(is_begun)
}

/// How many bytes of lines make a job, and the line that is to be recorded of it. What there is room for
/// depends on the environment, which may be larger in a later run: half of it is left free for that.
fn packing(
    settings: &Settings,
    recorded: Option<usize>,
) -> Result<(Option<usize>, Vec<u8>), String> {
    match (settings.pack, recorded) {
        (Some(now), Some(then)) if now < then => Err(format!(
            "the journal '{}' can't be used: its jobs have up to {then} bytes of arguments, and now \
             there is room for {now} only, so that lines would make other jobs; make the environment \
             smaller or the limit of the stack (ulimit -s) larger, as it was, or name another file",
            settings.path.display()
        )),
        (Some(_), Some(then)) => Ok((Some(then), Vec::new())),
        (Some(now), None) => {
            let half = now / 2;
            Ok((Some(half), record::pack_line(settings.context.pack(), half)))
        }
        (None, _) => Ok((None, Vec::new())),
    }
}

/// Locks the file for as long as it is open.
fn lock_file(file: &File, path: &Path) -> Result<(), String> {
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < end => thread::sleep(LOCK_TICK),
            Err(Errno::WOULDBLOCK) => {
                return Err(format!(
                    "the journal '{}' is in use by another run: wait for its end, or name another \
                     file",
                    path.display()
                ));
            }
            Err(error) => {
                let error = io::Error::from(error);
                return Err(format!("the journal '{}' can't be locked: {error}", path.display()));
            }
        }
    }
}

/// Writes a record piece by piece. Returns how long it is, if it was written whole.
fn write_large(done: &Done<'_>, key: Key, file: &File) -> (u64, io::Result<()>) {
    let mut out = Counting { out: BufWriter::with_capacity(64 << 10, file), count: 0 };
    let result = record::write(done, key, &mut out).and_then(|()| out.flush());
    let count = if result.is_ok() { out.count } else { 0 };
    // What is left in it must not be written behind what is cut off.
    drop(out.out.into_parts());
    (count, result)
}

/// Counts what is written.
struct Counting<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
