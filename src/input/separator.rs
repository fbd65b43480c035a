//! What separates the columns of a line: a character, or a match of a regular expression.

use std::borrow::Cow;
use std::fmt;

use regex::bytes::Regex;

/// What separates the columns of a line.
#[derive(Clone, Debug)]
pub enum Separator {
    /// This character.
    Text(Vec<u8>),
    /// A match of this.
    Pattern(Regex),
}

/// The text is no regular expression. The sentence says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeparatorError(String);

impl fmt::Display for SeparatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SeparatorError {}

impl Separator {
    /// Reads a separator: one character means itself, a longer text is a regular expression.
    ///
    /// # Errors
    /// The text is empty, or no regular expression.
    pub fn new(text: &str) -> Result<Self, SeparatorError> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (None, _) => Err(SeparatorError("expected a character or a regular expression".into())),
            (Some(_), None) => Ok(Self::Text(text.as_bytes().to_vec())),
            _ => Regex::new(text).map(Self::Pattern).map_err(|error| {
                let error = error.to_string();
                let line = error.lines().last().unwrap_or_default();
                SeparatorError(format!("it is no regular expression: {line}"))
            }),
        }
    }

    /// The columns of a line.
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        match self {
            Self::Pattern(pattern) => pattern.split(line).map(Cow::Borrowed).collect(),
            Self::Text(text) => {
                let mut columns = Vec::new();
                let mut begin = 0;
                for at in memchr::memmem::find_iter(line, text) {
                    columns.push(Cow::Borrowed(&line[begin..at]));
                    begin = at + text.len();
                }
                columns.push(Cow::Borrowed(&line[begin..]));
                columns
            }
        }
    }
}
