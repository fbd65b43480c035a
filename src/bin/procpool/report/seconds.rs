//! A duration in words, for people.

use std::fmt;
use std::time::Duration;

/// A number of seconds that is printed with a fitting unit.
pub struct Seconds(pub f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 0.001 => write!(f, "{:.0} µs", seconds * 1e6),
            seconds if seconds < 0.1 => write!(f, "{:.1} ms", seconds * 1e3),
            seconds if seconds < 1.0 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds if seconds < 120.0 => write!(f, "{seconds:.1} s"),
            seconds => {
                let whole = Duration::from_secs(seconds as u64);
                write!(f, "{}", humantime::format_duration(whole))
            }
        }
    }
}
