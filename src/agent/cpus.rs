//! How many CPUs this process may use.

/// The number of CPUs that this process may use, at least 1.
pub(super) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
