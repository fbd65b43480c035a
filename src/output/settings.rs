//! What the output is told once, and what it tells those around it.

use std::sync::Arc;

use super::format::Format;
use crate::journal::Journal;

/// How results are printed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a record looks.
    pub format: Format,
    /// In input order, not as they come.
    pub ordered: bool,
    /// How many bytes of results that wait for their turn are held in memory.
    pub buffer: usize,
    /// Where each result is recorded before it is printed.
    pub journal: Option<Arc<Journal>>,
}

/// Why the output came to its end before the run did.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody reads stdout any more.
    Closed,
    /// stdout can't be written, and nothing more will be: a sentence.
    Broken(String),
    /// Results that waited for their turn are lost, or out of order: a sentence.
    Disordered(String),
    /// Results could not be recorded in the journal; they are printed nevertheless: a sentence.
    Unrecorded(String),
}

/// What output tells, and asks, of those around it.
pub trait Surroundings: Send + Sync {
    /// Prints a failure, in whole lines, to stderr.
    fn failure(&self, lines: &[u8]);

    /// Runs a write of this text to stdout, out of the way of whatever else is on the terminal.
    fn around_write(&self, text: &[u8], write: &mut dyn FnMut());

    /// The output can't go on; nothing more will be printed if it is [`Trouble::Closed`].
    fn trouble(&self, trouble: Trouble);
}
