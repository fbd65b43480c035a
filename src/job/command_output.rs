//! [`CommandOutput`]: the output of a command, as a call gets it.

use std::io;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::printed::{Capture, Printed};
use crate::util::json::base64;

/// The output of a command, and how it ended: the result of a call to a pool of commands.
///
/// `T` of a call may also be a struct of your own with some of these fields, as text or as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct CommandOutput {
    /// Its exit status. `None`: a signal ended it, or its status is not known.
    pub exit: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Its stdout.
    pub stdout: Bytes,
    /// Its stderr.
    pub stderr: Bytes,
}

impl CommandOutput {
    /// Reads the output that was kept of a command.
    ///
    /// # Errors
    /// The temporary file can't be read.
    pub(crate) fn of(printed: &Printed) -> io::Result<Self> {
        Ok(Self {
            exit: printed.exit,
            signal: printed.signal,
            stdout: bytes_of(&printed.stdout)?,
            stderr: bytes_of(&printed.stderr)?,
        })
    }

    /// It as JSON: text as a string, other bytes in base64.
    pub(super) fn to_json(&self) -> Box<RawValue> {
        let mut object = serde_json::Map::new();
        object.insert("exit".to_owned(), self.exit.into());
        if let Some(signal) = self.signal {
            object.insert("signal".to_owned(), signal.into());
        }
        for (key, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            match std::str::from_utf8(bytes) {
                Ok(text) => object.insert(key.to_owned(), text.into()),
                Err(_) => object.insert(format!("{key}_base64"), base64(bytes).into()),
            };
        }
        serde_json::value::to_raw_value(&object).unwrap_or_default()
    }
}

fn bytes_of(capture: &Capture) -> io::Result<Bytes> {
    if let Some(small) = capture.small() {
        return Ok(Bytes::copy_from_slice(small));
    }
    let mut all = Vec::with_capacity(usize::try_from(capture.len()).unwrap_or_default());
    capture.each(|piece| {
        all.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(all.into())
}
