//! Random numbers for delays and names. They are not safe for cryptography.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number from 0 to `most`.
pub(crate) fn random(most: u64) -> u64 {
    let number = RandomState::new().build_hasher().finish();
    number % most.saturating_add(1).max(1)
}
