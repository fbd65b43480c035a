//! A result that is too large for a page, and stays where it lies until it is printed.

use std::sync::Arc;

use crate::job::printed::Printed;

/// A record that does not lie in memory, since a command has printed a lot.
#[derive(Debug)]
pub struct Large {
    /// What goes to stdout, and then to stderr…
    pub(super) printed: Arc<Printed>,
    /// …and behind that.
    pub(super) tail: Vec<u8>,
}

impl Large {
    pub(super) fn len(&self) -> usize {
        let bytes = self.printed.stdout.len() + self.printed.stderr.len();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
