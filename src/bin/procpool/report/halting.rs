//! `--halt`: counts the outcomes of jobs, and ends the run when there are enough of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cli::halt::{Halt, Limit, What};
use crate::pools::Pools;

/// Ends a run by the outcomes of its jobs.
pub struct Halting {
    halt: Halt,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// The number of jobs in all. 0: it is not known yet.
    total: AtomicU64,
    has_halted: AtomicBool,
    /// The pools that are ended.
    pools: OnceLock<Pools>,
    /// Called once, when the run is halted.
    halted: Box<dyn Fn() + Send + Sync>,
}

impl Halting {
    /// Begins to count. `halted` is called once, when the run is halted.
    pub fn new(halt: Halt, halted: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            halt,
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            total: AtomicU64::new(0),
            has_halted: AtomicBool::new(false),
            pools: OnceLock::new(),
            halted,
        }
    }

    /// Sets the pools that are ended.
    pub fn watch(&self, pools: &Pools) {
        // `set` fails only if the pools were set before.
        let _ = self.pools.set(pools.clone());
    }

    /// Counts a job that is over.
    pub fn add(&self, is_ok: bool) {
        let count = if is_ok { &self.succeeded } else { &self.failed };
        count.fetch_add(1, Ordering::AcqRel);
        self.halt_if_due();
    }

    /// Sets the number of jobs in all, which is known when the whole input was read.
    pub fn set_total(&self, jobs: u64) {
        self.total.store(jobs, Ordering::Release);
        self.halt_if_due();
    }

    /// Whether the run was halted.
    pub fn has_halted(&self) -> bool {
        self.has_halted.load(Ordering::Acquire)
    }

    fn halt_if_due(&self) {
        let Some(pools) = self.pools.get() else { return };
        let failed = self.failed.load(Ordering::Acquire);
        let succeeded = self.succeeded.load(Ordering::Acquire);
        let total = self.total.load(Ordering::Acquire);
        if !is_due(self.halt, succeeded, failed, total)
            || self.has_halted.swap(true, Ordering::AcqRel)
        {
            return;
        }
        if self.halt.now {
            pools.cancel();
        } else {
            pools.drain();
        }
        (self.halted)();
    }
}

/// Whether these counts end the run.
fn is_due(halt: Halt, succeeded: u64, failed: u64, total: u64) -> bool {
    let count = match halt.what {
        What::Fail => failed,
        What::Success => succeeded,
        What::Done => succeeded + failed,
    };
    count > 0
        && match halt.limit {
            Limit::Count(limit) => count >= limit,
            // Whole numbers: as a fraction, 7 % of 100 would be a little more than 7.
            Limit::Percent(percent) => {
                total > 0 && u128::from(count) * 100 >= u128::from(total) * u128::from(percent)
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_halts_at_its_limit() {
        let halt = |what, limit| Halt { now: true, what, limit };
        let three = halt(What::Fail, Limit::Count(3));
        assert!(!is_due(three, 9, 2, 0) && is_due(three, 9, 3, 0));
        let done = halt(What::Done, Limit::Count(5));
        assert!(!is_due(done, 2, 2, 0) && is_due(done, 2, 3, 0));
        let percent = halt(What::Success, Limit::Percent(7));
        assert!(!is_due(percent, 7, 0, 0), "the total is not known yet");
        assert!(!is_due(percent, 6, 0, 100) && is_due(percent, 7, 0, 100));
        assert!(!is_due(percent, 0, 0, 1));
    }
}
