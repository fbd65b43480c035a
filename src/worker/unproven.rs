//! The results of replies without a request id. They become doubtful if the worker prints more than it
//! was asked for: each of these replies may then answer an earlier request.

use crate::job::key::Key;
use crate::job::naming;
use crate::job::{Job, Place};

/// The results of replies without a request id. They count from the last time that the worker was known
/// to have answered everything and to have printed nothing else.
#[derive(Debug)]
pub(crate) struct Unproven {
    /// The worker sends replies without a request id.
    is_anonymous: bool,
    /// The job with the first of these results.
    first: Option<JobAt>,
    /// The job with the last such result, even if that is proven by now.
    last: Option<JobAt>,
    /// The keys of the results that are in the journal.
    keys: Vec<Key>,
}

/// A job by its number and its place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct JobAt {
    seq: u64,
    place: Place,
}

impl Unproven {
    pub(super) fn new(is_anonymous: bool) -> Self {
        Self { is_anonymous, first: None, last: None, keys: Vec::new() }
    }

    /// Whether the worker sends replies without a request id.
    pub(super) fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    /// Notes that a reply without a request id has come.
    pub(super) fn note_anonymous(&mut self) {
        self.is_anonymous = true;
    }

    /// Notes that the results of `count` jobs have come, from this job on.
    pub(super) fn add(&mut self, seq: u64, place: Place, count: usize, key: Option<Key>) {
        self.first.get_or_insert(JobAt { seq, place });
        let more = (count as u64).saturating_sub(1);
        let place = Place { line: place.line + more, ..place };
        self.last = Some(JobAt { seq: seq + more, place });
        self.keys.extend(key);
    }

    /// The worker is known to have printed nothing else.
    pub(crate) fn prove(&mut self) {
        self.first = None;
        self.keys.clear();
    }

    /// Forgets all results.
    pub(super) fn forget(&mut self) {
        self.prove();
        self.last = None;
    }

    /// Whether some of the results are in a journal.
    pub(crate) fn is_recorded(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Takes the keys of the results that are in a journal.
    pub(crate) fn take_keys(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.keys)
    }

    /// The name of the last job that was answered.
    pub(crate) fn last(&self, sources: &[String]) -> Option<String> {
        self.last.map(|job| job.name(sources))
    }

    /// Says which results are doubtful, as a sentence; `None`: none is.
    pub(crate) fn describe(&self, sources: &[String]) -> Option<String> {
        let first = self.first?;
        let last = self.last?;
        let from = first.name(sources);
        let to = last.name(sources);
        Some(if first == last {
            format!("its result for {from} is doubtful")
        } else {
            format!("its results for {from} to {to} are doubtful")
        })
    }
}

impl JobAt {
    fn name(self, sources: &[String]) -> String {
        naming::name(&Job::unreadable(self.seq, self.place, ""), sources)
    }
}
