//! Times as people write them.

use std::time::Duration;

/// Reads a duration as the command line and job lines write it: seconds as a plain number (`2`,
/// `0.5`), or a number with units (`500ms`, `1m30s`).
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed.ok_or_else(|| "expected seconds (2, 0.5) or a duration such as 500ms or 1m30s".into())
}
