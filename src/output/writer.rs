//! The thread that writes stdout: it takes all records that are ready, and writes them at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::termios::isatty;
use tokio::sync::oneshot;

use super::large::Large;
use super::order::{Aside, Ready};
use super::settings::Trouble;
use super::shelf::{Shelf, ShelfState};

/// How long the writer pauses after a write, so that many records are written at once. A writer that is
/// idle is woken at once by a new record.
const PAUSE: Duration = Duration::from_millis(1);

/// The same where nobody waits for the records: they go to a file, or to nowhere.
const FILE_PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Writer {
    pub(super) shelf: Arc<Shelf>,
    pub(super) stdout: OwnedFd,
    /// Dropped when the writer is done.
    pub(super) _done: oneshot::Sender<()>,
}

impl Writer {
    /// Writes until the end. If this panics, slots must not wait for it.
    pub(super) fn run(self) {
        if catch_unwind(AssertUnwindSafe(|| self.write_all_records())).is_err() {
            let message = "the results could not be written to stdout: the thread that writes them has \
                           panicked";
            self.end_with(Trouble::Broken(message.to_owned()));
        }
    }

    fn write_all_records(&self) {
        let mut ready = Ready::default();
        let pause = if has_reader(&self.stdout) { PAUSE } else { FILE_PAUSE };
        while self.next(&mut ready) {
            if let Some(journal) = &self.shelf.settings.journal {
                self.shelf.recorded(journal.wait_synced());
            }
            if let Err(error) = self.write(&ready) {
                return self.broken(error);
            }
            ready.clear();
            self.pause(pause);
        }
    }

    /// Waits for records and takes them. Returns whether there are any.
    fn next(&self, ready: &mut Ready) -> bool {
        let mut state = self.shelf.lock();
        loop {
            let ShelfState { order, ready: next, is_over, .. } = &mut *state;
            if let Err(error) = order.advance(next, *is_over) {
                self.shelf.screen.trouble(Trouble::Disordered(format!(
                    "results that waited for their turn in a temporary file are lost: the file \
                     could not be read: {error}"
                )));
            }
            if !next.is_empty() {
                std::mem::swap(next, ready);
                self.shelf.room.notify_all();
                return true;
            }
            if *is_over || state.is_broken {
                return false;
            }
            state.is_idle = true;
            state = self.shelf.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
    }

    fn pause(&self, time: Duration) {
        let state = self.shelf.lock();
        if state.may_rest() {
            drop(self.shelf.work.wait_timeout(state, time));
        }
    }

    fn write(&self, ready: &Ready) -> rustix::io::Result<()> {
        for (out, aside) in ready.parts() {
            if !out.is_empty() {
                print(&self.shelf, &self.stdout, out)?;
            }
            match aside {
                Some(Aside::Out(out)) => print(&self.shelf, &self.stdout, out)?,
                Some(Aside::Err(err)) => self.shelf.screen.failure(err),
                Some(Aside::Large(large)) => self.write_large(large)?,
                None => {}
            }
        }
        Ok(())
    }

    fn write_large(&self, large: &Large) -> rustix::io::Result<()> {
        let screen = &self.shelf.screen;
        let mut result = Ok(());
        let mut to_stdout = |piece: &[u8]| {
            result = print(&self.shelf, &self.stdout, piece);
            result.map_err(io::Error::from)
        };
        let mut read = large.printed.stdout.each(&mut to_stdout);
        result?;
        let mut in_line = false;
        if read.is_ok() {
            read = large.printed.stderr.each(|piece| {
                in_line = piece.last().map_or(in_line, |&last| last != b'\n');
                screen.failure(piece);
                Ok(())
            });
        }
        if in_line {
            // The next text is another job's, or says why this one failed. It must begin a line.
            screen.failure(b"\n");
        }
        if let Err(error) = read {
            screen.trouble(Trouble::Disordered(format!(
                "the output of a command could not be read back from a temporary file: {error}"
            )));
        }
        if !large.tail.is_empty() {
            screen.failure(&large.tail);
        }
        Ok(())
    }

    fn broken(&self, error: Errno) {
        self.end_with(match error {
            Errno::PIPE => Trouble::Closed,
            error => {
                let error = io::Error::from(error);
                Trouble::Broken(format!("the results could not be written to stdout: {error}"))
            }
        });
    }

    /// Nothing more is written.
    fn end_with(&self, trouble: Trouble) {
        let mut state = self.shelf.lock();
        state.is_broken = true;
        self.shelf.room.notify_all();
        drop(state);
        self.shelf.screen.trouble(trouble);
    }
}

/// Whether somebody reads at the other end: a program, or a person at a terminal.
fn has_reader(stdout: &OwnedFd) -> bool {
    let kind = fstat(stdout).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::RegularFile) => false,
        Ok(FileType::CharacterDevice) => isatty(stdout),
        _ => true,
    }
}

pub(super) fn print(shelf: &Shelf, stdout: &OwnedFd, text: &[u8]) -> rustix::io::Result<()> {
    let mut result = Ok(());
    shelf.screen.around_write(text, &mut || result = write_all(stdout.as_fd(), text));
    let is_in_line = text.last().is_some_and(|&last| last != b'\n');
    shelf.is_in_line.store(is_in_line, Ordering::Relaxed);
    result
}

/// Writes all bytes, even to a pipe that another process has made non-blocking.
pub(super) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
