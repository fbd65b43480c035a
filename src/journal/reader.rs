//! Reads the file of a journal, record by record from any place on. A record may be larger than the
//! buffer.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;

use serde::de::IgnoredAny;

use super::record::Lookahead;

/// The number of bytes that are read at once when a whole journal is read.
pub(super) const PIECE: usize = 1 << 20;

/// The number of bytes that are read at once when single records are read.
const LOOK: usize = 64 << 10;

/// The facts about a line that is too long for the buffer.
#[derive(Debug, Default)]
pub(super) struct LongLine {
    /// How many bytes the line has before its end.
    len: u64,
    pub(super) has_end: bool,
    pub(super) last: u8,
    /// The line has only zeros from this byte on.
    pub(super) zeros_from: u64,
    /// The line has a byte that is not UTF-8, or a control character other than a tab.
    is_damaged: bool,
    /// The line has a tab, which JSON may have between its values.
    has_tab: bool,
}

impl LongLine {
    /// Adds bytes of the line: whole characters if they are UTF-8.
    fn add(&mut self, part: &[u8], is_utf8: bool) {
        if let Some(last) = part.iter().rposition(|&byte| byte != 0) {
            self.zeros_from = self.len + last as u64 + 1;
        }
        self.len += part.len() as u64;
        self.last = part.last().copied().unwrap_or(self.last);
        self.is_damaged |= !is_utf8 || part.iter().any(|&byte| byte < b' ' && byte != b'\t');
        self.has_tab |= memchr::memchr(b'\t', part).is_some();
    }

    /// Whether the line has only bytes that a record may have. It is parsed only if it has a tab, since
    /// parsing takes much longer.
    pub(super) fn is_text(&self, file: &File, begin: u64) -> io::Result<bool> {
        if self.is_damaged || !self.has_tab {
            return Ok(!self.is_damaged);
        }
        let line = RecordReader::new(file.try_clone()?, begin, PIECE).take(self.len);
        match serde_json::from_reader::<_, IgnoredAny>(line) {
            Err(error) if error.is_io() => Err(error.into()),
            outcome => Ok(outcome.is_ok()),
        }
    }
}

/// Reads records from any place of a journal's file.
#[derive(Debug)]
pub(super) struct RecordReader {
    file: File,
    /// The bytes that were read and not consumed are `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    /// Where the buffer ends in the file.
    end: u64,
    /// How much is read at once.
    piece: usize,
}

impl RecordReader {
    fn new(file: File, offset: u64, piece: usize) -> Self {
        Self { file, buffer: Vec::new(), at: 0, end: offset, piece }
    }

    /// Reads the whole file from its beginning.
    pub(super) fn whole(file: File) -> Self {
        Self::new(file, 0, PIECE)
    }

    /// Reads single records.
    pub(super) fn records(file: File) -> Self {
        Self::new(file, 0, LOOK)
    }

    /// Where the next byte is in the file.
    pub(super) fn offset(&self) -> u64 {
        self.end - (self.buffer.len() - self.at) as u64
    }

    /// Goes to a place in the file. Bytes that are in the buffer are not read again.
    pub(super) fn go(&mut self, offset: u64) {
        let begin = self.end - self.buffer.len() as u64;
        match offset.checked_sub(begin).map(usize::try_from) {
            Some(Ok(at)) if at <= self.buffer.len() => self.at = at,
            _ => {
                self.at = 0;
                self.end = offset;
            }
        }
        if self.end == offset {
            self.buffer.clear();
            self.at = 0;
        }
    }

    /// Reads one more piece. Returns whether there was any.
    fn more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + self.piece, 0);
        let read = loop {
            match self.file.read_at(&mut self.buffer[len..], self.end) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(len + count);
        self.end += count as u64;
        read.map(|count| count > 0)
    }

    /// Skips a line, and returns the facts about it.
    pub(super) fn skip_line(&mut self) -> io::Result<LongLine> {
        let mut line = LongLine::default();
        loop {
            // The buffer may end within a character. Its bytes stay there until the rest is read.
            let is_over = self.buffer.len() - self.at < 4 && !self.more()?;
            let rest = &self.buffer[self.at..];
            if rest.is_empty() {
                return Ok(line);
            }
            let end = memchr::memchr(b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            let (len, is_utf8) = match std::str::from_utf8(part) {
                Err(error) if error.error_len().is_none() && end.is_none() && !is_over => {
                    (error.valid_up_to(), true)
                }
                outcome => (part.len(), outcome.is_ok()),
            };
            line.add(&part[..len], is_utf8);
            self.consume(len + usize::from(end.is_some()));
            if end.is_some() {
                line.has_end = true;
                return Ok(line);
            }
        }
    }
}

impl Lookahead for RecordReader {
    fn look(&mut self) -> io::Result<&[u8]> {
        while self.buffer.len() - self.at < self.piece
            && memchr::memchr(b'\n', &self.buffer[self.at..]).is_none()
            && self.more()?
        {}
        Ok(&self.buffer[self.at..])
    }
}

impl BufRead for RecordReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.more()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for RecordReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut buffer = self.fill_buf()?;
        let count = buffer.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_are_read_from_anywhere() {
        let lines: Vec<String> = (0..200).map(|n| format!("{}\n", "y".repeat(n * 17))).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(lines.concat().as_bytes()).expect("written");
        let mut reader = RecordReader::new(file, 0, 1000);
        for n in (0..200).chain((0..200).rev()).chain((0..200).map(|n| n * 77 % 200)) {
            reader.go(lines[..n].concat().len() as u64);
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).expect("read");
            assert_eq!(line, lines[n].as_bytes(), "line {n}");
        }
    }
}
