//! Sends the messages of a coordinator to an agent besides jobs: the end of the run, recalls, pings.

use std::time::{Duration, Instant};

use crate::link::to_agent::ToAgent;
use crate::pool::shared::stopping::StopOrder;
use crate::pool::slot::host::state::HostSlot;
use crate::process::Stop;

/// How often the latency is measured while jobs flow, and while none is sent ahead: then it matters little.
const PING_PAUSE: Duration = Duration::from_millis(100);
const SLOW_PING_PAUSE: Duration = Duration::from_secs(5);

impl HostSlot {
    /// Tells the agent that the run ends, and again if it ends sooner or by a stronger step.
    pub(super) fn pass_stop_on(&mut self) {
        let stopping = &self.slot.shared.stopping;
        if !stopping.has_begun() {
            return;
        }
        let order = StopOrder { at: stopping.at(), means: stopping.means() };
        if self.said.stop.is_some_and(|said| said.at <= order.at && said.means >= order.means) {
            return;
        }
        self.said.stop = Some(order);
        let after = order.at.until(self.slot.now());
        let means = if self.slot.shared.groups.is_killing() { Stop::Kill } else { order.means };
        self.desk.say(&ToAgent::Stop { after, means });
    }

    /// Sends the messages that are due: jobs, recalls, pings.
    pub(super) fn speak(&mut self) {
        self.slot.flush();
        let waiting = self.ledger.waiting();
        // What a free slot there is about to take need not be known to all.
        let hoard = waiting > 0 && self.ledger.unfinished() > self.capacity;
        if self.said.hoard != hoard {
            self.said.hoard = hoard;
            self.slot.shared.queue.set_hoarding(self.slot.index, self.said.hoard);
        }
        if waiting > 0 && !self.said.recall && self.said.stop.is_none() {
            let own = self.idle.len();
            let wanted = self.slot.shared.queue.wanted().saturating_sub(own);
            if wanted > 0 {
                self.said.recall = true;
                self.desk.say(&ToAgent::Recall(wanted as u64));
            }
        }
        self.cancel_dropped();
        self.ping();
        if let Some(voice) = &mut *self.desk.voice() {
            voice.flush();
        }
    }

    /// Ends the jobs of calls that were dropped.
    fn cancel_dropped(&mut self) {
        if self.said.calls.count == 0 {
            return;
        }
        for seq in self.ledger.abandoned() {
            if self.said.calls.cancelled.insert(seq) {
                self.desk.say(&ToAgent::Cancel(seq));
            }
        }
    }

    fn ping(&mut self) {
        let pause = if self.window.ahead() > 0 { PING_PAUSE } else { SLOW_PING_PAUSE };
        let is_due = self.said.ping.is_none_or(|last| last.elapsed() >= pause);
        if is_due && !self.said.pinged && self.ledger.unfinished() > 0 {
            let now = Instant::now();
            self.said.ping = Some(now);
            self.said.pinged = true;
            let stamp = now.duration_since(self.said.origin).as_micros();
            self.desk.say(&ToAgent::Ping(u64::try_from(stamp).unwrap_or_default().max(1)));
        }
    }

    /// A ping was answered.
    pub(super) fn pong(&mut self, stamp: u64) {
        self.said.pinged = false;
        let sent = self.said.origin + Duration::from_micros(stamp);
        self.window.learn_latency(sent.elapsed());
    }
}
