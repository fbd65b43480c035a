//! Several pools in one run: a worker of its own kind for each name (`-w NAME=CMDLINE`), or one
//! process for each share of the keys (`--route`). All feed the same output; each job says which pool
//! it is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procpool::{Closed, Feed, Job, Pool, Underway};

/// The pools of a run, at least one.
#[derive(Clone, Debug)]
pub struct Lanes {
    pools: Arc<[Pool]>,
}

impl Lanes {
    /// All of them; the first is asked what concerns all.
    pub fn new(pools: Vec<Pool>) -> Self {
        Self { pools: pools.into() }
    }

    /// As [`Pool::finish`].
    pub fn finish(&self) {
        self.pools.iter().for_each(Pool::finish);
    }

    /// As [`Pool::stop`].
    pub fn stop(&self) {
        self.pools.iter().for_each(Pool::stop);
    }

    /// As [`Pool::terminate`].
    pub fn terminate(&self) {
        self.pools.iter().for_each(Pool::terminate);
    }

    /// As [`Pool::underway`], of all.
    pub fn underway(&self, patience: Duration) -> Vec<Underway> {
        let begin = Instant::now();
        let left = || patience.saturating_sub(begin.elapsed());
        self.pools.iter().flat_map(|pool| pool.underway(left())).collect()
    }

    /// As [`Pool::kill`].
    pub fn kill(&self) {
        self.pools.iter().for_each(Pool::kill);
    }

    /// As [`Pool::drain`].
    pub fn drain(&self) {
        self.pools.iter().for_each(Pool::drain);
    }

    /// As [`Pool::cancel`].
    pub fn cancel(&self) {
        self.pools.iter().for_each(Pool::cancel);
    }

    /// As [`Pool::ended`], of all.
    pub async fn ended(&self) {
        for pool in self.pools.iter() {
            pool.ended().await;
        }
    }

    /// As [`Pool::pause`]: processes and clock are those of all.
    pub fn pause(&self) {
        self.pools[0].pause();
    }

    /// As [`Pool::resume`].
    pub fn resume(&self) {
        self.pools[0].resume();
    }

    /// How many processes there have been.
    pub fn started(&self) -> u64 {
        self.pools[0].started()
    }

    /// As [`Pool::left`].
    pub fn left(&self) -> usize {
        self.pools.iter().map(Pool::left).sum()
    }
}

impl Feed for Lanes {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        if let [pool] = &*self.pools {
            return pool.feed(batch);
        }
        let mut parts: Vec<Vec<Job>> = self.pools.iter().map(|_| Vec::new()).collect();
        for job in batch.drain(..) {
            // Who reads the jobs knows how many pools there are.
            let lane = job.pool.min(parts.len() - 1);
            parts[lane].push(job);
        }
        for (pool, part) in self.pools.iter().zip(&mut parts) {
            if !part.is_empty() && pool.feed(part).is_err() {
                // Those that got nowhere are the reader's to count.
                batch.extend(parts.into_iter().flatten());
                return Err(Closed);
            }
        }
        Ok(())
    }
}
