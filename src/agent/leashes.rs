//! The jobs of calls at an agent: each is on a leash, which the coordinator cuts when nobody waits for the
//! job any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::outbox::LinkOutbox;
use crate::job::call::FIRST_CALL;
use crate::job::{Job, Leash};
use crate::link::from_agent::FromAgent;

/// The leashes of the jobs that are here.
#[derive(Debug, Default)]
pub(super) struct Leashes {
    by_seq: HashMap<u64, Weak<JobLeash>>,
    /// With as many entries, those of jobs that are gone are removed.
    full: usize,
}

#[derive(Debug)]
struct JobLeash {
    seq: u64,
    is_cut: AtomicBool,
    outbox: Arc<LinkOutbox>,
}

impl Leash for JobLeash {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }
}

impl Drop for JobLeash {
    /// The job is gone. A coordinator that has its outcome has no use for this.
    fn drop(&mut self) {
        self.outbox.say(&FromAgent::Returned { seq: self.seq, count: 1 });
    }
}

impl Leashes {
    /// Puts a job on a leash if it is the job of a call.
    pub(super) fn put_on(&mut self, mut job: Job, outbox: &Arc<LinkOutbox>) -> Job {
        let seq = job.seq;
        if seq < FIRST_CALL {
            return job;
        }
        let outbox = Arc::clone(outbox);
        let leash = Arc::new(JobLeash { seq, is_cut: AtomicBool::new(false), outbox });
        if self.by_seq.len() >= self.full {
            self.by_seq.retain(|_, leash| leash.strong_count() > 0);
            self.full = 64.max(2 * self.by_seq.len());
        }
        self.by_seq.insert(seq, Arc::downgrade(&leash));
        job.leash = Some(Box::new(leash));
        job
    }

    /// Cuts the leash of a job. Returns whether the job is here.
    pub(super) fn cut(&mut self, seq: u64) -> bool {
        let leash = self.by_seq.remove(&seq).and_then(|leash| leash.upgrade());
        if let Some(leash) = &leash {
            leash.is_cut.store(true, Ordering::Release);
        }
        leash.is_some()
    }
}
