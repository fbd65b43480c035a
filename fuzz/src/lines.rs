//! Lines and CSV records of a stream: a byte that chooses the pieces, one that is the longest line,
//! then the stream.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader};
use procpool::engine::input::lines::{LineTooLong, Lines};
use procpool::engine::input::plain_lines::{Columns, split};

use super::{choice, pieces};

type Found = Vec<(u64, Result<Vec<u8>, LineTooLong>)>;

/// The pieces make no difference, and lines are what the standard library and csv-core find.
pub fn check(data: &[u8]) {
    let (how, data) = choice(data);
    let (max, bytes) = choice(data);
    let max = usize::from(max);
    let parts = pieces(how, bytes);

    let naive = naive(bytes, max);
    assert_eq!(found(Lines::new(b'\n', max), &[bytes], false), naive);
    assert_eq!(found(Lines::new(b'\n', max), &parts, false), naive);
    assert_eq!(found(Lines::new(b'\n', max), &parts, true), naive, "as bundles");

    let whole = found(Lines::with(true, b'\n', max), &[bytes], false);
    assert_eq!(found(Lines::with(true, b'\n', max), &parts, false), whole, "CSV in pieces");
    assert!(whole.is_sorted_by_key(|(number, _)| *number));
    let records: Result<Vec<_>, _> = whole.into_iter().map(|(_, record)| record).collect();
    // Where one is too long there is nothing to compare with.
    if let Ok(records) = records {
        let fields = |record: &Vec<u8>| {
            split(Columns::Csv, record).into_iter().map(Cow::into_owned).collect()
        };
        let fields: Vec<Vec<Vec<u8>>> = records.iter().map(fields).collect();
        assert_eq!(fields, as_csv_core_reads(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)));
    }
}

/// What `Lines` finds in a stream that comes in pieces; many whole ones at once where that is `bundled`.
fn found(mut lines: Lines, pieces: &[&[u8]], bundled: bool) -> Found {
    let mut all: Found = Vec::new();
    for piece in pieces.iter().map(Some).chain([None]) {
        lines.buffer().extend_from_slice(piece.copied().unwrap_or_default());
        if bundled && let Some((first, text, count)) = lines.whole(usize::MAX) {
            let text = text.strip_suffix(b"\n").expect("whole lines");
            let each = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
            let before = all.len();
            all.extend((first..).zip(each.map(Ok)));
            assert_eq!(all.len() - before, count);
        }
        while let Some(line) = lines.next(piece.is_none()) {
            all.push((line.number, line.text.map(<[u8]>::to_vec)));
        }
    }
    all
}

fn naive(bytes: &[u8], max: usize) -> Found {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let of = |line: &[u8]| if line.len() > max { Err(LineTooLong(max)) } else { Ok(line.to_vec()) };
    (1..).zip(lines.into_iter().map(of)).collect()
}

/// The fields of all records, read at once.
fn as_csv_core_reads(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut reader, mut records) = (Reader::new(), Vec::new());
    let (mut text, mut ends) = (vec![0; bytes.len() + 1], vec![0; bytes.len() + 2]);
    let (mut wrote, mut count) = (0, 0);
    // Its own way with a mark of UTF-8 goes by the pieces.
    let _ = reader.read_record(b"\n", &mut text, &mut ends);
    loop {
        let (result, read, more, many) =
            reader.read_record(bytes, &mut text[wrote..], &mut ends[count..]);
        (bytes, wrote, count) = (&bytes[read..], wrote + more, count + many);
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::Record => {
                let begins = [0].into_iter().chain(ends[..count].iter().copied());
                let fields =
                    begins.zip(&ends[..count]).map(|(begin, &end)| text[begin..end].to_vec());
                records.push(fields.collect());
                (wrote, count) = (0, 0);
            }
            _ => return records,
        }
    }
}
