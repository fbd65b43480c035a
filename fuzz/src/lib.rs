//! Checks for any bytes from outside, a file for each way in. The fuzz targets call these
//! with bytes that they make up; `tests/it/fuzz_corpus.rs` calls them with those in `corpus/`, so that
//! they are tried without a fuzzer as well.
//!
//! The input of a check is text where possible, so that a person can write and read it: a few bytes
//! that choose, then the text.

pub mod envelopes;
pub mod framings;
pub mod job_lines;
pub mod journal;
pub mod lines;
pub mod plain;
pub mod templates;

use serde_json::value::RawValue;

/// The first byte, which chooses, and the bytes after it.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// The bytes in pieces of two sizes by turns, which are the two halves of `choice`.
fn pieces(choice: u8, mut bytes: &[u8]) -> Vec<&[u8]> {
    let sizes = [usize::from(choice % 16) + 1, usize::from(choice / 16) + 1];
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let size = sizes[pieces.len() % 2];
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// What is passed on as JSON is JSON, on one line.
#[track_caller]
fn assert_json(text: &[u8]) {
    let shown = String::from_utf8_lossy(text);
    assert!(!text.contains(&b'\n') && !text.contains(&b'\r'), "more than one line: {shown}");
    // Not a value: lone surrogates and a thousand brackets are JSON as well.
    let parsed = serde_json::from_slice::<&RawValue>(text);
    assert!(parsed.is_ok(), "{shown}: {parsed:?}");
}
