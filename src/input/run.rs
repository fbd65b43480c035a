//! Reads all sources, one after the other, and says how that ended.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::feeder::{Feeder, StopReason};
use super::plain_lines::NoHeader;
use super::reader::{End, Form, Reader};
use super::source::Source;
use crate::job::{Feed, Sink};

/// How the reading of one source ended.
pub(super) enum SourceEnd {
    /// The next one is read.
    Next,
    /// It was not read, or not to its end. That was reported. The next one is read.
    Skipped,
    /// No more sources are read.
    Over(End),
}

impl Reader {
    /// Reads all sources to their ends and feeds their jobs to the pool. Blocks while the pool's queue
    /// is full. A line that is no job is delivered to `sink` as a failure. If a source can't be read,
    /// `complain` gets a sentence that says why, before the reading begins if possible. The other
    /// sources are still read.
    pub fn run(&self, pool: &dyn Feed, sink: &dyn Sink, complain: &dyn Fn(&str)) -> End {
        if !self.whole.is_wanted() {
            return self.feed(pool, sink, complain);
        }
        match self.prepared() {
            Ok(Some(reader)) => reader.feed(pool, sink, complain),
            Ok(None) => End::Stopped(0),
            Err(problem) => {
                complain(&problem);
                End::Incomplete
            }
        }
    }

    /// Whether jobs come from lines, and not from lists of args.
    fn has_lines(&self) -> bool {
        !matches!(self.sources.as_slice(), [Source::Args(_)])
    }

    fn feed(&self, pool: &dyn Feed, sink: &dyn Sink, complain: &dyn Fn(&str)) -> End {
        let mut feeder = Feeder::new(self, pool, sink);
        let problems: Vec<_> = self.sources.iter().map(Source::problem).collect();
        for problem in problems.iter().flatten() {
            complain(problem);
        }
        let mut is_complete = problems.iter().all(Option::is_none);
        if let Some(seed) = self.whole.shuffle.filter(|_| self.has_lines()) {
            let result =
                feeder.shuffle(seed, &problems.iter().map(Option::is_some).collect::<Vec<_>>());
            let first = self.sources.first().unwrap_or(&Source::Stdin);
            match self.ended(result, &mut feeder, first, complain) {
                SourceEnd::Next => {}
                SourceEnd::Skipped => is_complete = false,
                SourceEnd::Over(end) => return end,
            }
        }
        let is_shuffled = self.whole.shuffle.is_some() && self.has_lines();
        for (index, source) in self.sources.iter().enumerate().filter(|_| !is_shuffled) {
            if problems[index].is_some() {
                continue;
            }
            if self.stop.load(Ordering::Acquire) {
                return End::Stopped(feeder.left());
            }
            match self.read_source(&mut feeder, index, source, complain) {
                SourceEnd::Next => {}
                SourceEnd::Skipped => is_complete = false,
                SourceEnd::Over(end) => return end,
            }
        }
        feeder.finish();
        if let Some(StopReason::Journal(error)) = &feeder.stopped {
            return End::Unresumable(error.to_string());
        }
        if feeder.left() == 0 {
            self.intake.end(feeder.seq());
        }
        match feeder.left() {
            left @ 1.. => End::Stopped(left),
            0 if is_complete => End::Complete(feeder.seq()),
            0 => End::Incomplete,
        }
    }

    /// Reads one source to its end.
    pub(super) fn read_source(
        &self,
        feeder: &mut Feeder<'_>,
        index: usize,
        source: &Source,
        complain: &dyn Fn(&str),
    ) -> SourceEnd {
        feeder.wants_header = matches!(&self.form, Form::Plain(plain) if plain.has_header);
        let result = match source {
            Source::Args(lists) => feeder.args(lists),
            Source::Stdin | Source::File(_) => {
                let read = self.read_bytes(feeder, index, source);
                read.map_err(|error| source.unreadable(&error))
            }
        };
        self.ended(result, feeder, source, complain)
    }

    fn read_bytes(
        &self,
        feeder: &mut Feeder<'_>,
        index: usize,
        source: &Source,
    ) -> io::Result<bool> {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        match (self.whole.held(index), source) {
            (Some(file), _) => feeder.read(file.as_fd(), number),
            (None, Source::File(path)) => feeder.read(self.open(path, number)?.as_fd(), number),
            (None, _) => feeder.read(rustix::stdio::stdin(), number),
        }
    }

    /// Says what the end of the reading of a source means. `result`: whether to go on, or why it can't be read.
    fn ended(
        &self,
        result: Result<bool, String>,
        feeder: &mut Feeder<'_>,
        source: &Source,
        complain: &dyn Fn(&str),
    ) -> SourceEnd {
        match result {
            Ok(true) => SourceEnd::Next,
            Ok(false) => match feeder.stopped.take() {
                Some(StopReason::Header(NoHeader::Misused(message))) => {
                    SourceEnd::Over(End::Misused(message))
                }
                Some(StopReason::Journal(error)) => {
                    SourceEnd::Over(End::Unresumable(error.to_string()))
                }
                Some(StopReason::Header(NoHeader::Different)) => {
                    complain(&format!(
                        "the header in '{}' is not that of the input before it, so it was not read",
                        source.name()
                    ));
                    SourceEnd::Skipped
                }
                None => SourceEnd::Over(End::Stopped(feeder.left())),
            },
            Err(problem) => {
                complain(&problem);
                SourceEnd::Skipped
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::input::feeder::BATCH_BYTES;
    use crate::job::{Closed, Done, Job};

    /// Takes all jobs, and remembers how large the batches were.
    #[derive(Default)]
    struct Sizes(Mutex<Vec<usize>>);

    impl Feed for Sizes {
        fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
            let size = batch.drain(..).map(|job| job.size()).sum();
            self.0.lock().expect("nothing panics").push(size);
            Ok(())
        }
    }

    impl Sink for Sizes {
        fn deliver(&self, _done: &Done<'_>) {}

        fn texts(&self, _seq: u64, _count: u64, _texts: &[u8]) {}
    }

    /// After a long line the buffer stays large, and more is read at once.
    #[test]
    fn what_is_read_at_once_is_fed_in_batches_of_their_size() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let text = format!("# {}\n{}", "x".repeat(8 << 20), "a [1]\n".repeat(500_000));
        std::fs::write(&file, text).expect("there is room for it");
        let sizes = Sizes::default();
        let reader = Reader::simple(Form::Job, vec![Source::File(file.path().into())]);
        let end = reader.run(&sizes, &sizes, &|problem| panic!("{problem}"));
        assert_eq!(end, End::Complete(500_000));
        let sizes = sizes.0.into_inner().expect("nothing panics");
        let largest = sizes.iter().max().expect("batches");
        assert!(*largest < 2 * BATCH_BYTES, "a batch of {largest} bytes");
    }
}
