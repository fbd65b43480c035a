//! A command of the user's that prepares a host, while it runs.

use crate::job::Watcher as _;
use crate::pool::shared::hosts::Login;
use crate::pool::slot::host::connection::HostWatcher;
use crate::process::{OutputStream, Process, Transfer};

/// The command that prepares a host.
pub(super) struct Preparation {
    pub(super) process: Process,
    /// What it has printed to stdout and was not passed on.
    pub(super) printed: Vec<u8>,
    pub(super) login: Login,
}

impl Preparation {
    /// Passes on the lines that were printed to stdout: they are for people.
    pub(super) fn pass_on(&mut self, watcher: &HostWatcher<'_>, is_last: bool) {
        while let Transfer::Moved(_) = self.process.collect(OutputStream::Stdout, &mut self.printed)
        {
        }
        let whole = match memchr::memrchr(b'\n', &self.printed) {
            Some(at) => at + 1,
            None => 0,
        };
        if whole > 0 {
            watcher.worker_stderr(&self.printed[..whole]);
            self.printed.drain(..whole);
        }
        if is_last && !self.printed.is_empty() {
            self.printed.push(b'\n');
            watcher.worker_stderr(&self.printed);
        }
    }
}
