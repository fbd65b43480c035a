//! What needs all of the input before the first job: the number of jobs, and a random order.

use std::fs::File;
use std::sync::{Arc, OnceLock};

/// What needs all of the input.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    /// Lines come in a random order, which this number decides.
    pub shuffle: Option<u64>,
    /// Gets the number of jobs.
    pub total: Option<Arc<OnceLock<u64>>>,
    /// The sources that were read already, by their index.
    pub(super) held: Vec<Option<Arc<File>>>,
}

impl Whole {
    /// Nothing is held yet.
    pub fn new(shuffle: Option<u64>, total: Option<Arc<OnceLock<u64>>>) -> Self {
        Self { shuffle, total, held: Vec::new() }
    }

    /// The file that has the bytes of a source.
    pub(super) fn held(&self, index: usize) -> Option<&Arc<File>> {
        self.held.get(index)?.as_ref()
    }

    /// Whether anything needs all of the input.
    pub(super) fn is_wanted(&self) -> bool {
        self.shuffle.is_some() || self.total.is_some()
    }
}
