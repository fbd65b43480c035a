//! Which results of a worker are doubtful once it has printed more than it was asked for: those that did
//! not say which request they answer. Each of them may be the answer to a request before.

use crate::job::key::Key;
use crate::job::naming;
use crate::job::{Job, Place};

/// Results of a worker that did not say which request they answer, since it was last known to have
/// answered all that it was asked, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Unproven {
    /// The job with the first of them, and with the last one that there has been.
    first: Option<At>,
    last: Option<At>,
    /// Those of them that are in a journal.
    keys: Vec<Key>,
}

/// A job's number and its place.
type At = (u64, Place);

impl Unproven {
    /// The results of `count` jobs have come, from this one on.
    pub(crate) fn add(&mut self, (seq, place): At, count: usize, key: Option<Key>) {
        self.first.get_or_insert((seq, place));
        let more = (count as u64).saturating_sub(1);
        self.last = Some((seq + more, Place { line: place.line + more, ..place }));
        self.keys.extend(key);
    }

    /// The worker is known to have printed nothing else.
    pub(crate) fn prove(&mut self) {
        self.first = None;
        self.keys.clear();
    }

    /// Whether a journal has some of them.
    pub(crate) fn is_recorded(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Those that are in a journal, which are forgotten here.
    pub(crate) fn take_keys(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.keys)
    }

    /// The last job that was answered, by name.
    pub(crate) fn last(&self, sources: &[String]) -> Option<String> {
        self.last.map(|at| name(at, sources))
    }

    /// What is doubtful, as a sentence; `None`: nothing is.
    pub(crate) fn describe(&self, sources: &[String]) -> Option<String> {
        let (first, last) = (self.first?, self.last?);
        let (from, to) = (name(first, sources), name(last, sources));
        Some(if first == last {
            format!("its result for {from} is doubtful")
        } else {
            format!("its results for {from} to {to} are doubtful")
        })
    }
}

fn name((seq, place): At, sources: &[String]) -> String {
    naming::name(&Job::unreadable(seq, place, ""), sources)
}
