//! How long a job takes, by the messages that were done last.

use std::time::Duration;

/// A message counts this much less than the one after it. One job that takes long among many changes little.
const FADES: f64 = 0.875;

/// How long a job takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessagePace {
    seconds: f64,
    jobs: f64,
    messages: f64,
}

impl MessagePace {
    /// The jobs of a message have taken this long together.
    pub(super) fn add(&mut self, time: Duration, jobs: usize) {
        self.seconds = self.seconds * FADES + time.as_secs_f64();
        self.jobs = self.jobs * FADES + jobs as f64;
        self.messages = self.messages * FADES + 1.0;
    }

    /// The seconds of a job. `None`: none is done.
    pub(super) fn each(self) -> Option<f64> {
        (self.jobs > 0.0).then(|| self.seconds / self.jobs)
    }

    /// The jobs of a message. `None`: none is done.
    pub(super) fn jobs(self) -> Option<f64> {
        (self.messages > 0.0).then(|| self.jobs / self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_count_not_messages() {
        let mut pace = MessagePace::default();
        assert!(pace.each().is_none());
        pace.add(Duration::from_millis(1), 999);
        let before = pace.each().expect("jobs");
        pace.add(Duration::from_millis(1), 1);
        let after = pace.each().expect("jobs");
        assert!(after > before && after < before * 3.0, "{before} {after}");
        (0..100).for_each(|_| pace.add(Duration::from_secs(1), 1));
        assert!(pace.each().is_some_and(|each| each > 0.99));
    }
}
