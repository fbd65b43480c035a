//! The args of a job as words for a command line.

use super::error::CommandError;
use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::util::json::{ObjectFields, compact, error_text};

/// The args of one job as a template sees them.
#[derive(Clone, Debug, Default)]
pub struct Args<'a> {
    /// The args, in order.
    pub words: Vec<Cow<'a, [u8]>>,
    /// Their names in the same order, if they have any: the header of CSV, or the fields of a JSON object.
    pub names: Vec<Cow<'a, [u8]>>,
    /// For a JSON object: its compact JSON, the value of `{}`. Otherwise `{}` is the words, one by one.
    pub whole: Option<Cow<'a, [u8]>>,
}

impl Args<'_> {
    /// Reads JSON as args: the elements of an array, the fields of an object, or one scalar. Strings
    /// are taken as they are, other scalars as their text, nested values as compact JSON.
    ///
    /// # Errors
    /// The text is not JSON, or not UTF-8, or a string is not text.
    pub fn from_json(json: &[u8]) -> Result<Args<'static>, CommandError> {
        let not_json = |error: serde_json::Error| CommandError::NotJson(error_text(&error));
        let text = std::str::from_utf8(json).map_err(|_| CommandError::NotUtf8)?;
        let mut args = Args::default();
        match text.trim_ascii_start().as_bytes().first() {
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
                for value in values {
                    args.words.push(word_of(value)?.into());
                }
            }
            Some(b'{') => {
                let ObjectFields(fields) = serde_json::from_str(text).map_err(not_json)?;
                for (name, value) in fields {
                    args.names.push(name.into_bytes().into());
                    args.words.push(word_of(value)?.into());
                }
                args.whole = Some(compact(text).into());
            }
            _ => {
                let value: &RawValue = serde_json::from_str(text).map_err(not_json)?;
                args.words.push(word_of(value)?.into());
            }
        }
        Ok(args)
    }

    /// The values of `{}`, one by one.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        let words = if self.whole.is_some() { &[][..] } else { self.words.as_slice() };
        self.whole.iter().chain(words).map(AsRef::as_ref)
    }

    /// The index of the arg with this name. If several have it, the last one counts.
    pub(super) fn position(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().rposition(|known| known.as_ref() == name)
    }
}

fn word_of(value: &RawValue) -> Result<Vec<u8>, CommandError> {
    let text = value.get();
    match text.as_bytes().first() {
        // It is JSON already: only an escape can be wrong.
        Some(b'"') => serde_json::from_str::<String>(text)
            .map(String::into_bytes)
            .map_err(|error| CommandError::HalfCharacter(error_text(&error))),
        Some(b'[' | b'{') => Ok(compact(text)),
        _ => Ok(text.as_bytes().to_vec()),
    }
}
