//! The work of an agent on another machine: it has a pool of its own for its coordinator, and ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::leashes::Leashes;
use super::outbox::LinkOutbox;
use super::reporting::LinkReporter;
use super::work::Work;
use super::{AgentPool, AgentTask, Make};
use crate::job::{Job, Sink, Watcher};
use crate::link::from_agent::FromAgent;
use crate::process::Stop;
use crate::util::block_on::block_on;

/// Killed processes have this long to disappear. After that the agent ends in any case.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// A pool for one coordinator.
pub(super) struct OwnPool {
    pool: AgentPool,
    reporter: Arc<LinkReporter>,
    leashes: Leashes,
    /// Jobs that have come and go to the pool together.
    fed: Vec<Job>,
    /// The last message (`Bye`) will be sent when the pool has ended.
    is_ending: Arc<AtomicBool>,
}

impl OwnPool {
    /// Makes the pool.
    pub(super) fn make(
        task: &AgentTask,
        outbox: &Arc<LinkOutbox>,
        is_ending: &Arc<AtomicBool>,
        make: Make<'_>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let reporter = LinkReporter::new(Arc::clone(outbox), 0);
        let reporter = Arc::new(LinkReporter { is_elsewhere: true, ..reporter });
        let sink = Arc::clone(&reporter) as Arc<dyn Sink>;
        let watcher = Arc::clone(&reporter) as Arc<dyn Watcher>;
        let pool = make(task, sink, watcher)?;
        reporter.has_workers.store(!pool.pool.has_commands(), Ordering::Relaxed);
        let is_ending = Arc::clone(is_ending);
        Ok(Self { pool, reporter, leashes: Leashes::default(), fed: Vec::new(), is_ending })
    }

    fn give_back(&self, most: usize) {
        let jobs = self.pool.pool.recall(None, most);
        jobs.iter().for_each(|job| self.reporter.give_back(job));
    }

    /// When the pool has ended, the last message (`Bye`) is sent.
    fn await_end(&self) {
        if self.is_ending.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, outbox) = (self.pool.pool.clone(), Arc::clone(&self.reporter.outbox));
        let end = move || {
            block_on(pool.ended());
            outbox.say_last(&FromAgent::Bye);
        };
        if thread::Builder::new().name("end".into()).spawn(end).is_err() {
            self.reporter.outbox.say_last(&FromAgent::Bye);
        }
    }
}

impl Work for OwnPool {
    fn take(&mut self, job: Job) -> Option<()> {
        self.fed.push(self.leashes.put_on(job, &self.reporter.outbox));
        Some(())
    }

    fn feed(&mut self) {
        if !self.fed.is_empty() && self.pool.pool.feed_now(&mut self.fed).is_err() {
            self.fed.drain(..).for_each(|job| self.reporter.give_back(&job));
        }
    }

    fn cancel(&mut self, seq: u64) {
        if self.leashes.cut(seq) {
            self.pool.pool.wake_slots();
        }
    }

    fn name_args(&mut self, names: Vec<&[u8]>) {
        if let Some(header) = &self.pool.header {
            let _ = header.set(names.into_iter().map(<[u8]>::to_vec).collect());
        }
    }

    fn recall(&mut self, most: usize) {
        self.give_back(most);
        self.reporter.outbox.say(&FromAgent::Recalled);
    }

    fn stop(&mut self, after: Option<Duration>, means: Stop) {
        self.give_back(usize::MAX);
        if means == Stop::Kill {
            self.pool.pool.kill();
        } else {
            self.pool.pool.end_after(after, means);
        }
        self.await_end();
    }

    fn finish(&mut self) {
        self.pool.pool.finish();
        self.await_end();
    }

    fn pause(&mut self) {
        self.pool.pool.pause();
    }

    fn resume(&mut self) {
        self.pool.pool.resume();
    }

    fn end(&mut self) {
        let pool = self.pool.pool.clone();
        pool.kill();
        let (sender, gone) = std::sync::mpsc::channel();
        let wait = move || {
            block_on(pool.ended());
            let _ = sender.send(());
        };
        if thread::Builder::new().name("end".into()).spawn(wait).is_ok() {
            let _ = gone.recv_timeout(KILL_PATIENCE);
        }
    }
}
