//! How much may wait in a queue, and how many jobs a message has because of that.

use std::fmt;
use std::str::FromStr;

/// No message has more jobs.
const MOST_JOBS: u64 = 1000;

/// A full queue of jobs has at least this many messages, if it may have as many jobs.
const MESSAGES: u64 = 64;

/// The most that waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// This many jobs.
    Jobs(u64),
    /// This many bytes at the server.
    Bytes(u64),
}

impl Default for QueueLimit {
    fn default() -> Self {
        Self::Jobs(1_000_000)
    }
}

impl fmt::Display for QueueLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(jobs) => write!(f, "{jobs} jobs"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

impl FromStr for QueueLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("'{text}' is no limit: it is a number of jobs, 1 or more");
        let (number, unit) = text.split_once(' ').unwrap_or((text, "jobs"));
        let number = number.parse().ok().filter(|&number: &u64| number > 0).ok_or_else(error)?;
        match unit {
            "jobs" => Ok(Self::Jobs(number)),
            "bytes" => Ok(Self::Bytes(number)),
            _ => Err(error()),
        }
    }
}

impl QueueLimit {
    /// The most jobs of a message.
    pub(super) fn most_jobs(self) -> usize {
        let most = match self {
            Self::Jobs(jobs) => (jobs / MESSAGES).clamp(1, MOST_JOBS),
            Self::Bytes(_) => MOST_JOBS,
        };
        usize::try_from(most).unwrap_or(1)
    }

    /// How many more messages may be published, if there are this many in the queue. A message that was split
    /// counts as often as it has jobs, so the limit is never exceeded.
    pub(super) fn room(self, messages: u64, bytes: u64, largest: u64) -> u64 {
        match self {
            Self::Jobs(jobs) => (jobs / self.most_jobs() as u64).max(1).saturating_sub(messages),
            Self::Bytes(most) => most.saturating_sub(bytes) / largest.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_never_has_more_jobs_than_its_limit() {
        for jobs in [1, 2, 63, 64, 65, 1000, 999_999, 10_000_000] {
            let limit = QueueLimit::Jobs(jobs);
            let messages = limit.room(0, 0, 1);
            assert!(messages >= 1 && messages * limit.most_jobs() as u64 <= jobs, "{jobs}");
            assert_eq!(limit.room(messages, 0, 1), 0);
        }
        for limit in [QueueLimit::Jobs(7), QueueLimit::Bytes(9)] {
            assert_eq!(limit.to_string().parse(), Ok(limit));
        }
        assert!("0".parse::<QueueLimit>().is_err() && "x".parse::<QueueLimit>().is_err());
        assert_eq!(QueueLimit::Bytes(100).room(5, 60, 20), 2);
    }
}
