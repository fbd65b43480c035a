//! Cuts a source into blocks, and makes a job of each.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};

use super::cut::{BlockCut, next};
use super::length::{WholeFile, len as len_of, whole};
use super::windows::{Blocked, FileWindow, StreamWindow};
use super::{BlockSize, Blocks};
use crate::input::feeder::Feeder;
use crate::input::job_lines::Invalid;
use crate::job::{Block, Job, Place};
use crate::util::setting::Setting;
use crate::util::text::printable;

impl Feeder<'_> {
    /// Cuts one source into blocks. `Ok(false)`: the pool takes no more jobs.
    pub(in crate::input) fn blocks(
        &mut self,
        blocks: &Blocks,
        source: BorrowedFd<'_>,
        index: u32,
    ) -> io::Result<bool> {
        // Files in /proc say that they are empty.
        let file = whole(source).filter(|file| file.end > file.begin);
        let Some(WholeFile { begin, end }) = file.filter(|_| !blocks.are_messages) else {
            return self.cut(blocks, &mut StreamWindow::new(source), (index, 0, None));
        };
        let file = File::from(source.try_clone_to_owned()?);
        let mut window = FileWindow::new(file, begin, end);
        let goes_on = self.cut(blocks, &mut window, (index, begin, Some(end - begin)))?;
        // As if it had been read.
        let _ = seek(source, SeekFrom::Start(window.begin));
        Ok(goes_on)
    }

    /// Cuts a window into blocks. It begins at `begin` in its source.
    fn cut(
        &mut self,
        blocks: &Blocks,
        window: &mut dyn Blocked,
        (source, mut begin, len): (u32, u64, Option<u64>),
    ) -> io::Result<bool> {
        let header = if blocks.has_header { self.header(blocks, window)? } else { Arc::default() };
        begin += header.len() as u64;
        let len = len.map(|len| len - header.len() as u64);
        let mut sizes = self.sizes(blocks, begin, len);
        loop {
            let size = sizes.next(begin);
            let most = size.max(self.reader.max_line as u64);
            let cut = next(window, &blocks.records, size, most)?;
            let (BlockCut::At(len) | BlockCut::Rest(len) | BlockCut::TooLong(len)) = cut;
            if len == 0 {
                return Ok(true);
            }
            self.reader.intake.add_bytes(usize::try_from(len).unwrap_or(usize::MAX));
            let goes_on = if matches!(cut, BlockCut::TooLong(_)) {
                window.skip(len);
                self.too_long(source, begin, most);
                true
            } else {
                let block = Block { header: Arc::clone(&header), begin, body: window.take(len) };
                let mut job = self.block_job(blocks, block)?;
                job.place = Place { source, line: 0 };
                self.queue(job)
            };
            begin += len;
            if !goes_on || !self.feed() {
                return Ok(false);
            }
        }
    }

    /// Reads the header: the first record.
    fn header(&self, blocks: &Blocks, window: &mut dyn Blocked) -> io::Result<Arc<[u8]>> {
        let most = self.reader.max_line as u64;
        let (BlockCut::At(len) | BlockCut::Rest(len)) = next(window, &blocks.records, 0, most)?
        else {
            let setting = Setting::MaxLine;
            return Err(io::Error::other(format!(
                "the header is longer than the limit of {most} bytes (raise {setting} to allow it)"
            )));
        };
        let header: Arc<[u8]> = window.bytes(0, len)?.into();
        window.skip(len);
        let end = blocks.records.text();
        let line = header.strip_suffix(end).unwrap_or(&header);
        let _ = blocks.header_line.set(line.to_vec());
        Ok(header)
    }

    fn block_job(&self, blocks: &Blocks, block: Block) -> io::Result<Job> {
        let seq = self.seq() + 1;
        if !blocks.are_messages {
            return Ok(Job::of_block(seq, block));
        }
        let mut message = block.header.to_vec();
        let mut bytes = Vec::new();
        block.read().next(&mut bytes, usize::MAX)?;
        message.append(&mut bytes);
        let end = blocks.records.text();
        if blocks.lose_last_end && message.ends_with(end) {
            message.truncate(message.len() - end.len());
        }
        Ok(Job::message(seq, &message))
    }

    fn too_long(&mut self, source: u32, begin: u64, most: u64) {
        let setting = Setting::MaxLine;
        let names = &self.names;
        let file = usize::try_from(source).ok().and_then(|index| names.get(index));
        let file = file.filter(|file| !file.is_empty());
        let file = file.map(|file| format!("{}: ", printable(file))).unwrap_or_default();
        let message = format!(
            "{file}the record at byte {begin} is longer than the limit of {most} bytes (raise {setting} to \
             allow it)"
        );
        self.invalid(Place { source, line: 0 }, &Invalid::of_line(message), None);
    }

    /// The sizes of the blocks of a source that begins at `begin`.
    fn sizes(&self, blocks: &Blocks, begin: u64, len: Option<u64>) -> BlockSizes {
        let (parts, len) = match (blocks.size, len) {
            (BlockSize::Bytes(size), _) => return BlockSizes::Equal(size),
            (BlockSize::Parts(parts), Some(len)) => (parts.max(1), len),
            // A file without a length, such as those in /proc, is one part.
            (BlockSize::Parts(_), None) => return BlockSizes::Equal(u64::MAX / 2),
        };
        let others = self.reader.sources.iter().filter_map(len_of).sum::<u64>();
        let share = u128::from(parts) * u128::from(len) / u128::from(others.max(len).max(1));
        let parts = u64::try_from(share).unwrap_or(parts).max(1);
        BlockSizes::Parts { begin, len, parts, part: 0 }
    }
}

/// The sizes of the blocks of one source.
enum BlockSizes {
    /// All have this size.
    Equal(u64),
    /// The bytes of the source are divided into this many parts, of which this one comes next, from 0.
    Parts { begin: u64, len: u64, parts: u64, part: u64 },
}

impl BlockSizes {
    /// The size of the block that begins here. It ends before the next border between two parts.
    fn next(&mut self, at: u64) -> u64 {
        match *self {
            Self::Equal(size) => size,
            Self::Parts { begin, len, parts, ref mut part } => {
                let done = at - begin;
                let border = |part: u64| {
                    let border = (u128::from(len) * u128::from(part)).div_ceil(u128::from(parts));
                    u64::try_from(border).unwrap_or(len)
                };
                // A long record may lie across several borders.
                *part += 1;
                while *part < parts && border(*part) <= done {
                    *part += 1;
                }
                border(*part).saturating_sub(done).max(1)
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
