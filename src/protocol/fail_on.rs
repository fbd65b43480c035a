//! `FailOn`: which results of a worker are failures.

use std::fmt;

use memchr::memmem::Finder;
use serde_json::Value as Json;

use super::fields;
use super::mark::MarkError;
use crate::job::{Failure, Kind, Value};

/// A message about a failure has at most this many characters of the result.
const SHOWN: usize = 1000;

/// The results that are failures.
#[derive(Clone, Debug)]
pub enum FailOn {
    /// Those with this text.
    Text(Box<Finder<'static>>),
    /// Those that a pattern matches.
    #[cfg(feature = "unstable-engine")]
    Pattern(regex::bytes::Regex),
    /// Those with this value in a field.
    Field {
        /// The names of the field, from the outermost.
        path: Vec<String>,
        /// The value.
        value: Json,
    },
}

impl FailOn {
    /// Reads a sign of failure: a text, or `re:` and a pattern. If results are JSON, a text may be `PATH=VALUE`.
    ///
    /// # Errors
    /// The text is no sign of failure.
    pub fn parse(text: &str, is_json: bool) -> Result<Self, FailOnError> {
        if let Some(pattern) = text.strip_prefix("re:") {
            return Self::pattern(pattern);
        }
        if text.is_empty() {
            return Err(FailOnError::Empty);
        }
        if let Some((path, value)) = text.split_once('=').filter(|_| is_json)
            && let Some(path) = fields::path(path.strip_prefix('.').unwrap_or(path))
        {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
            return Ok(Self::Field { path, value });
        }
        Ok(Self::Text(Box::new(Finder::new(text).into_owned())))
    }

    #[cfg(feature = "unstable-engine")]
    fn pattern(pattern: &str) -> Result<Self, FailOnError> {
        super::pattern(pattern)
            .map(Self::Pattern)
            .map_err(|why| FailOnError::Pattern(MarkError::Pattern(why)))
    }

    #[cfg(not(feature = "unstable-engine"))]
    fn pattern(_: &str) -> Result<Self, FailOnError> {
        Err(FailOnError::Pattern(MarkError::NoPatterns))
    }

    /// The failure that a result is; `None`: it is none.
    pub(super) fn failure(&self, result: Value<'_>) -> Option<Failure> {
        let is_failure = match (self, result) {
            (Self::Field { path, value }, Value::Json(json) | Value::Shown(json)) => {
                has(json.get(), path, value)
            }
            (Self::Field { .. }, Value::Bytes(_)) => false,
            (_, Value::Bytes(bytes)) => self.is_in(bytes),
            // A string is what it says.
            (_, Value::Json(json) | Value::Shown(json)) => {
                match serde_json::from_str::<String>(json.get()) {
                    Ok(text) => self.is_in(text.as_bytes()),
                    Err(_) => self.is_in(json.get().as_bytes()),
                }
            }
        };
        is_failure.then(|| Failure {
            data: Some(result.to_json()),
            ..Failure::new(Kind::Error, message(result))
        })
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Text(finder) => finder.find(bytes).is_some(),
            #[cfg(feature = "unstable-engine")]
            Self::Pattern(regex) => regex.is_match(bytes),
            Self::Field { .. } => false,
        }
    }
}

/// Whether a field of a result has a value.
fn has(result: &str, path: &[String], value: &Json) -> bool {
    let Ok(result) = serde_json::from_str::<Json>(result) else { return false };
    // A value that was meant as text may look like a number.
    let text = value.to_string();
    let is_it = |found: &Json| found == value || found.as_str() == Some(&*text);
    fields::find(&result, path, 0).is_some_and(is_it)
}

/// What to say of a result that is a failure: its text.
pub(super) fn message(result: Value<'_>) -> String {
    let text = match result {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Json(json) | Value::Shown(json) => {
            serde_json::from_str::<String>(json.get()).unwrap_or_else(|_| json.get().to_owned())
        }
    };
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None if text.is_empty() => "its result is empty".to_owned(),
        None => text.to_owned(),
    }
}

/// A text is no sign of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailOnError {
    /// The text is empty, so it would be in each result.
    Empty,
    /// The pattern can't be used.
    Pattern(MarkError),
}

impl fmt::Display for FailOnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty text is a part of each result"),
            Self::Pattern(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FailOnError {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn fails(sign: &str, result: &str, is_json: bool) -> Option<String> {
        let sign = FailOn::parse(sign, is_json).expect("a sign");
        let raw: Box<RawValue>;
        let value = if is_json {
            raw = RawValue::from_string(result.to_owned()).expect("JSON");
            Value::Json(crate::util::json::Json::of(&raw))
        } else {
            Value::Bytes(result.as_bytes())
        };
        sign.failure(value).map(|failure| failure.message)
    }

    #[test]
    fn results_that_are_failures() {
        for (sign, result, is_json, is_failure) in [
            ("missing", "x missing", false, true),
            ("re:^\\?", "? no", false, true),
            ("re:^\\?", "= no?", false, false),
            ("re:^Traceback", "a\nTraceback", false, true),
            ("a=1", "a=1", false, true),
            ("isError=true", r#"{"isError":true}"#, true, true),
            ("isError=true", r#"{"isError":false}"#, true, false),
            (".status.code=7", r#"{"status":{"code":7}}"#, true, true),
            ("status.code=7", r#"{"status":{"code":"7"}}"#, true, true),
            ("status=failed", r#"{"status":"failed"}"#, true, true),
            ("items.0.ok=false", r#"{"items":[{"ok":false}]}"#, true, true),
            ("failed", r#""it failed""#, true, true),
            ("re:\"ok\": *false", r#"{"ok": false}"#, true, true),
            ("absent=null", "{}", true, false),
        ] {
            let found = fails(sign, result, is_json);
            assert_eq!(found.is_some(), is_failure, "{sign} {result}");
        }
        assert_eq!(fails("no", " no\n", false).as_deref(), Some("no"));
        assert!(FailOn::parse("", true).is_err() && FailOn::parse("re:[", true).is_err());
    }
}
