//! Jobs from lists of args: the args are read, and each combination is a job.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;

use super::arg_lists::{ArgLists, Combinations, ListSource};
use super::feeder::{Feeder, StopReason, read_some};
use super::lines::Lines;
use super::plain_lines::NoHeader;
use super::reader::{Form, Reader};
use super::source::Source;
use crate::job::Place;
use crate::util::random::shuffled;

/// How many jobs from lists are fed at once.
const BATCH: usize = 256;

/// The most combinations that can be shuffled.
const MOST_SHUFFLED: usize = 1 << 27;

impl Feeder<'_> {
    /// Makes a job of each combination of args. Returns whether to go on, and a sentence if a file can't be read.
    pub(super) fn args(&mut self, lists: &ArgLists) -> Result<bool, String> {
        let Some(args) = lists.read(self.reader)? else { return Ok(false) };
        let mut names = 0;
        if let Form::Plain(plain) = &self.reader.form
            && self.wants_header
        {
            // Each list begins with the name of its column.
            if args.iter().any(|list| list.len() == 0) {
                return Ok(true);
            }
            let first: Vec<_> = args.iter().flat_map(|list| plain.split(list.get(0))).collect();
            if !self.row(plain, Place::default(), &first, b"") {
                return Ok(false);
            }
            names = 1;
        }
        let lens: Vec<usize> = args.iter().map(|list| list.len() - names).collect();
        let combinations = Combinations::new(lists, &lens);
        Ok(match self.reader.whole.shuffle {
            None => self.each(0..combinations.count, &combinations, (&args, names)),
            Some(_) if combinations.count > MOST_SHUFFLED => {
                let message = format!("more than {MOST_SHUFFLED} combinations can't be shuffled");
                self.stopped = Some(StopReason::Header(NoHeader::Misused(message)));
                false
            }
            Some(seed) => {
                let jobs = shuffled((0..combinations.count).collect(), seed);
                self.each(jobs.into_iter(), &combinations, (&args, names))
            }
        })
    }

    /// Makes a job of each of these combinations. Returns whether to go on.
    fn each(
        &mut self,
        jobs: impl Iterator<Item = usize>,
        combinations: &Combinations,
        (args, names): (&[ListedArgs], usize),
    ) -> bool {
        for index in jobs {
            let columns: Vec<&[u8]> = combinations
                .nth(index)
                .zip(args)
                .map(|(arg, list)| list.get(arg + names))
                .collect();
            let goes_on = self.combination(index, &columns);
            let is_batch = self.batched() >= BATCH;
            if !goes_on || (is_batch && !self.feed()) {
                return false;
            }
        }
        self.feed_last()
    }

    /// Makes a job of one combination. Returns whether to go on.
    fn combination(&mut self, index: usize, columns: &[&[u8]]) -> bool {
        match &self.reader.form {
            Form::Plain(plain) if !plain.is_simple() || columns.len() > 1 => {
                let line = columns.join(&b'\t');
                let fields = columns.iter().flat_map(|arg| plain.split(arg));
                self.row(plain, Place::default(), &fields.collect::<Vec<_>>(), &line)
            }
            _ => {
                let place = Place { source: 0, line: index as u64 + 1 };
                self.line(place, Ok(&columns.join(&b' ')))
            }
        }
    }
}

impl ArgLists {
    /// Reads the args of all lists. `Ok(None)`: reading was stopped.
    ///
    /// # Errors
    /// A file can't be read. The sentence names it.
    fn read(&self, reader: &Reader) -> Result<Option<Vec<ListedArgs>>, String> {
        let mut read = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            let mut args = ListedArgs::default();
            let result = match &list.from {
                ListSource::Words(words) => {
                    words.iter().for_each(|word| args.push(word.as_bytes()));
                    Ok(true)
                }
                ListSource::Stdin => args.read(rustix::stdio::stdin(), reader),
                ListSource::File(path) => {
                    File::open(path).and_then(|file| args.read(file.as_fd(), reader))
                }
            };
            let source = match &list.from {
                ListSource::File(path) => Source::File(path.clone()),
                ListSource::Words(_) | ListSource::Stdin => Source::Stdin,
            };
            if !result.map_err(|error| source.unreadable(&error))? {
                return Ok(None);
            }
            read.push(args);
        }
        Ok(Some(read))
    }
}

/// The args of one list.
#[derive(Debug, Default)]
struct ListedArgs {
    text: Vec<u8>,
    /// Where each arg ends in the text.
    ends: Vec<usize>,
}

impl ListedArgs {
    fn push(&mut self, arg: &[u8]) {
        self.text.extend_from_slice(arg);
        self.ends.push(self.text.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[index]]
    }

    /// Adds the lines of a file. `Ok(false)`: reading was stopped.
    fn read(&mut self, file: BorrowedFd<'_>, reader: &Reader) -> io::Result<bool> {
        let mut lines = Lines::with(reader.is_csv(), reader.delimiter, reader.max_line);
        loop {
            let at_end = read_some(file, lines.buffer())? == 0;
            while let Some(line) = lines.next(at_end) {
                let text = line.text.map_err(|too_long| {
                    io::Error::other(format!(
                        "line {} is longer than the limit of {} bytes",
                        line.number, too_long.0
                    ))
                })?;
                self.push(text);
            }
            if at_end || reader.stop.load(Ordering::Acquire) {
                return Ok(at_end);
            }
        }
    }
}
