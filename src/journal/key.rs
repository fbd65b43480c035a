//! Makes the key of a job, which is the same from one run to the next: a hash of its id or of its texts,
//! and a count of equal jobs.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};

use crate::job::key::Digest128;
use crate::job::{Block, Job};

/// A block is hashed in pieces of this many bytes.
const PIECE: usize = 1 << 20;

/// Everything besides a job's own texts that gives it its meaning, such as the command that is run for each
/// line. Jobs with different contexts have different keys, even if their lines are equal.
#[derive(Clone, Debug)]
pub struct Context {
    digest: Digest128,
    header: Arc<OnceLock<Vec<Vec<u8>>>>,
    /// The names of the workers that jobs choose from, if they have any.
    workers: Vec<String>,
}

impl Context {
    /// `parts` are the words of the command, or the code, that gives lines their meaning. `header` has the
    /// names of the columns of plain lines, after they were read.
    pub fn new<'a>(
        parts: impl IntoIterator<Item = &'a [u8]>,
        header: Arc<OnceLock<Vec<Vec<u8>>>>,
    ) -> Self {
        Self { digest: Digest128::of(parts), header, workers: Vec::new() }
    }

    /// The same, where jobs choose from workers of these names.
    #[must_use]
    pub fn with_workers(self, workers: Vec<String>) -> Self {
        Self { workers, ..self }
    }

    /// The digest of the record of the limit for packing. No job has it.
    pub(super) fn pack(&self) -> Digest128 {
        Digest128::of([&b"pack"[..], &self.digest.0])
    }

    /// The key of a job without the count of equal jobs.
    pub(crate) fn digest(&self, job: &Job) -> Digest128 {
        let context = &self.digest.0[..];
        if let Some(id) = job.id() {
            return Digest128::of([b"id", id]);
        }
        if let Some(message) = job.as_message() {
            return Digest128::of([b"message", context, message]);
        }
        if let Some(block) = job.block() {
            return Digest128::of([&b"block"[..], context, &digest_of(block).0]);
        }
        let Some(words) = job.arg_words() else {
            let parts = [b"json", context, job.cmd(), job.args()];
            let worker = self.workers.get(job.pool).map(String::as_bytes);
            return Digest128::of(parts.into_iter().chain(worker));
        };
        match self.header.get() {
            None => Digest128::of([&b"words"[..], context].into_iter().chain(words)),
            // A column may have come or gone between two runs: the same words mean something else.
            Some(names) => {
                let names = Digest128::of(names.iter().map(Vec::as_slice));
                Digest128::of([&b"columns"[..], context, &names.0].into_iter().chain(words))
            }
        }
    }
}

/// The digest of the bytes of a block, read piece by piece. The job of a block that can't be read fails, and is
/// not recorded.
fn digest_of(block: &Block) -> Digest128 {
    let mut bytes = block.read();
    let mut digests = Vec::from(Digest128::of([&*block.header]).0);
    let mut piece = Vec::new();
    while bytes.next(&mut piece, PIECE).is_ok() && !piece.is_empty() {
        digests.extend_from_slice(&Digest128::of([&piece[..]]).0);
    }
    Digest128::of([&digests[..]])
}

/// Counts equal jobs. Each different job takes 20 to 40 bytes.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    once: HashSet<Digest128, BuildHasherDefault<Identity>>,
    more: HashMap<Digest128, u32, BuildHasherDefault<Identity>>,
}

impl Repeats {
    /// Counts a job. Returns its number among those with this digest, from 1.
    pub(crate) fn count(&mut self, digest: Digest128) -> u32 {
        if self.once.insert(digest) {
            return 1;
        }
        let count = self.more.entry(digest).or_insert(1);
        *count = count.saturating_add(1);
        *count
    }
}

/// Uses the first bytes of a digest as its hash, since digests are random already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        let mut first = [0; 8];
        let len = bytes.len().min(8);
        first[..len].copy_from_slice(&bytes[..len]);
        self.0 = u64::from_le_bytes(first);
    }

    // The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(words: &[&str]) -> Context {
        Context::new(words.iter().map(|word| word.as_bytes()), Arc::default())
    }

    #[test]
    fn what_is_the_same_job() {
        let here = context(&["echo", "{}"]);
        let job = |cmd, args, id| here.digest(&Job::new(1, cmd, args, id));
        assert_eq!(job(r#""a""#, "[1]", ""), job(r#""a""#, "[1]", ""));
        assert_ne!(job(r#""a""#, "[1]", ""), job(r#""a""#, "[2]", ""));
        assert_ne!(job(r#""a""#, "[1]", ""), job(r#""b""#, "[1]", ""));
        // If a job has an id, nothing else is a part of its key.
        assert_eq!(job(r#""a""#, "[1]", r#""x""#), job(r#""b""#, "[2]", r#""x""#));
        assert_ne!(job(r#""a""#, "[1]", r#""x""#), job(r#""a""#, "[1]", r#""y""#));
        let named = Job::new(9, r#""a""#, "[1]", "7");
        assert_eq!(here.digest(&named), context(&["rm"]).digest(&named));
        // The same line means something else to another command.
        let line = Job::words(1, b"x\0");
        assert_ne!(here.digest(&line), context(&["rm"]).digest(&line));
        assert_ne!(here.digest(&line), context(&["echo{}"]).digest(&line));
        // The form of a job is a part of it.
        assert_ne!(here.digest(&line), here.digest(&Job::message(1, b"x")));
    }

    #[test]
    fn digests_stay_the_same() {
        // Journals of all versions have them: this must never change.
        let digest = context(&["echo"]).digest(&Job::words(1, b"a b\0"));
        assert_eq!(
            format!("{:032x}", u128::from_be_bytes(digest.0)),
            "a37997cbef0a2fa398dcd5c504874c54"
        );
    }

    #[test]
    fn equal_jobs_are_counted() {
        let mut repeats = Repeats::default();
        let digest = |n: u8| Digest128::of([&[n][..]]);
        let counts: Vec<_> = [1, 2, 1, 1, 3, 2].map(|n| repeats.count(digest(n))).into();
        assert_eq!(counts, [1, 1, 2, 3, 1, 2]);
    }

    proptest! {
        #[test]
        fn other_words_are_another_job(
            one in prop::collection::vec("[ab]{0,3}", 0..4),
            other in prop::collection::vec("[ab]{0,3}", 0..4),
        ) {
            let digest = |words: &[String]| {
                let text: String = words.iter().map(|word| format!("{word}\0")).collect();
                context(&["echo"]).digest(&Job::words(1, text.as_bytes()))
            };
            prop_assert_eq!(one == other, digest(&one) == digest(&other));
        }
    }
}
