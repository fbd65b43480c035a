//! Random numbers for delays and names. They are not safe for cryptography.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number from 0 to `most`.
pub(crate) fn random(most: u64) -> u64 {
    let number = RandomState::new().build_hasher().finish();
    number % most.saturating_add(1).max(1)
}

/// These in a random order, which the seed decides.
pub(crate) fn shuffled<T>(mut all: Vec<T>, seed: u64) -> Vec<T> {
    let mut state = seed;
    // SplitMix64.
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for left in (1..all.len()).rev() {
        let chosen = (u128::from(random()) * (left as u128 + 1)) >> 64;
        all.swap(left, usize::try_from(chosen).unwrap_or(left));
    }
    all
}
