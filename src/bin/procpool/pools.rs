//! The pools of a run, handled as one: one for each name (`-w NAME=CMDLINE`), one for each share of the keys
//! (`--route`), or a single one. Each job says which pool it is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procpool::engine::input::End;
use procpool::engine::{Closed, Feed, Gate, Job, Pool, Underway};

use crate::queue::QueueEnd;

/// The pools of a run: at least one, or none if jobs only go to a queue.
#[derive(Clone)]
pub struct Pools {
    pools: Arc<[Pool]>,
    /// The queue that jobs go to or come from.
    queue: Option<Arc<QueueEnd>>,
}

impl Pools {
    /// Joins these pools. The first one answers for the parts that all of them share.
    pub fn new(pools: Vec<Pool>, queue: Option<Arc<QueueEnd>>) -> Self {
        Self { pools: pools.into(), queue }
    }

    /// Feeds the pools from the queue, until no more jobs come. `None`: they do not come from a queue.
    pub fn work_off_queue(&self) -> Option<End> {
        self.queue.as_ref()?.work(self.pools.first()?)
    }

    /// As [`Pool::finish`].
    pub fn finish(&self) {
        self.pools.iter().for_each(Pool::finish);
        if let Some(queue) = &self.queue {
            queue.finish();
        }
    }

    /// As [`Pool::stop`].
    pub fn stop(&self) {
        self.pools.iter().for_each(Pool::stop);
        self.stop_queue();
    }

    /// As [`Pool::terminate`].
    pub fn terminate(&self) {
        self.pools.iter().for_each(Pool::terminate);
        self.stop_queue();
    }

    fn stop_queue(&self) {
        if let Some(queue) = &self.queue {
            queue.stop();
        }
    }

    /// The running jobs of all pools, as [`Pool::underway`] lists those of one.
    pub fn underway(&self, patience: Duration) -> Vec<Underway> {
        let begin = Instant::now();
        let left = || patience.saturating_sub(begin.elapsed());
        let mut jobs: Vec<_> = self.pools.iter().flat_map(|pool| pool.underway(left())).collect();
        jobs.sort_by_key(|job| (job.seq, job.slot));
        jobs
    }

    /// As [`Pool::warming`], of all.
    pub fn warming(&self) -> usize {
        self.pools.iter().map(Pool::warming).sum()
    }

    /// As [`Pool::limit`], of each pool.
    pub fn limit(&self, count: usize) {
        self.pools.iter().for_each(|pool| pool.limit(count));
    }

    /// As [`Pool::held_back`]. All pools share their limits.
    pub fn held_back(&self) -> Option<(Gate, usize)> {
        self.pools.first()?.held_back()
    }

    /// As [`Pool::kill`].
    pub fn kill(&self) {
        self.pools.iter().for_each(Pool::kill);
        self.stop_queue();
    }

    /// As [`Pool::drain`].
    pub fn drain(&self) {
        self.pools.iter().for_each(Pool::drain);
        self.stop_queue();
    }

    /// As [`Pool::cancel`].
    pub fn cancel(&self) {
        self.pools.iter().for_each(Pool::cancel);
        self.stop_queue();
    }

    /// As [`Pool::ended`], for all pools.
    pub async fn ended(&self) {
        for pool in self.pools.iter() {
            pool.ended().await;
        }
        if let Some(queue) = &self.queue {
            queue.ended().await;
        }
    }

    /// As [`Pool::pause`]. All pools share their processes and their clock.
    pub fn pause(&self) {
        self.pools.iter().take(1).for_each(Pool::pause);
    }

    /// As [`Pool::resume`].
    pub fn resume(&self) {
        self.pools.iter().take(1).for_each(Pool::resume);
    }

    /// Whether jobs run on other machines, or at a server.
    pub fn have_hosts(&self) -> bool {
        self.pools.iter().any(Pool::has_hosts)
    }

    /// As [`Pool::started`], for all pools: they share the count.
    pub fn started(&self) -> u64 {
        self.pools.first().map_or(0, Pool::started)
    }

    /// Whether jobs come from a queue. Those that are not run go back to it.
    pub fn takes_from_queue(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.sink().is_some())
    }

    /// As [`Pool::left`].
    pub fn left(&self) -> usize {
        let queued = self.queue.as_ref().map_or(0, |queue| queue.left());
        queued + self.pools.iter().map(Pool::left).sum::<usize>()
    }
}

impl Feed for Pools {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        if let [pool] = &*self.pools {
            return pool.feed(batch);
        }
        if let Some(queue) = &self.queue {
            return queue.feed(batch);
        }
        let mut parts: Vec<Vec<Job>> = self.pools.iter().map(|_| Vec::new()).collect();
        for job in batch.drain(..) {
            // The reader gives no higher number. `min` keeps the index in range all the same.
            let index = job.pool.min(parts.len() - 1);
            parts[index].push(job);
        }
        for (pool, part) in self.pools.iter().zip(&mut parts) {
            if !part.is_empty() && pool.feed(part).is_err() {
                // The reader counts the jobs that no pool has taken.
                batch.extend(parts.into_iter().flatten());
                return Err(Closed);
            }
        }
        Ok(())
    }
}
