//! [`Stats`]: what a pool does now, and how its calls have ended.

use std::time::Duration;

use crate::job::Kind;
use crate::pool::shared::Shared;
use crate::process::memory_of;
use crate::util::histogram::Durations;
use crate::worker::{Duty, WorkerCard};

/// What a pool does now, and how its calls have ended, as [`Pool::stats`](crate::Pool::stats) returns it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The workers that are alive, by slot. Commands are not listed: each runs for one job only.
    pub workers: Vec<WorkerStats>,
    /// How many jobs wait in the queue.
    pub waiting: usize,
    /// How many jobs have failed and wait to be tried again.
    pub retrying: usize,
    /// How many jobs workers or commands have now.
    pub running: usize,
    /// How many processes were started so far.
    pub started: u64,
    /// How many calls have succeeded.
    pub succeeded: u64,
    /// How many calls have failed, by kind. A kind that did not occur is left out.
    pub failed: Vec<(Kind, u64)>,
    durations: Durations,
}

/// A worker that is alive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its slot, from 1.
    pub slot: usize,
    /// Its process id.
    pub pid: u32,
    /// Its activity.
    pub state: WorkerState,
    /// How long ago it was started.
    pub age: Duration,
    /// How many jobs it has answered.
    pub jobs: u64,
    /// Its resident memory, in bytes. `None`: it is not known on this system.
    pub memory: Option<u64>,
}

/// The activity of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It was started, and has not answered yet.
    Starting,
    /// It has no job.
    Idle,
    /// It has at least one job.
    Busy,
    /// It waits to take the place of a worker that is replaced soon.
    Spare,
    /// It is being ended.
    Ending,
}

impl Stats {
    /// How many calls have failed with this kind.
    pub fn failed(&self, kind: Kind) -> u64 {
        self.failed.iter().find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count)
    }

    /// How long jobs took at their workers, to within 2 %: `quantile(0.5)` is the median, `quantile(1.0)` the
    /// longest time. `None`: no job has run.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let seconds = self.durations.quantile(share)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    pub(super) fn of(shared: &Shared) -> Self {
        let cards = shared.roll_call.workers.cards();
        let (waiting, retrying, running) = shared.queue.counts();
        let counts = shared.deliveries.counts();
        Self {
            workers: cards.iter().map(|card| WorkerStats::of(card, shared)).collect(),
            waiting,
            retrying,
            running,
            started: shared.groups.started(),
            succeeded: counts.succeeded,
            failed: counts.failed,
            durations: counts.durations,
        }
    }
}

impl WorkerStats {
    fn of(card: &WorkerCard, shared: &Shared) -> Self {
        let state = match card.duty() {
            Duty::Spare => WorkerState::Spare,
            Duty::Ending => WorkerState::Ending,
            Duty::Starting if card.jobs() == 0 => WorkerState::Starting,
            Duty::Starting | Duty::Serving if card.in_flight() > 0 => WorkerState::Busy,
            Duty::Starting | Duty::Serving => WorkerState::Idle,
        };
        Self {
            slot: card.id.slot,
            pid: card.pid,
            state,
            age: shared.now().since(card.born),
            jobs: card.jobs(),
            memory: memory_of(card.pid),
        }
    }
}
