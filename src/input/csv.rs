//! CSV: where records end in a stream, and the fields of a record. Without the feature `csv` there are no records.

#[cfg(feature = "csv")]
use std::borrow::Cow;
#[cfg(feature = "csv")]
use std::cell::RefCell;
#[cfg(not(feature = "csv"))]
use std::convert::Infallible;

#[cfg(feature = "csv")]
use csv_core::ReadRecordResult;

/// Finds where CSV records end.
#[derive(Debug)]
pub(super) struct RecordEnds {
    #[cfg(feature = "csv")]
    reader: csv_core::Reader,
    /// The reader writes the fields here. Nobody looks at them.
    #[cfg(feature = "csv")]
    text: [u8; 1024],
    #[cfg(feature = "csv")]
    ends: [usize; 64],
    #[cfg(not(feature = "csv"))]
    never: Infallible,
    /// The last record ended with a carriage return. A newline after it is a part of its end.
    pub(super) is_after_return: bool,
    /// The stream was searched for a mark of UTF-8 at its beginning.
    pub(super) has_begun: bool,
    /// How many newlines were in the dropped bytes of a record that is too long.
    pub(super) newlines: u64,
}

#[cfg(not(feature = "csv"))]
impl RecordEnds {
    /// Nothing is CSV.
    pub(super) fn new(_: bool) -> Option<Self> {
        None
    }

    pub(super) fn end(&mut self, _: &[u8]) -> Option<usize> {
        match self.never {}
    }
}

#[cfg(feature = "csv")]
impl RecordEnds {
    /// `None`: lines are no CSV records.
    pub(super) fn new(is_csv: bool) -> Option<Self> {
        // The reader's tables take a while to make.
        let reader = || {
            let mut reader = csv_core::Reader::new();
            begin_anywhere(&mut reader);
            reader
        };
        is_csv.then(|| Self {
            reader: reader(),
            text: [0; 1024],
            ends: [0; 64],
            is_after_return: false,
            has_begun: false,
            newlines: 0,
        })
    }

    /// Finds the line break that ends the current record. `bytes` are the next bytes. `None`: the
    /// record goes on after them.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut read = 0;
        // The reader takes an empty slice for the end of the stream.
        while read < bytes.len() {
            let (result, count, ..) =
                self.reader.read_record(&bytes[read..], &mut self.text, &mut self.ends);
            read += count;
            match result {
                ReadRecordResult::Record => return Some(read.saturating_sub(1)),
                ReadRecordResult::End => return None,
                _ => {}
            }
        }
        None
    }
}

/// Makes a reader of CSV ready for a record from anywhere in a stream.
#[cfg(feature = "csv")]
fn begin_anywhere(reader: &mut csv_core::Reader) {
    reader.reset();
    // The reader would drop a mark of UTF-8 at the beginning of the first bytes that it gets. So it
    // gets a line break first, which it ignores.
    let _ = reader.read_record(b"\n", &mut [0], &mut [0]);
}

/// The fields of one record.
#[cfg(feature = "csv")]
pub(super) fn fields(record: &[u8]) -> Vec<Cow<'static, [u8]>> {
    thread_local! {
        /// Making a reader takes much longer than reading a record.
        static READER: RefCell<csv_core::Reader> = RefCell::new(csv_core::Reader::new());
    }
    let mut text = vec![0; record.len() + 1];
    let mut ends = vec![0; memchr::memchr_iter(b',', record).count() + 2];
    let mut read = 0;
    let mut wrote = 0;
    let mut count = 0;
    READER.with_borrow_mut(|reader| {
        begin_anywhere(reader);
        // Each index is a sum of lengths that the reader has used, so it is in bounds.
        loop {
            let (result, more_read, more_wrote, more) =
                reader.read_record(&record[read..], &mut text[wrote..], &mut ends[count..]);
            read += more_read;
            wrote += more_wrote;
            count += more;
            // There is room for all fields. When all bytes are read, an empty slice ends the record.
            if result != csv_core::ReadRecordResult::InputEmpty {
                break;
            }
        }
    });
    let mut begin = 0;
    ends[..count]
        .iter()
        .map(|&end| {
            let field = text.get(begin..end).unwrap_or_default().to_vec();
            begin = end;
            Cow::Owned(field)
        })
        .collect()
}
