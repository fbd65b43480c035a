//! Jobs from lists of args: each combination is a job.

use super::arg_lists::{ArgLists, Combinations, ListedArgs};
use super::feeder::{Feeder, StopReason};
use super::plain_lines::NoHeader;
use super::reader::Form;
use super::whole::shuffled;
use crate::job::Place;

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
        self.feed()
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
