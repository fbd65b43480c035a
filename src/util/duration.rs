//! Reads durations as people write them: `2`, `0.5`, `500ms`, `1m30s`.

use std::fmt;
use std::time::Duration;

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationError;

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected seconds (2, 0.5) or a duration such as 500ms or 1m30s")
    }
}

impl std::error::Error for DurationError {}

/// Reads a duration as the command line and job lines write it: seconds as a plain number (`2`,
/// `0.5`), or a number with units (`500ms`, `1m30s`).
///
/// # Errors
/// The text is not a duration. The message says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed.ok_or(DurationError)
}
