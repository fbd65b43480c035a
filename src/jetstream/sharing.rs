//! Jobs that wait at a machine go back into the queue if they would wait for long. Another machine may be idle.

use std::time::{Duration, Instant};

use super::held::{Held, HeldJob, HeldMessage, mark_of};
use super::work::WorkingMachine;
use crate::util::lock::lock;

/// A machine that has more jobs than slots looks at them this often.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Jobs wait no longer while no slot is done with its job.
const STUCK: Duration = Duration::from_millis(50);

/// The same of a machine that has done nothing yet: its workers may have to start.
const START: Duration = Duration::from_millis(250);

/// A bundle whose rest takes longer, in seconds, is split. That costs a message for each job.
const SLOW: f64 = 0.1;

/// A machine has this many seconds of work more than its slots run, where jobs are short.
const AHEAD: f64 = 0.01;

/// A machine asks for no more messages ahead.
const MOST_AHEAD: f64 = 64.0;

impl Held {
    /// How many more messages a machine may have than it has idle slots. It has none ahead while its jobs take
    /// longer than those before.
    pub(super) fn ahead(&self, slots: usize) -> usize {
        let Some((each, message)) = self.pace.each().zip(self.pace.each_message()) else { return 0 };
        let room = AHEAD - self.open as f64 * each;
        if room <= 0.0 || (self.open >= slots && self.moved_at.is_some_and(|at| at.elapsed() > LOOK))
        {
            return 0;
        }
        ((room / message.max(1e-9)).min(MOST_AHEAD) as usize).max(1)
    }

    /// Whether jobs wait, and have waited for too long.
    fn is_stuck(&self, slots: usize) -> bool {
        let patience = if self.pace.each().is_some() { STUCK } else { START };
        self.open > slots && self.moved_at.is_some_and(|at| at.elapsed() >= patience)
    }
}

/// Whether the rest of a bundle takes too long.
fn is_slow(held: &HeldMessage) -> bool {
    let done = held.jobs.len() - held.left;
    let each = held.age().as_secs_f64() / done.max(1) as f64;
    held.jobs.len() > 1 && done > 0 && held.age() >= LOOK && held.left as f64 * each > SLOW
}

impl WorkingMachine<'_> {
    /// Gives back jobs that wait, if they would wait for long.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        let slots = self.work.slots;
        let (is_stuck, slow) = {
            let held = lock(self.held);
            if held.open <= slots {
                return;
            }
            let slow = held.messages.iter().filter(|(_, held)| !held.is_split && is_slow(held));
            (held.is_stuck(slots), slow.map(|(&id, _)| id).collect::<Vec<u64>>())
        };
        self.look_at = Some(Instant::now() + LOOK);
        if is_stuck || !slow.is_empty() {
            self.share(|id| is_stuck || slow.contains(&id));
        }
    }

    /// Gives back the jobs of these messages that no slot has.
    fn share(&mut self, goes_back: impl Fn(u64) -> bool) {
        let (mut kept, mut changed) = (Vec::new(), Vec::new());
        for job in self.pool.recall(None, usize::MAX) {
            let Some(mark) = mark_of(&job) else { continue };
            if !goes_back(mark.0) {
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
