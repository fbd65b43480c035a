//! Why there is no command: its words are misused, or do not fit the args of a job.

use std::fmt;

/// Why there is no command, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(String);

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}

impl From<String> for CommandError {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<&str> for CommandError {
    fn from(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}
