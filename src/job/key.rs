//! The key of a job, which is the same from one run to the next. The journal makes the keys.

#[cfg(feature = "unstable-engine")]
use sha2::{Digest, Sha256};

/// The first half of a SHA-256. It is the same in all versions and on all machines. Nobody can make two
/// different jobs with the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest128(pub(crate) [u8; 16]);

#[cfg(feature = "unstable-engine")]
impl Digest128 {
    /// The length of each part is hashed too, so that no two lists of parts give the same bytes to hash.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize()[..16]);
        Self(half)
    }
}

/// The key of a job. The count is a `NonZero`, so that an `Option<Key>` takes no more memory than a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) digest: Digest128,
    /// Which of the jobs with this digest it is, in the order of the input, from 1.
    pub(crate) nth: std::num::NonZeroU32,
}
