//! Reads all sources, one after the other, and says how that ended.

use std::os::fd::AsFd;

use super::feeder::{Feeder, StopReason};
use super::plain_lines::NoHeader;
use super::reader::{End, Form, Reader};
use super::source::Source;
use crate::job::{Feed, Sink};

/// How the reading of one source ended.
enum SourceEnd {
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
        let mut feeder = Feeder::new(self, pool, sink);
        let problems: Vec<_> = self.sources.iter().map(Source::problem).collect();
        for problem in problems.iter().flatten() {
            complain(problem);
        }
        let mut is_complete = problems.iter().all(Option::is_none);
        for (index, source) in self.sources.iter().enumerate() {
            if problems[index].is_some() {
                continue;
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

    fn read_source(
        &self,
        feeder: &mut Feeder<'_>,
        index: usize,
        source: &Source,
        complain: &dyn Fn(&str),
    ) -> SourceEnd {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        feeder.wants_header = matches!(&self.form, Form::Plain(plain) if plain.has_header);
        let result = match source {
            Source::Args(lists) => Ok(feeder.args(lists)),
            Source::Stdin => feeder.read(rustix::stdio::stdin(), index),
            Source::File(path) => {
                self.open(path, index).and_then(|file| feeder.read(file.as_fd(), index))
            }
        };
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
            Err(error) => {
                complain(&source.unreadable(&error));
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
