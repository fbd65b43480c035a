//! Lists of args, from the command line or from files, and how they are combined.

use std::ffi::OsString;
use std::path::PathBuf;

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
