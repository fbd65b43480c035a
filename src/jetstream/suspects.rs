//! Suspects: jobs at their last attempt that may have ended a machine. A machine runs one of them at a time, so that
//! none is lost because of another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::held::Held;
use crate::job::Job;

/// A suspect waits this long at a machine that has another one. Then the queue has it back.
const PATIENCE: Duration = Duration::from_millis(500);

/// The queue keeps a suspect that was given back for this long.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// The suspects of a machine.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// The message of the one that runs, or whose result is not stored yet.
    running: Option<u64>,
    waiting: VecDeque<Suspect>,
}

#[derive(Debug)]
struct Suspect {
    id: u64,
    job: Job,
    since: Instant,
}

impl Suspects {
    pub(super) fn add(&mut self, id: u64, job: Job) {
        self.waiting.push_back(Suspect { id, job, since: Instant::now() });
    }

    /// The job that is to run now, if there is one.
    pub(super) fn next(&mut self, held: &Held) -> Option<Job> {
        self.running = self.running.filter(|id| held.messages.contains_key(id));
        if self.running.is_some() {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.running = Some(next.id);
        Some(next.job)
    }

    /// When one has waited too long.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.waiting.front().map(|first| first.since + PATIENCE)
    }

    /// Takes out the messages of those that have waited too long.
    pub(super) fn take_late(&mut self) -> Vec<u64> {
        let now = Instant::now();
        let late =
            self.waiting.iter().take_while(|suspect| suspect.since + PATIENCE <= now).count();
        self.waiting.drain(..late).map(|suspect| suspect.id).collect()
    }

    /// Takes out all that wait.
    pub(super) fn take_all(&mut self) -> Vec<Job> {
        self.waiting.drain(..).map(|suspect| suspect.job).collect()
    }
}
