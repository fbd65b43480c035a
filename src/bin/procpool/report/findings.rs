//! The facts of a run that all reports share, after its end.

use std::time::{Duration, UNIX_EPOCH};

use super::totals::Totals;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// All jobs have run.
    Complete,
    /// `--halt` ended it.
    Halted,
    /// A signal ended it.
    Interrupted(i32),
    /// An error of procpool itself ended it.
    Broken,
    /// A worker printed more than it was asked for. Some results may be wrong.
    Doubtful,
}

/// How a run ended, and how many jobs it left.
#[derive(Clone, Copy, Debug)]
pub struct RunEnding {
    pub outcome: RunOutcome,
    /// The number of jobs that were read and not run.
    pub left: u64,
    /// Some input was not read.
    pub has_unread_input: bool,
    /// The number of processes that were started.
    pub processes: u64,
}

/// The facts of a run.
#[derive(Debug)]
pub struct Findings<'a> {
    /// The command line of procpool.
    pub command_line: &'a str,
    /// The name of this machine.
    pub host: &'a str,
    pub slots: usize,
    /// The begin of the run, in seconds since 1970.
    pub began: f64,
    /// The duration of the run, in seconds.
    pub seconds: f64,
    pub ending: RunEnding,
    pub totals: &'a Totals,
}

impl Findings<'_> {
    /// The share of the time in which the slots were busy, from 0 to 1.
    pub fn use_of_slots(&self) -> f64 {
        (self.totals.busy() / (self.seconds * self.slots as f64).max(1e-9)).min(1.0)
    }

    /// The moment this number of seconds after the begin, as text.
    pub fn time(&self, after: f64) -> String {
        let since = Duration::try_from_secs_f64(self.began + after).unwrap_or_default();
        humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
    }

    /// The result of the run, as a sentence.
    pub fn verdict(&self) -> String {
        let Totals { failed, .. } = *self.totals;
        let jobs = self.totals.jobs();
        let ran = match (failed, jobs) {
            (0, 0) => "No job was run".to_owned(),
            (0, 1) => "The job succeeded".to_owned(),
            (0, _) => format!("All {} jobs succeeded", grouped(jobs)),
            (_, 1) => "The job failed".to_owned(),
            _ => format!("{} of {} jobs failed", grouped(failed), grouped(jobs)),
        };
        let left = self.ending.left;
        let rest = match (left, self.ending.has_unread_input) {
            (0, false) => String::new(),
            (0, true) => "; input was left unread".to_owned(),
            (1, _) => "; 1 job was not run".to_owned(),
            (left, _) => format!("; {} jobs were not run", grouped(left)),
        };
        format!("{ran}{rest}")
    }

    /// Why the run ended, if it did not end by itself.
    pub fn how_it_ended(&self) -> Option<String> {
        match self.ending.outcome {
            RunOutcome::Complete => None,
            RunOutcome::Halted => Some("The run was ended by --halt".into()),
            RunOutcome::Interrupted(signal) => {
                Some(format!("The run was ended by {}", signal_name(signal)))
            }
            RunOutcome::Doubtful => {
                Some("Some results are doubtful: see the messages of the run".into())
            }
            RunOutcome::Broken => Some("The run was ended by an error of procpool itself".into()),
        }
    }
}

impl RunOutcome {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Halted => "halted",
            Self::Interrupted(_) => "interrupted",
            Self::Broken => "broken",
            Self::Doubtful => "doubtful",
        }
    }
}

/// A signal's name.
pub fn signal_name(signal: i32) -> String {
    let name = signal_hook::low_level::signal_name(signal);
    name.map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
