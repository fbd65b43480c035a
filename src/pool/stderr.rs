//! The place to which the builder of a pool sends the stderr of workers, and notes.

use std::io::{self, Write as _};
use std::sync::Arc;

use crate::job::{Failure, Watcher};

type OnText = Arc<dyn Fn(usize, u32, &[u8]) + Send + Sync>;
type OnNote = Arc<dyn Fn(&str) + Send + Sync>;

/// Where the stderr of workers goes.
#[derive(Clone, Default)]
pub(super) enum WorkerStderr {
    /// To the stderr of this process, in whole lines.
    #[default]
    Inherit,
    /// It is thrown away.
    Null,
    /// A function gets it, with the slot and the process id.
    Call(OnText),
}

/// What a pool says if no other watcher was set: the stderr of workers, and notes.
#[derive(Clone, Default)]
pub(super) struct Voice {
    pub(super) stderr: WorkerStderr,
    /// `None`: notes are written to stderr.
    pub(super) on_note: Option<OnNote>,
}

impl Watcher for Voice {
    fn worker_stderr(&self, lines: &[u8]) {
        self.worker_wrote(0, 0, lines);
    }

    fn worker_wrote(&self, slot: usize, pid: u32, bytes: &[u8]) {
        match &self.stderr {
            WorkerStderr::Inherit => drop(io::stderr().lock().write_all(bytes)),
            WorkerStderr::Null => {}
            WorkerStderr::Call(on_text) => on_text(slot, pid, bytes),
        }
    }

    fn note(&self, text: &str) {
        match &self.on_note {
            Some(on_note) => on_note(text),
            None => drop(io::stderr().lock().write_all(format!("procpool: {text}\n").as_bytes())),
        }
    }

    fn start_limit_reached(&self, _: &Failure) {}
}
