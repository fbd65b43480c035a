//! The names of streams and subjects. They have no data of jobs: a run and the content of jobs are hashes there.

use std::fmt;

use crate::job::key::Digest128;

/// The consumer that all worker machines share.
pub(super) const WORKERS: &str = "workers";

/// The names of one queue.
#[derive(Clone, Debug)]
pub(super) struct QueueNames {
    pub(super) name: String,
}

impl QueueNames {
    pub(super) fn jobs_stream(&self) -> String {
        self.name.clone()
    }

    pub(super) fn results_stream(&self) -> String {
        format!("{}-results", self.name)
    }

    pub(super) fn dead_stream(&self) -> String {
        format!("{}-dead", self.name)
    }

    /// The subject of a kind, of one run or all: `procpool.NAME.KIND.…`.
    pub(super) fn subject(&self, kind: &str, rest: impl fmt::Display) -> String {
        format!("procpool.{}.{kind}.{rest}", self.name)
    }
}

/// A message with jobs: a bundle of successive jobs of a run, or one job of a bundle that was split.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unit {
    /// The run.
    pub(super) run: String,
    /// The bundle.
    pub(super) bundle: String,
    /// Which job of the bundle it is, from 0. `None`: all of them.
    pub(super) index: Option<usize>,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.bundle)?;
        self.index.map_or(Ok(()), |index| write!(f, ".{index}"))
    }
}

impl Unit {
    /// Reads the end of a subject: `procpool.NAME.KIND.RUN.BUNDLE` or `….INDEX`.
    pub(super) fn of_subject(subject: &str) -> Option<Self> {
        let mut tokens = subject.split('.').skip(3);
        let (run, bundle) = (tokens.next()?.to_owned(), tokens.next()?.to_owned());
        let index = tokens.next().map(|index| index.parse().ok());
        let index = index.map_or(Some(None), |index| index.map(Some))?;
        tokens.next().is_none().then_some(Self { run, bundle, index })
    }

    /// One job of it.
    pub(super) fn part(&self, index: usize) -> Self {
        Self { index: Some(index), ..self.clone() }
    }
}

/// The name of a bundle: its first job, how many it has, and a hash of their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BundleName {
    pub(super) first: u64,
    pub(super) count: usize,
    pub(super) hash: String,
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.first, self.count, self.hash)
    }
}

impl BundleName {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (first, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { first, count, hash: parts.next()?.to_owned() })
    }
}

/// A short name from which nobody can tell the content.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    Digest128::of(parts).0[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_was_written() {
        let names = QueueNames { name: "q".into() };
        let bundle = BundleName { first: 7, count: 1000, hash: hash([&b"x"[..]]) };
        let whole = Unit { run: "r".into(), bundle: bundle.to_string(), index: None };
        for unit in [whole.clone(), whole.part(0), whole.part(999)] {
            assert_eq!(Unit::of_subject(&names.subject("jobs", &unit)), Some(unit));
        }
        assert_eq!(BundleName::read(&whole.bundle), Some(bundle));
        for wrong in [
            "",
            "procpool.q.jobs",
            "procpool.q.jobs.r",
            "procpool.q.jobs.r.b.x",
            "procpool.q.jobs.r.b.1.2",
        ] {
            assert_eq!(Unit::of_subject(wrong), None, "{wrong}");
        }
    }
}
