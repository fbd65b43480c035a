//! The thread that brings records to the disk, for [`JournalSettings::sync`].
//!
//! [`JournalSettings::sync`]: super::JournalSettings::sync

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustix::io::Errno;

use crate::util::lock::{lock, wait};

/// How much was written, and how much of it is on the disk.
#[derive(Debug, Default)]
pub(super) struct DiskSync {
    state: Mutex<Synced>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Synced {
    /// How often records were written.
    written: u64,
    /// How many of these writes are on the disk.
    synced: u64,
    trouble: Option<io::Error>,
    is_broken: bool,
    is_over: bool,
}

impl DiskSync {
    /// Starts the thread. Each sync covers all records that were written during the one before.
    pub(super) fn start(file: &File, path: &Path) -> io::Result<Arc<Self>> {
        // The results of earlier runs will be printed too, so their records are synced now.
        file.sync_data().or_else(pass_devices)?;
        // Syncing the folder keeps the file itself. If the folder can't be opened, a power cut may remove it.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        let sync = Arc::new(Self::default());
        let file = file.try_clone()?;
        let thread = Arc::clone(&sync);
        thread::Builder::new().name("journal".into()).spawn(move || thread.run(&file))?;
        Ok(sync)
    }

    fn run(&self, file: &File) {
        let mut state = lock(&self.state);
        loop {
            while state.written == state.synced && !state.is_over {
                state = wait(&self.changed, state);
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
                state.trouble = Some(error);
                state.is_broken = true;
                self.changed.notify_all();
                return;
            }
            self.changed.notify_all();
        }
    }

    /// Records were written.
    pub(super) fn written(&self) {
        lock(&self.state).written += 1;
        self.changed.notify_all();
    }

    /// Waits until all records that were written are on the disk. An error is returned once.
    pub(super) fn wait_synced(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let wanted = state.written;
        while state.synced < wanted && !state.is_broken {
            state = wait(&self.changed, state);
        }
        state.trouble.take().map_or(Ok(()), Err)
    }

    /// Lets the thread end when everything is on the disk.
    pub(super) fn end(&self) {
        lock(&self.state).is_over = true;
        self.changed.notify_all();
    }
}

/// A device has no data on a disk, and can't be synced. That is no error.
fn pass_devices(error: io::Error) -> io::Result<()> {
    match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => Ok(()),
        _ => Err(error),
    }
}
