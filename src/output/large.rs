//! A record that is too large for memory, and stays in its temporary file until it is printed.

use std::sync::Arc;

use crate::job::printed::Printed;

/// A record that is not in memory, since the output of its command is large.
#[derive(Debug)]
pub struct Large {
    /// The stdout and the stderr of the command.
    pub(super) printed: Arc<Printed>,
    /// Lines for stderr that follow the output.
    pub(super) tail: Vec<u8>,
}

impl Large {
    pub(super) fn len(&self) -> usize {
        let bytes = self.printed.stdout.len() + self.printed.stderr.len();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
