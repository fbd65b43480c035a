//! Where a block ends: at the last end of a record that leaves it no longer than its size, or else at the
//! end of its first record. Blocks of a file and of a stream end at the same places.

use std::io;

use super::ends::{self, CsvScan, RecordEnd};

/// How many bytes are looked at first, and at most, at once.
const FIRST_LOOK: u64 = 32 << 10;
const MOST_LOOK: u64 = 1 << 20;

/// The bytes of an input from the beginning of the next block on. Places count from there.
pub(super) trait InputWindow {
    /// Makes the bytes up to `to` available. Returns where they end: at `to`, or earlier if the input does.
    fn fill(&mut self, to: u64) -> io::Result<u64>;

    /// Bytes that are available, and were not forgotten.
    fn bytes(&mut self, from: u64, to: u64) -> io::Result<&[u8]>;

    /// The bytes before this place are not needed any more. The block becomes no job.
    fn forget(&mut self, before: u64);
}

/// Where a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockCut {
    /// After this many bytes.
    At(u64),
    /// At the end of the input, after this many bytes.
    Rest(u64),
    /// Its one record is too long. The record ends after this many bytes.
    TooLong(u64),
}

/// Finds the end of the next block. It has at most `size` bytes, or else one record of at most `most` bytes.
pub(super) fn next(
    window: &mut dyn InputWindow,
    records: &RecordEnd,
    size: u64,
    most: u64,
) -> io::Result<BlockCut> {
    // One byte more tells whether the input goes on.
    let have = window.fill(size.saturating_add(1))?;
    if have <= size {
        return Ok(BlockCut::Rest(have));
    }
    match records {
        RecordEnd::Csv => csv(window, size, most),
        RecordEnd::Text { end, start } if end.is_empty() && start.is_empty() => {
            Ok(BlockCut::At(size.max(1)))
        }
        RecordEnd::Text { end, start } => text(window, (end, start), size, most),
    }
}

/// As [`next`], for records between texts.
fn text(
    window: &mut dyn InputWindow,
    (end, start): (&[u8], &[u8]),
    size: u64,
    most: u64,
) -> io::Result<BlockCut> {
    let pattern = [end, start].concat();
    // Two reads overlap by this many bytes.
    let overlap = pattern.len() as u64 - 1;
    let limit = window.fill(size.saturating_add(start.len() as u64))?;
    let (mut to, mut look) = (limit, FIRST_LOOK);
    loop {
        let from = to.saturating_sub(look);
        let found = ends::last(&pattern, window.bytes(from, to)?);
        let cut = found.map_or(0, |at| from + (at + end.len()) as u64);
        if cut > 0 {
            return Ok(BlockCut::At(cut));
        }
        if from == 0 {
            break;
        }
        to = from + overlap;
        look = (2 * look).min(MOST_LOOK);
    }
    // A text at the very beginning begins the first record, and does not end one.
    let mut from = limit.saturating_sub(overlap).max(u64::from(end.is_empty()));
    look = FIRST_LOOK;
    loop {
        let to = window.fill(from.saturating_add(look))?;
        let bytes = if to > from { window.bytes(from, to)? } else { &[] };
        if let Some(at) = ends::first(&pattern, bytes) {
            return Ok(of_record(from + (at + end.len()) as u64, most, BlockCut::At));
        }
        if to < from.saturating_add(look) {
            return Ok(of_record(to, most, BlockCut::Rest));
        }
        from = to - overlap;
        look = (2 * look).min(MOST_LOOK);
        if from > most {
            window.forget(from);
        }
    }
}

/// As [`next`], for CSV.
fn csv(window: &mut dyn InputWindow, size: u64, most: u64) -> io::Result<BlockCut> {
    let mut scan = CsvScan::new();
    while scan.seen < size {
        let to = size.min(scan.seen + MOST_LOOK);
        scan.look(window.bytes(scan.seen, to)?);
    }
    if let Some((_, last)) = scan.ends {
        return Ok(BlockCut::At(last));
    }
    loop {
        let wanted = scan.seen.saturating_add(FIRST_LOOK);
        let to = window.fill(wanted)?;
        scan.look(window.bytes(scan.seen, to)?);
        if let Some((first, _)) = scan.ends {
            return Ok(of_record(first, most, BlockCut::At));
        }
        if to < wanted {
            return Ok(of_record(to, most, BlockCut::Rest));
        }
        if to > most {
            window.forget(to);
        }
    }
}

/// The cut after one record of this many bytes.
fn of_record(len: u64, most: u64, cut: impl Fn(u64) -> BlockCut) -> BlockCut {
    if len > most { BlockCut::TooLong(len) } else { cut(len) }
}
