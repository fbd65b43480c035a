//! The settings of the output, and [`Screen`]: the stderr and the terminal that it shares with others.

use std::sync::Arc;

use super::format::Format;
use crate::journal::Journal;

/// How results are printed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How a record looks.
    pub format: Format,
    /// Results are printed in the order of the input, not as jobs finish.
    pub ordered: bool,
    /// The most bytes of waiting results in memory.
    pub buffer: usize,
    /// Where each result is recorded before it is printed.
    pub journal: Option<Arc<Journal>>,
}

/// A problem with the output.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody reads stdout any more.
    Closed,
    /// stdout can't be written, and nothing more will be printed. The text is a sentence.
    Broken(String),
    /// Results that waited for their turn are lost, or out of order. The text is a sentence.
    Disordered(String),
    /// Results could not be recorded in the journal. They are still printed. The text is a sentence.
    Unrecorded(String),
}

/// The things that share a terminal with the output: stderr, and drawings such as a progress bar. (News
/// of the pool goes to a [`Watcher`](crate::Watcher).)
pub trait Screen: Send + Sync {
    /// Prints a failure, in whole lines, to stderr.
    fn failure(&self, lines: &[u8]);

    /// Runs `write`, which writes this text to stdout. A progress bar on the terminal is cleared
    /// meanwhile.
    fn around_write(&self, text: &[u8], write: &mut dyn FnMut());

    /// Something went wrong. With [`Trouble::Closed`] and [`Trouble::Broken`], nothing more will be
    /// printed.
    fn trouble(&self, trouble: Trouble);
}
