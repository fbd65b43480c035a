//! Blocks of files and of streams are the same, whole, and no longer than they may be.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::input::blocks::RecordEnd;
use crate::input::reader::{Form, Reader};
use crate::input::source::Source;
use crate::job::{Closed, Done, Feed, Sink};

/// Takes all jobs, and remembers their bytes; `None` for a record that is too long.
#[derive(Default)]
struct TakenBlocks(Mutex<Vec<Option<Vec<u8>>>>);

impl Feed for TakenBlocks {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        for job in batch.drain(..) {
            let block = job.block().expect("a block");
            let mut bytes = Vec::new();
            block.read().next(&mut bytes, 1 << 20).expect("readable");
            let bytes = [block.header.to_vec(), bytes].concat();
            self.0.lock().expect("nothing panics").push(Some(bytes));
        }
        Ok(())
    }
}

impl Sink for TakenBlocks {
    fn deliver(&self, _done: &Done<'_>) {
        self.0.lock().expect("nothing panics").push(None);
    }

    fn texts(&self, _seq: u64, _count: u64, _texts: &[u8]) {}
}

fn reader(blocks: &Blocks, max_line: usize) -> Reader {
    let reader = Reader::simple(Form::Blocks(blocks.clone()), vec![Source::Stdin]);
    Reader { max_line, ..reader }
}

/// The blocks of a text in a file.
fn of_file(blocks: &Blocks, text: &[u8], max_line: usize) -> Vec<Option<Vec<u8>>> {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(text).expect("there is room");
    seek(&file, SeekFrom::Start(0)).expect("a file");
    let (reader, taken) = (reader(blocks, max_line), TakenBlocks::default());
    let mut feeder = Feeder::new(&reader, &taken, &taken);
    assert!(feeder.blocks(blocks, file.as_fd(), 0).expect("readable"));
    taken.0.into_inner().expect("nothing panics")
}

/// The blocks of a text that comes through a pipe, a few bytes at a time.
fn of_stream(blocks: &Blocks, text: &[u8], max_line: usize, piece: usize) -> Vec<Option<Vec<u8>>> {
    let (end, mut begin) = std::io::pipe().expect("a pipe");
    let (reader, taken) = (reader(blocks, max_line), TakenBlocks::default());
    let mut feeder = Feeder::new(&reader, &taken, &taken);
    thread::scope(|scope| {
        scope.spawn(move || {
            text.chunks(piece).for_each(|piece| begin.write_all(piece).expect("read"))
        });
        assert!(feeder.blocks(blocks, end.as_fd(), 0).expect("readable"));
    });
    taken.0.into_inner().expect("nothing panics")
}

fn blocks(size: BlockSize, end: &str, start: &str) -> Blocks {
    let records = RecordEnd::Text { end: end.into(), start: start.into() };
    Blocks {
        size,
        records,
        has_header: false,
        are_messages: false,
        lose_last_end: false,
        header_line: Arc::default(),
    }
}

fn texts(blocks: Vec<Option<Vec<u8>>>) -> Vec<String> {
    let text = |block: Option<Vec<u8>>| {
        block.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    blocks.into_iter().map(text).collect()
}

#[test]
fn blocks_end_where_records_do() {
    let cut = |size, end: &str, start: &str, text: &str| {
        texts(of_file(&blocks(BlockSize::Bytes(size), end, start), text.as_bytes(), 8))
    };
    assert_eq!(cut(4, "\n", "", ""), [""; 0]);
    assert_eq!(cut(4, "\n", "", "a"), ["a"]);
    assert_eq!(cut(4, "\n", "", "a\nb\nc\nd\n"), ["a\nb\n", "c\nd\n"]);
    assert_eq!(cut(5, "\n", "", "a\nb\nc\nd"), ["a\nb\n", "c\nd"]);
    // A longer record is a block of its own, up to the limit.
    assert_eq!(cut(2, "\n", "", "abcdef\ng\n"), ["abcdef\n", "g\n"]);
    assert_eq!(cut(2, "\n", "", "a\nbcdefghijk\nl\nmnopqrstuvw"), ["a\n", "-", "l\n", "-"]);
    assert_eq!(cut(5, "--", "", "a--b---c--"), ["a--", "b---", "c--"]);
    assert_eq!(cut(5, "", ">", ">a\n>b\n>cde\n"), [">a\n", ">b\n", ">cde\n"]);
    assert_eq!(cut(6, "\n", ">", ">a\nb\n>c\n>d\n"), [">a\nb\n", ">c\n>d\n"]);
    assert_eq!(cut(3, "", "", "abcdefgh"), ["abc", "def", "gh"]);
}

#[test]
fn a_header_begins_each_block() {
    let with = |records, text: &str| {
        let blocks = Blocks { has_header: true, records, ..blocks(BlockSize::Bytes(8), "", "") };
        texts(of_file(&blocks, text.as_bytes(), 80))
    };
    let line = || RecordEnd::byte(b'\n');
    assert_eq!(with(line(), "n\n1\n2\n3\n4\n5\n"), ["n\n1\n2\n3\n4\n", "n\n5\n"]);
    assert_eq!(with(line(), "n\n"), [""; 0]);
    assert_eq!(
        with(RecordEnd::Csv, "\"a\nb\"\n\"1\n2\n3\n4\"\n5\n"),
        ["\"a\nb\"\n\"1\n2\n3\n4\"\n", "\"a\nb\"\n5\n"]
    );
}

#[test]
fn parts_are_equal() {
    let lines = "123\n".repeat(100);
    for parts in [1, 2, 3, 7, 100, 1000] {
        let made = of_file(&blocks(BlockSize::Parts(parts), "\n", ""), lines.as_bytes(), 80);
        let made = texts(made);
        assert_eq!(made.concat(), lines);
        assert_eq!(made.len() as u64, parts.min(100), "{parts}");
        let lens: Vec<_> = made.iter().map(String::len).collect();
        let most = lens.iter().max().zip(lens.iter().min());
        assert!(most.is_some_and(|(most, least)| most - least <= 4), "{lens:?}");
    }
    let one = of_file(&blocks(BlockSize::Parts(3), "\n", ""), b"abcdefghij\nk\n", 80);
    assert_eq!(texts(one), ["abcdefghij\n", "k\n"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_stream_has_the_blocks_of_a_file(
        text in "[ab,\"\n]{0,60}",
        size in 1_u64..20,
        form in 0_usize..6,
        has_header in any::<bool>(),
        max_line in 1_usize..24,
        piece in 1_usize..9,
    ) {
        let ends = [("\n", ""), ("", "a"), ("b", "a"), ("ab", ""), ("aba", "b"), ("", "")];
        let (end, start) = ends[form];
        let mut blocks = blocks(BlockSize::Bytes(size), end, start);
        blocks.has_header = has_header && form != 5 && max_line > 20 && text.len() < 20;
        if form == 5 && has_header {
            blocks.records = RecordEnd::Csv;
        }
        let of_file = of_file(&blocks, text.as_bytes(), max_line);
        let of_stream = of_stream(&blocks, text.as_bytes(), max_line, piece);
        prop_assert_eq!(&of_file, &of_stream);
        if of_file.iter().all(Option::is_some) && !blocks.has_header {
            prop_assert_eq!(texts(of_file).concat(), text);
        }
    }
}
