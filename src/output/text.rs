//! A text on stdout that is no result: help, a man page, a script.

use std::io;
use std::os::fd::AsFd;

use super::writer::write_all;

/// Writes a text to stdout.
///
/// # Errors
/// stdout can't be written.
pub fn print(text: &str) -> io::Result<()> {
    Ok(write_all(rustix::stdio::stdout().as_fd(), text.as_bytes())?)
}
