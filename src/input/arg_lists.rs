//! Lists of args, from the command line or from files: how they are combined, and where their args are read.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::feeder::read_some;
use super::lines::Lines;
use super::reader::Reader;
use super::source::Source;

/// Lists of args. Each combination of one arg from each list is a job, but linked lists go side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgLists {
    /// The lists, in the order of the args of a job.
    pub lists: Vec<ArgList>,
    /// All lists are linked, and shorter ones begin again.
    pub links_all: bool,
}

/// A list of args.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgList {
    /// Where its args are.
    pub from: ListSource,
    /// It goes side by side with the list before it. The shorter one ends both.
    pub is_linked: bool,
}

/// Where the args of a list are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// On the command line.
    Words(Vec<OsString>),
    /// In a file, a line each.
    File(PathBuf),
    /// In the stdin of the process, a line each.
    Stdin,
}

impl From<Vec<Vec<OsString>>> for ArgLists {
    /// Lists that are all combined.
    fn from(lists: Vec<Vec<OsString>>) -> Self {
        let list = |words| ArgList { from: ListSource::Words(words), is_linked: false };
        Self { lists: lists.into_iter().map(list).collect(), links_all: false }
    }
}

impl ArgLists {
    /// The number of jobs, without the first `names` args of each list. `None`: some args are in files.
    pub(super) fn count(&self, names: usize) -> Option<usize> {
        let len = |list: &ArgList| match &list.from {
            ListSource::Words(words) => Some(words.len().saturating_sub(names)),
            ListSource::File(_) | ListSource::Stdin => None,
        };
        let lens: Vec<usize> = self.lists.iter().map(len).collect::<Option<_>>()?;
        Some(Combinations::new(self, &lens).count)
    }

    /// Why a file of args can't be read, if that is known before it is opened.
    pub(super) fn problem(&self) -> Option<String> {
        self.lists.iter().find_map(|list| match &list.from {
            ListSource::File(path) => Source::File(path.clone()).problem(),
            ListSource::Words(_) | ListSource::Stdin => None,
        })
    }

    /// Reads the args of all lists. `Ok(None)`: reading was stopped.
    ///
    /// # Errors
    /// A file can't be read. The sentence names it.
    pub(super) fn read(&self, reader: &Reader) -> Result<Option<Vec<ListedArgs>>, String> {
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
pub(super) struct ListedArgs {
    text: Vec<u8>,
    /// Where each arg ends in the text.
    ends: Vec<usize>,
}

impl ListedArgs {
    fn push(&mut self, arg: &[u8]) {
        self.text.extend_from_slice(arg);
        self.ends.push(self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
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

/// The jobs of lists with these numbers of args.
#[derive(Debug)]
pub(super) struct Combinations {
    /// For each list: its number of args, and how many jobs use the same arg before the next one's turn.
    lists: Vec<(usize, usize)>,
    /// The number of jobs in a group of linked lists, for each list.
    groups: Vec<usize>,
    /// How many jobs there are, or the largest number if there are more: nobody runs that many.
    pub(super) count: usize,
}

impl Combinations {
    pub(super) fn new(lists: &ArgLists, lens: &[usize]) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, list) in lists.lists.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if list.is_linked || lists.links_all => group.push(index),
                _ => groups.push(vec![index]),
            }
        }
        let is_empty = lens.contains(&0);
        let jobs = |group: &Vec<usize>| {
            let lens = group.iter().map(|&list| lens[list]);
            let most = if lists.links_all { lens.max() } else { lens.min() };
            if is_empty { 0 } else { most.unwrap_or_default() }
        };
        let sizes: Vec<usize> = groups.iter().map(jobs).collect();
        let mut each = vec![(0, 1); lens.len()];
        let mut sizes_of_lists = vec![0; lens.len()];
        let mut count = usize::from(!sizes.is_empty());
        // The args of the last list change first.
        for (group, &size) in groups.iter().zip(&sizes).rev() {
            for &list in group {
                each[list] = (lens[list], count.max(1));
                sizes_of_lists[list] = size;
            }
            count = count.saturating_mul(size);
        }
        Self { lists: each, groups: sizes_of_lists, count }
    }

    /// The index of the arg from each list for this job, which is counted from 0.
    pub(super) fn nth(&self, job: usize) -> impl Iterator<Item = usize> {
        let lists = self.lists.iter().zip(&self.groups);
        lists.map(move |(&(len, each), &size)| job / each % size.max(1) % len.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(lens: &[usize], linked: &[usize], links_all: bool) -> Vec<Vec<usize>> {
        let list = |index| ArgList { from: ListSource::Stdin, is_linked: linked.contains(&index) };
        let lists = ArgLists { lists: (0..lens.len()).map(list).collect(), links_all };
        let combinations = Combinations::new(&lists, lens);
        (0..combinations.count).map(|job| combinations.nth(job).collect()).collect()
    }

    #[test]
    fn lists_are_multiplied_or_linked_as_gnu_parallel_does() {
        assert_eq!(jobs(&[2, 2], &[], false), [[0, 0], [0, 1], [1, 0], [1, 1]]);
        assert_eq!(jobs(&[3, 2], &[1], false), [[0, 0], [1, 1]]);
        assert_eq!(jobs(&[3, 2], &[], true), [[0, 0], [1, 1], [2, 0]]);
        let mixed = [[0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]];
        assert_eq!(jobs(&[2, 2, 2], &[2], false), mixed);
        let mixed = [[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]];
        assert_eq!(jobs(&[2, 3, 2], &[1], false), mixed);
        assert_eq!(jobs(&[2, 3, 2], &[2], true), [[0, 0, 0], [1, 1, 1], [0, 2, 0]]);
        assert_eq!(jobs(&[2, 0], &[], false), [[0; 2]; 0]);
        assert_eq!(jobs(&[2, 0], &[], true), [[0; 2]; 0]);
        let large = Combinations::new(&ArgLists::default(), &[]);
        assert_eq!(large.count, 0);
    }
}
