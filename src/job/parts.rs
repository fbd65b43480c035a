//! What happens to the parts of a result that come before its end.

/// What happens to the parts of a result that come before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartsConfig {
    /// They are given to the sink as they come.
    pub(crate) are_passed_on: bool,
    /// They are kept: the result is the list of them.
    pub(crate) are_kept: bool,
}

impl Default for PartsConfig {
    fn default() -> Self {
        Self { are_passed_on: false, are_kept: true }
    }
}
