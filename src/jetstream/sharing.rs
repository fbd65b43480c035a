//! Jobs that wait at a machine go back into the queue if they would wait for long. Another machine may be idle.

use std::time::{Duration, Instant};

use super::held::{Held, HeldJob, HeldMessage, LOOK, mark_of};
use super::work::WorkingMachine;
use crate::util::lock::lock;

/// A job that has a message of its own waits no longer while no slot is done with its job.
const STUCK: Duration = Duration::from_millis(50);

/// The same of jobs that share a message, which costs more to share out, and of a machine that has done nothing yet:
/// its workers may have to start.
const LONG_STUCK: Duration = Duration::from_millis(250);

/// A bundle whose rest takes longer is split. That costs a message for each job.
const SLOW: Duration = Duration::from_millis(100);

/// How long its jobs take is known after this time. Before that, one job that had to wait for a CPU would decide.
const KNOWN: Duration = Duration::from_millis(50);

/// If jobs are short, a machine holds this many seconds of work besides the jobs that run.
const AHEAD: f64 = 0.01;

/// A machine asks for no more jobs ahead, unless one message has them.
const MOST_AHEAD: f64 = 64.0;

impl Held {
    /// How many more messages a machine may have than it has idle slots. It has none ahead while its jobs take
    /// longer than those before.
    pub(super) fn ahead(&self, slots: usize) -> usize {
        let Some((each, jobs)) = self.pace.each().zip(self.pace.jobs()) else { return 0 };
        let room = AHEAD - self.open as f64 * each;
        if room <= 0.0
            || (self.open >= slots && self.moved_at.is_some_and(|at| at.elapsed() > LOOK))
        {
            return 0;
        }
        ((room / each.max(1e-9)).min(MOST_AHEAD) / jobs).max(1.0) as usize
    }

    /// Whether the jobs of a message that wait have waited for too long.
    fn is_stuck(&self, message: &HeldMessage) -> bool {
        let is_cheap = message.jobs.len() == 1 && self.pace.each().is_some();
        let patience = if is_cheap { STUCK } else { LONG_STUCK };
        self.moved_at.is_some_and(|at| at.elapsed() >= patience)
    }
}

/// Whether the rest of a bundle takes too long. The time that its jobs wait for others does not count.
fn is_slow(held: &HeldMessage, slots: usize) -> bool {
    let done = held.jobs.len() - held.left;
    let time = held.time(slots);
    let rest = time.as_secs_f64() / done.max(1) as f64 * held.left as f64;
    held.jobs.len() > 1 && time >= KNOWN && rest > SLOW.as_secs_f64()
}

impl WorkingMachine<'_> {
    /// Gives back jobs that wait, if they would wait for long.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        let slots = self.work.slots;
        let late: Vec<u64> = {
            let held = lock(self.held);
            if held.open <= slots {
                return;
            }
            let late = held.messages.iter().filter(|(_, message)| {
                message.left > 0 && (held.is_stuck(message) || is_slow(message, slots))
            });
            late.map(|(&id, _)| id).collect()
        };
        self.look_at = Some(Instant::now() + LOOK);
        if !late.is_empty() {
            self.share(&late);
        }
    }

    /// Gives back the jobs of these messages that no slot has.
    fn share(&mut self, late: &[u64]) {
        let (mut kept, mut changed) = (Vec::new(), Vec::new());
        for job in self.pool.recall(None, usize::MAX) {
            let Some(mark) = mark_of(&job) else { continue };
            if !late.contains(&mark.0) {
                kept.push(job);
                continue;
            }
            let mut held = lock(self.held);
            if let Some(message) = held.close(mark, HeldJob::Returned) {
                message.is_split |= message.jobs.len() > 1;
                changed.push(mark.0);
            }
        }
        if !kept.is_empty() {
            self.feed(kept);
        }
        changed.dedup();
        changed.into_iter().for_each(|id| self.attend(id));
    }
}
