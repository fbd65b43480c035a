//! The remainder of a file that a run reads jobs from and writes failed jobs back to: the lines of jobs
//! that are not over, and the lines that were not read.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lines::Lines;
use crate::job::key::Digest128;
use crate::util::files::copy_rest;

/// How many bytes are read at once.
const PIECE: usize = 64 << 10;

/// The jobs that are left to do in the sources that are written back.
#[derive(Debug, Default)]
pub struct Remainder {
    state: Mutex<RemainderState>,
}

#[derive(Debug, Default)]
struct RemainderState {
    kept: Vec<Kept>,
    /// The lines of each job that was read and is not over, by its number.
    open: BTreeMap<u64, Arc<[u8]>>,
}

/// A source that is written back.
#[derive(Debug)]
struct Kept {
    /// Its number among the sources.
    source: u32,
    file: File,
    /// Where reading began.
    begin: u64,
    /// The jobs before this place are over or open.
    at: u64,
    /// Lines that were too long to be kept in memory: where each begins and ends.
    too_long: Vec<(u64, u64)>,
}

/// How a file is split into lines.
#[derive(Clone, Copy, Debug)]
pub struct LineForm<'a> {
    /// The byte that ends a line.
    pub delimiter: u8,
    /// Lines are CSV records.
    pub is_csv: bool,
    /// The first line of each source, once it is known.
    pub header: Option<&'a [u8]>,
}

impl LineForm<'_> {
    fn lines(self) -> Lines {
        Lines::with(self.is_csv, self.delimiter, usize::MAX)
    }
}

impl Remainder {
    /// Adds a source that is written back. It is read from `begin` on.
    pub fn keep(&self, source: u32, file: File, begin: u64) {
        let too_long = Vec::new();
        self.lock().kept.push(Kept { source, file, begin, at: begin, too_long });
    }

    /// The file of a source, and where its reading begins. `None`: it is not written back.
    pub(super) fn source(&self, source: u32) -> io::Result<Option<(File, u64)>> {
        let state = self.lock();
        let kept = state.kept.iter().find(|kept| kept.source == source);
        kept.map(|kept| Ok((kept.file.try_clone()?, kept.begin))).transpose()
    }

    /// Notes that sources were read up to these places, and that the last lines became this job, or
    /// none.
    pub(super) fn took(&self, places: &[(u32, u64)], job: Option<(u64, Arc<[u8]>)>) {
        let mut state = self.lock();
        let RemainderState { kept, open } = &mut *state;
        let mut is_kept = false;
        for &(source, at) in places {
            for kept in kept.iter_mut().filter(|kept| kept.source == source) {
                kept.at = at;
                is_kept = true;
            }
        }
        open.extend(job.filter(|_| is_kept));
    }

    /// Notes where a line that was too long begins and ends.
    pub(super) fn too_long(&self, source: u32, begin: u64, end: u64) {
        let mut state = self.lock();
        let kept = state.kept.iter_mut().filter(|kept| kept.source == source);
        kept.for_each(|kept| kept.too_long.push((begin, end)));
    }

    /// A job is over.
    pub fn done(&self, seq: u64) {
        self.lock().open.remove(&seq);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        let is_read = |kept: &Kept| {
            kept.too_long.is_empty() && kept.file.metadata().is_ok_and(|file| file.len() <= kept.at)
        };
        state.open.is_empty() && state.kept.iter().all(is_read)
    }

    /// Writes what is left: lines that were too long, the lines of jobs that are not over, and all that
    /// was not read. A known header is not written: the caller has done that.
    ///
    /// # Errors
    /// A file can't be read or written, or a source has another header.
    pub fn write(&self, form: LineForm<'_>, out: &mut impl Write) -> io::Result<()> {
        let state = self.lock();
        let mut out = EndedLines { out, delimiter: form.delimiter, last: form.delimiter };
        for kept in &state.kept {
            // Those after `at` are copied with the rest of the file.
            for &(begin, end) in kept.too_long.iter().filter(|(begin, _)| *begin < kept.at) {
                copy_part(&kept.file, begin, end, &mut out)?;
                out.end()?;
            }
        }
        for line in state.open.values() {
            out.write_all(line)?;
            out.write_all(&[form.delimiter])?;
        }
        for kept in &state.kept {
            let is_new = kept.at == kept.begin;
            let at = match form.header.filter(|_| is_new) {
                Some(header) => after_header(kept, header, form)?,
                None => kept.at,
            };
            copy_rest(&kept.file, at, &mut out)?;
            out.end()?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, RemainderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends to the new file the lines of an older one that it lacks, each as often as it is missing.
///
/// # Errors
/// One of them can't be read or written.
pub fn add_missing(old: &File, mut new: &File, form: LineForm<'_>) -> io::Result<()> {
    let mut there: HashMap<Digest128, u64> = HashMap::new();
    each_line(new, form, &mut |line| {
        *there.entry(Digest128::of([line])).or_default() += 1;
        Ok(())
    })?;
    each_line(old, form, &mut |line| match there.get_mut(&Digest128::of([line])) {
        Some(count @ 1..) => {
            *count -= 1;
            Ok(())
        }
        _ => new.write_all(&[line, &[form.delimiter]].concat()),
    })
}

fn each_line(
    file: &File,
    form: LineForm<'_>,
    act: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut lines = form.lines();
    let mut at = 0;
    loop {
        let count = read_piece(file, at, lines.buffer())?;
        at += count as u64;
        while let Some(line) = lines.next(count == 0) {
            // Lines have no limit here.
            act(line.text.unwrap_or_default())?;
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// Where the header ends in a source that was not read.
fn after_header(kept: &Kept, header: &[u8], form: LineForm<'_>) -> io::Result<u64> {
    let mut lines = form.lines();
    let mut at = kept.begin;
    loop {
        let count = read_piece(&kept.file, at, lines.buffer())?;
        at += count as u64;
        match lines.next(count == 0) {
            Some(line) if line.text == Ok(header) => return Ok(kept.begin + line.end),
            None if count > 0 => {}
            None => return Ok(at),
            Some(_) => {
                let message = "its header is not that of the input before it";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
    }
}

fn read_piece(file: &File, at: u64, to: &mut Vec<u8>) -> io::Result<usize> {
    let len = to.len();
    to.resize(len + PIECE, 0);
    let read = file.read_at(&mut to[len..], at);
    to.truncate(len + *read.as_ref().unwrap_or(&0));
    read
}

fn copy_part(from: &File, begin: u64, end: u64, to: &mut impl Write) -> io::Result<()> {
    let mut at = begin;
    let mut piece = Vec::new();
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        piece.resize(len, 0);
        from.read_exact_at(&mut piece, at)?;
        to.write_all(&piece)?;
        at += len as u64;
    }
    Ok(())
}

/// A writer that knows whether its last line has an end.
struct EndedLines<'a, W> {
    out: &'a mut W,
    delimiter: u8,
    last: u8,
}

impl<W: Write> EndedLines<'_, W> {
    fn end(&mut self) -> io::Result<()> {
        if self.last == self.delimiter { Ok(()) } else { self.write_all(&[self.delimiter]) }
    }
}

impl<W: Write> Write for EndedLines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.last = bytes[..count].last().copied().unwrap_or(self.last);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
