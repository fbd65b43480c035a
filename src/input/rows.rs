//! Rows: lines that are split into columns. They may have a header. Several rows may make one job.

use std::borrow::Cow;
use std::sync::Arc;

use super::feeder::{Feeder, StopReason};
use super::job_lines::Invalid;
use super::plain_lines::{NoHeader, Plain};
use super::reader::Form;
use crate::job::Place;

impl Feeder<'_> {
    /// Handles one line that was split into columns. Returns whether to go on.
    pub(super) fn row(
        &mut self,
        plain: &Plain,
        place: Place,
        columns: &[Cow<'_, [u8]>],
        line: &[u8],
    ) -> bool {
        if std::mem::take(&mut self.wants_header) {
            self.stopped = plain.read_header(columns).err().map(StopReason::Header);
            let _ = plain.header_line.set(line.to_vec());
            if self.stopped.is_none() && self.packed.is_empty() {
                self.position.came_here();
                self.position.took(None);
            }
            return self.stopped.is_none();
        }
        if plain.is_full(&self.packed, columns) && !self.pack_up() {
            return false;
        }
        if self.packed.is_empty() {
            self.packed.place = place;
        }
        let before = self.packed.lines.len();
        if self.reader.kept.are_any() {
            if !self.packed.is_empty() {
                self.packed.lines.push(self.reader.delimiter);
            }
            self.packed.lines.extend_from_slice(line);
        }
        match plain.add(&mut self.packed, columns) {
            Ok(is_full) => {
                self.position.came_here();
                !is_full || self.pack_up()
            }
            Err(invalid) => {
                // The lines before this one are a job of their own.
                self.packed.lines.truncate(before);
                let goes_on = self.pack_up();
                self.position.came_here();
                self.invalid(place, &invalid, Some(line.into()));
                goes_on
            }
        }
    }

    /// Makes a job of the lines that wait for more lines. Returns whether to go on.
    pub(super) fn pack_up(&mut self) -> bool {
        let Form::Plain(plain) = &self.reader.form else { return true };
        let lines = std::mem::take(&mut self.packed.lines);
        let seq = self.seq() + 1;
        let Some(mut job) = plain.take(&mut self.packed, seq) else { return true };
        let line: Option<Arc<[u8]>> = self.reader.kept.are_any().then(|| lines.into());
        job.line.clone_from(&line);
        let place = job.place;
        match self.reader.choose(job, None) {
            Ok(job) => self.queue(job),
            Err(invalid) => {
                self.invalid(place, &invalid, line);
                true
            }
        }
    }

    /// Handles a CSV record with a quote that is not closed. It holds all the rest of the input, which
    /// must not be taken for a field. Returns whether to go on.
    pub(super) fn open_record(&mut self, place: Place, text: &[u8]) -> bool {
        let message = "a quote begins a field and none ends it, up to the end of the input";
        if self.wants_header {
            let message = format!("the header is not CSV: {message}");
            self.stopped = Some(StopReason::Header(NoHeader::Misused(message)));
            return false;
        }
        let goes_on = self.pack_up();
        self.position.came_here();
        self.invalid(place, &Invalid::of_line(message), Some(text.into()));
        goes_on
    }
}
