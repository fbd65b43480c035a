//! Jobs that are shared out: to slots whose workers work on several at a time, and the jobs of a joint job.

use super::{Queue, QueueState};
use crate::job::Job;
use crate::pool::queue::ask::Ask;

impl Queue {
    /// Puts each job of a joint job back at the head of the queue, to be asked for alone.
    ///
    /// # Errors
    /// The run was ended. The error holds the joint job.
    pub(crate) fn split(&self, from: usize, joint: Job) -> Result<(), Box<Job>> {
        let mut state = self.lock();
        if state.has_ended {
            return Err(Box::new(joint));
        }
        state.release(from, 1);
        for job in joint.split_joint().into_iter().rev() {
            state.backlog.prepend(job);
            state.roster.wake_idle();
        }
        state.roster.interrupt_sharing();
        Ok(())
    }
}

impl QueueState {
    /// How many jobs the slots get whose workers work on several at a time: each as many as the others, but each free
    /// slot takes one first.
    pub(super) fn even_share(&self, ask: Ask) -> usize {
        let queued = self.backlog.queued();
        let each = (queued + self.running).div_ceil(self.roster.len());
        let more = each.saturating_mul(ask.shares).saturating_sub(self.roster.held(ask.holder));
        more.min(queued.saturating_sub(self.roster.free()))
    }
}
