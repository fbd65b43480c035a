//! The status of a server, as JSON.

use std::time::Duration;

use serde::Serialize;

use super::ServedPool;
use crate::link::greeting::PROGRAM_VERSION;
use crate::pool::stats::{WorkerState, WorkerStats};

/// The status of a server.
#[derive(Serialize)]
pub(super) struct ServerStatus {
    version: &'static str,
    pid: u32,
    uptime: f64,
    draining: bool,
    slots: usize,
    callers: usize,
    jobs: JobCounts,
    queue: usize,
    running: usize,
    started: u64,
    workers: Vec<WorkerStatus>,
}

#[derive(Serialize)]
struct JobCounts {
    done: u64,
    failed: u64,
}

#[derive(Serialize)]
struct WorkerStatus {
    slot: usize,
    pid: u32,
    state: &'static str,
    age: f64,
    jobs: u64,
    memory: Option<u64>,
}

impl ServerStatus {
    pub(super) fn of(
        pools: &[ServedPool],
        slots: usize,
        callers: usize,
        draining: bool,
        uptime: Duration,
    ) -> Self {
        let stats: Vec<_> = pools.iter().map(|served| served.pool.stats()).collect();
        let counts: Vec<_> = pools.iter().map(|served| served.switchboard.counts()).collect();
        let failed = counts.iter().map(|(_, failed)| failed).sum();
        Self {
            version: PROGRAM_VERSION,
            pid: std::process::id(),
            uptime: seconds(uptime),
            draining,
            slots,
            callers,
            jobs: JobCounts {
                done: counts.iter().map(|(succeeded, _)| succeeded).sum::<u64>() + failed,
                failed,
            },
            queue: stats.iter().map(|stats| stats.waiting + stats.retrying).sum(),
            running: stats.iter().map(|stats| stats.running).sum(),
            // All pools share the count.
            started: stats.first().map_or(0, |stats| stats.started),
            workers: stats.iter().flat_map(|stats| &stats.workers).map(WorkerStatus::of).collect(),
        }
    }

    /// A line of JSON.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

impl WorkerStatus {
    fn of(worker: &WorkerStats) -> Self {
        Self {
            slot: worker.slot,
            pid: worker.pid,
            state: match worker.state {
                WorkerState::Starting => "starting",
                WorkerState::Idle => "idle",
                WorkerState::Busy => "busy",
                WorkerState::Spare => "spare",
                WorkerState::Ending => "ending",
            },
            age: seconds(worker.age),
            jobs: worker.jobs,
            memory: worker.memory,
        }
    }
}

/// Seconds to the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}
