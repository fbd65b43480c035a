//! Jobs from the command line: each combination of one arg from each list is a job.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::feeder::Feeder;
use super::plain_lines;
use super::reader::Form;
use crate::job::Place;

/// How many jobs from the command line are fed at once.
const BATCH: usize = 256;

impl Feeder<'_> {
    /// Makes a job of each combination of one arg from each list. Returns whether to go on.
    pub(super) fn args(&mut self, lists: &[Vec<OsString>]) -> bool {
        let mut lists: Vec<&[OsString]> = lists.iter().map(Vec::as_slice).collect();
        if let Form::Plain(plain) = &self.reader.form
            && self.wants_header
        {
            // Each list begins with the name of its column.
            let split: Option<Vec<_>> = lists.iter().map(|list| list.split_first()).collect();
            let (names, args): (Vec<_>, _) = split.unwrap_or_default().into_iter().unzip();
            lists = args;
            let names = names.iter().map(|name| plain_lines::split(plain.columns, name.as_bytes()));
            let names: Vec<_> = names.flatten().collect();
            if names.is_empty() || !self.row(plain, Place::default(), &names, b"") {
                return names.is_empty();
            }
        }
        for index in 0..count(&lists) {
            let goes_on = self.combination(index, &nth(&lists, index));
            let is_batch = self.batched() >= BATCH;
            if !goes_on || (is_batch && !self.feed()) {
                return false;
            }
        }
        self.feed()
    }

    /// Makes a job of one combination. Returns whether to go on.
    fn combination(&mut self, index: usize, columns: &[Cow<'_, [u8]>]) -> bool {
        match &self.reader.form {
            Form::Plain(plain) if !plain.is_simple() || columns.len() > 1 => {
                let line = columns.join(&b'\t');
                let fields = columns.iter().flat_map(|arg| plain_lines::split(plain.columns, arg));
                self.row(plain, Place::default(), &fields.collect::<Vec<_>>(), &line)
            }
            _ => {
                let place = Place { source: 0, line: index as u64 + 1 };
                self.line(place, Ok(&columns.join(&b' ')))
            }
        }
    }
}

/// How many combinations there are, or the largest number if there are more: nobody runs that many.
pub(super) fn count(lists: &[&[OsString]]) -> usize {
    if lists.iter().any(|list| list.is_empty()) {
        return 0;
    }
    lists.iter().map(|list| list.len()).fold(1, usize::saturating_mul)
}

/// Combination `index`, counted from 0. The arg of the last list changes first.
fn nth<'a>(lists: &[&'a [OsString]], index: usize) -> Vec<Cow<'a, [u8]>> {
    let mut columns = Vec::with_capacity(lists.len());
    let mut left = index;
    for list in lists.iter().rev() {
        columns.push(Cow::Borrowed(list[left % list.len()].as_bytes()));
        left /= list.len();
    }
    columns.reverse();
    columns
}
