//! The pool as an agent or a server uses it: jobs come from other procpools, which take them back, drop them
//! and end them.

use std::time::Duration;

use crate::job::{Closed, Job};
use crate::pool::engine::RunEnd;
use crate::pool::handle::Pool;
use crate::pool::shared::stopping::StopOrder;
use crate::process::Stop;
use crate::util::clock::Moment;

impl Pool {
    /// As [`Pool::feed`], but does not wait for room: the caller knows how many jobs the pool has.
    pub(crate) fn feed_now(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        let slots = self.shared().queue.push(batch, false)?;
        self.shared().start_slots(slots);
        Ok(())
    }

    /// Has each slot look whether its jobs are still wanted.
    pub(crate) fn wake_slots(&self) {
        self.shared().queue.wake_all();
    }

    /// Takes back up to `most` jobs of a party that no slot has taken, those that came last. `None`: there is
    /// only one party.
    pub(crate) fn recall(&self, party: Option<u64>, most: usize) -> Vec<Job> {
        self.shared().queue.recall(party, most)
    }

    /// Whether a busy slot has room for more jobs, whose worker works on several at a time.
    #[cfg(feature = "nats")]
    pub(crate) fn has_sharing_room(&self) -> bool {
        self.shared().queue.has_sharing_room()
    }

    /// Begins no job of a party from now on, or does so again.
    pub(crate) fn set_held(&self, party: u64, is_held: bool) {
        let slots = self.shared().queue.set_held(party, is_held);
        self.shared().start_slots(slots);
    }

    /// How many jobs of a party wait, and how many bytes they have.
    pub(crate) fn waiting_of(&self, party: u64) -> (usize, usize) {
        self.shared().queue.waiting_of(party)
    }

    /// Whether a job waits for a slot. Those of parties that read no results do not count.
    pub(crate) fn has_ready_jobs(&self) -> bool {
        self.shared().queue.has_ready_jobs()
    }

    /// The longest reply of a worker, in bytes.
    pub(crate) fn max_reply(&self) -> usize {
        self.shared().config.worker.max_reply
    }

    /// A party is gone: its jobs that no slot has taken are dropped.
    pub(crate) fn forget_party(&self, party: u64) {
        drop(self.shared().queue.forget_party(party));
    }

    /// Ends the run: queued jobs are dropped, and running jobs are ended after this time by this step;
    /// `None`: they are left to end.
    pub(crate) fn end_after(&self, after: Option<Duration>, means: Stop) {
        let now = self.shared().now();
        let at = after.map_or(Moment::NEVER, |after| now.after(after));
        self.shared().groups.terminate_at(at);
        self.engine().end(StopOrder { at, means }, RunEnd::LAST);
    }

    /// How many jobs the workers work on at a time. `None`: none has said that it works on several.
    pub(crate) fn at_a_time(&self) -> Option<usize> {
        Some(self.shared().deliveries.at_a_time(true)).filter(|&jobs| jobs > 1)
    }

    /// Whether its jobs are commands.
    pub(crate) fn has_commands(&self) -> bool {
        self.shared().config.commands.is_some()
    }

    /// Replaces all workers, one after the other: each works until its replacement is ready.
    #[doc(hidden)]
    pub fn renew_workers(&self) {
        let shared = self.shared();
        shared.spares.renewals.begin(shared.now());
        self.wake_slots();
    }
}
