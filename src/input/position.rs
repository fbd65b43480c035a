//! How far a source was read. If its file is written back, this says which of its lines have become
//! jobs.

use std::io;
use std::sync::Arc;

use super::remainder::Remainder;

/// How far the current source was read.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// The sources that are written back, with the jobs that are not done.
    rest: Option<Arc<Remainder>>,
    /// The source that is being read.
    source: u32,
    /// This source is written back.
    is_kept: bool,
    /// Where the line that was read last ends in this source.
    line_end: u64,
    /// For each source with lines in the job that is being made: where the last of them ends.
    came: Vec<(u32, u64)>,
}

impl Position {
    pub(super) fn new(rest: Option<&Arc<Remainder>>) -> Self {
        Self { rest: rest.cloned(), ..Self::default() }
    }

    /// Whether it is noted which lines have become jobs.
    pub(super) fn is_noted(&self) -> bool {
        self.rest.is_some()
    }

    /// Begins a source. Returns where its reading begins.
    pub(super) fn begin(&mut self, source: u32) -> io::Result<u64> {
        let kept = self.rest.as_ref().map_or(Ok(None), |rest| rest.source(source))?;
        self.source = source;
        self.is_kept = kept.is_some();
        self.line_end = kept.map_or(0, |(_, begin)| begin);
        Ok(self.line_end)
    }

    /// Notes that a line was read, and where it ends. Returns where it begins.
    pub(super) fn read_to(&mut self, end: u64) -> u64 {
        std::mem::replace(&mut self.line_end, end)
    }

    /// The line that was read last and began at `begin` was too long to be kept.
    pub(super) fn too_long(&self, begin: u64) {
        if let Some(rest) = &self.rest {
            rest.too_long(self.source, begin, self.line_end);
        }
    }

    /// The line that was read last goes into the next job, or is skipped.
    pub(super) fn came_here(&mut self) {
        if self.is_kept {
            self.came.retain(|(source, _)| *source != self.source);
            self.came.push((self.source, self.line_end));
        }
    }

    /// Notes that the lines since the last call became `job`; `None`: they became no job.
    pub(super) fn took(&mut self, job: Option<(u64, Arc<[u8]>)>) {
        if let Some(rest) = self.rest.as_ref().filter(|_| !self.came.is_empty()) {
            rest.took(&self.came, job);
            self.came.clear();
        }
    }
}
