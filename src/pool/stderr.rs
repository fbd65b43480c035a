//! [`WorkerStderr`]: where the stderr of workers goes, and the notes of the pool.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;

use crate::job::{Failure, Watcher};

type OnText = Arc<dyn Fn(StderrText<'_>) + Send + Sync>;
type OnNote = Arc<dyn Fn(&str) + Send + Sync>;

/// Where the stderr of workers goes. What the commands of a pool of commands print is in
/// [`CommandOutput`](crate::CommandOutput) instead.
#[derive(Clone, Default)]
pub struct WorkerStderr(Destination);

#[derive(Clone, Default)]
enum Destination {
    #[default]
    Inherit,
    Null,
    Call(OnText),
}

/// What a worker has written to its stderr.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StderrText<'a> {
    /// The slot of the worker, from 1.
    pub slot: usize,
    /// The process id of the worker.
    pub pid: u32,
    /// Whole lines with their ends. An unfinished line comes after 0.1 s, and a line of more than 64 KiB
    /// in pieces.
    pub bytes: &'a [u8],
}

impl WorkerStderr {
    /// It is written to the stderr of this process, in whole lines. The default.
    pub fn inherit() -> Self {
        Self(Destination::Inherit)
    }

    /// It is thrown away. The last lines of a worker that dies are in the message of the failure still.
    pub fn null() -> Self {
        Self(Destination::Null)
    }

    /// A function gets it. It is called on the thread that serves the worker, so it should be quick. If it
    /// panics, that is ignored.
    pub fn call(on_text: impl Fn(StderrText<'_>) + Send + Sync + 'static) -> Self {
        Self(Destination::Call(Arc::new(on_text)))
    }
}

impl fmt::Debug for WorkerStderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Destination::Inherit => "WorkerStderr::inherit()",
            Destination::Null => "WorkerStderr::null()",
            Destination::Call(_) => "WorkerStderr::call(…)",
        })
    }
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
        match &self.stderr.0 {
            Destination::Inherit => drop(io::stderr().lock().write_all(bytes)),
            Destination::Null => {}
            Destination::Call(on_text) => on_text(StderrText { slot, pid, bytes }),
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
