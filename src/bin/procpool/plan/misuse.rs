//! The error of a command line that makes no sense.

use std::fmt::Display;

/// The command line makes no sense: why, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse(String);

impl Misuse {
    pub fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }
}

impl Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

impl From<String> for Misuse {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<&str> for Misuse {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}
