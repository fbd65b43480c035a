//! Makes texts for tests that are almost valid, from pieces of valid texts.

use std::ops::Range;

use proptest::prelude::*;

/// Texts of some of these pieces.
pub(crate) fn nearly(
    pieces: &'static [&'static str],
    count: Range<usize>,
) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), count).prop_map(|pieces| pieces.concat())
}

/// The same, half of them in braces.
pub(crate) fn nearly_object(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![nearly(pieces, 0..7), nearly(pieces, 0..7).prop_map(|body| format!("{{{body}}}"))]
}
