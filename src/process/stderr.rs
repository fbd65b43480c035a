//! The stderr of a process: passed on in whole lines, and its last lines kept for messages.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::pipe;
use super::pipe::Transfer;
use crate::job::Watcher;

/// The number of bytes of stderr that are kept for messages.
const KEPT_FOR_MESSAGES: usize = 2 << 10;

/// The number of lines of stderr that a message shows.
const SHOWN_LINES: usize = 5;

/// An unfinished line is passed on after this time, since it may be a prompt.
const LONGEST_LINE_TIME: Duration = Duration::from_millis(100);

/// Reads the stderr of a process.
#[derive(Debug)]
pub(super) struct StderrReader {
    /// The slot and the process that write to it.
    origin: (usize, u32),
    pipe: Option<OwnedFd>,
    /// Text that is no whole line yet.
    unfinished: Vec<u8>,
    /// Since when `unfinished` holds text.
    unfinished_since: Option<Instant>,
    /// Whether the text that was passed on last has no end of line.
    in_line: bool,
    /// The last bytes that were read.
    last: Vec<u8>,
    /// The number of bytes that were read in all.
    count: u64,
    /// Messages leave out this number of bytes at the beginning.
    ignored: u64,
}

impl StderrReader {
    pub(super) fn new(pipe: OwnedFd, origin: (usize, u32)) -> Self {
        Self {
            origin,
            pipe: Some(pipe),
            unfinished: Vec::new(),
            unfinished_since: None,
            in_line: false,
            last: Vec::new(),
            count: 0,
            ignored: 0,
        }
    }

    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads the bytes in the pipe, and appends them to `into` instead of passing them on.
    pub(super) fn collect(&mut self, into: &mut Vec<u8>) -> Transfer {
        pipe::read_or_drop(&mut self.pipe, into)
    }

    /// Passes on whole lines. A carriage return ends a line as well, and so does [`LONGEST_LINE_TIME`]. Each
    /// call reads only once, so that a flood does not keep the slot from its other work.
    pub(super) fn forward(&mut self, watcher: &dyn Watcher) -> Transfer {
        if self.pipe.is_none() {
            return Transfer::Closed;
        }
        let before = self.unfinished.len();
        let transfer = pipe::read_or_drop(&mut self.pipe, &mut self.unfinished);
        self.keep_last(before);
        let len = self.unfinished.len();
        let whole = match memchr::memrchr2(b'\n', b'\r', &self.unfinished) {
            _ if self.pipe.is_none() => len,
            Some(at) => at + 1,
            None if len >= pipe::READ_SIZE || self.is_due() => len,
            None => 0,
        };
        self.pass_on(whole, watcher);
        transfer
    }

    /// Passes on all that is left when the process has ended. It ends the last line, so that the next
    /// text on stderr begins on a line of its own.
    pub(super) fn finish(&mut self, watcher: &dyn Watcher) {
        while matches!(self.forward(watcher), Transfer::Moved(_)) {}
        if !self.unfinished.is_empty() || self.in_line {
            self.unfinished.push(b'\n');
        }
        self.pass_on(self.unfinished.len(), watcher);
    }

    /// The time until unfinished text must be passed on. `None`: there is no such text.
    pub(super) fn due_in(&self) -> Option<Duration> {
        Some(LONGEST_LINE_TIME.saturating_sub(self.unfinished_since?.elapsed()))
    }

    /// Whether unfinished text must be passed on now.
    pub(super) fn is_due(&self) -> bool {
        self.due_in().is_some_and(|time| time.is_zero())
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn ignore_before(&mut self, count: u64) {
        self.ignored = count;
    }

    /// The last lines, for a message.
    pub(super) fn last_lines(&self) -> String {
        let new = usize::try_from(self.count - self.ignored).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(&self.last[self.last.len().saturating_sub(new)..]);
        let lines: Vec<&str> =
            text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    /// Keeps the end of the text that was read last, which begins at `from` in `unfinished`.
    fn keep_last(&mut self, from: usize) {
        let new = &self.unfinished[from..];
        self.count += new.len() as u64;
        self.last.extend_from_slice(&new[new.len().saturating_sub(KEPT_FOR_MESSAGES)..]);
        let surplus = self.last.len().saturating_sub(KEPT_FOR_MESSAGES);
        self.last.drain(..surplus);
    }

    /// Passes on the first `count` bytes of the unfinished text.
    fn pass_on(&mut self, count: usize, watcher: &dyn Watcher) {
        if let Some(last) = count.checked_sub(1) {
            let (slot, pid) = self.origin;
            watcher.worker_wrote(slot, pid, &self.unfinished[..count]);
            self.in_line = self.unfinished[last] != b'\n';
            self.unfinished.drain(..count);
            self.unfinished_since = None;
        }
        if !self.unfinished.is_empty() {
            self.unfinished_since.get_or_insert_with(Instant::now);
        }
    }
}
