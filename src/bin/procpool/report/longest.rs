//! The longest of many entries, without keeping the others.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The entries that took longest.
#[derive(Debug)]
pub struct Longest<T> {
    most: usize,
    /// The shortest is on top.
    heap: BinaryHeap<Reverse<Ranked<T>>>,
    /// The number of entries that were added.
    count: u64,
}

#[derive(Debug)]
struct Ranked<T> {
    seconds: f64,
    /// The position among all entries. Of two equally long entries, the first counts.
    nth: u64,
    what: T,
}

impl<T> Longest<T> {
    /// Keeps no more than `most`.
    pub fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new(), count: 0 }
    }

    /// Adds an entry, if it is among the longest.
    pub fn add(&mut self, seconds: f64, what: T) {
        self.count += 1;
        if self.heap.len() >= self.most {
            if seconds <= self.threshold() {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse(Ranked { seconds, nth: self.count, what }));
    }

    /// Only entries that took longer than this are kept.
    pub fn threshold(&self) -> f64 {
        match self.heap.peek() {
            Some(Reverse(shortest)) if self.heap.len() >= self.most => shortest.seconds,
            _ => f64::NEG_INFINITY,
        }
    }

    /// The number of entries that are not kept.
    pub fn left_out(&self) -> u64 {
        self.count - self.heap.len() as u64
    }

    /// The entries that are kept, the longest first.
    pub fn sorted(&self) -> Vec<&T> {
        let mut entries: Vec<_> = self.heap.iter().map(|Reverse(entry)| entry).collect();
        entries.sort_by(|a, b| b.cmp(a));
        entries.into_iter().map(|entry| &entry.what).collect()
    }
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Ranked<T> {}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.seconds.total_cmp(&other.seconds).then(other.nth.cmp(&self.nth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stay() {
        let mut longest = Longest::new(3);
        assert_eq!(longest.threshold(), f64::NEG_INFINITY);
        for (nth, seconds) in [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 4.0].into_iter().enumerate() {
            longest.add(seconds, nth);
        }
        assert_eq!(longest.sorted(), [&5, &4, &2]);
        assert_eq!((longest.threshold(), longest.left_out()), (4.0, 5));
    }
}
