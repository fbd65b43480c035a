//! What a coordinator has said to an agent, and says besides jobs: the end of the run, recalls, pings.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::link::to_agent::ToAgent;
use crate::pool::shared::stopping::StopOrder;
use crate::pool::slot::host::HostSlot;
use crate::process::Stop;
use crate::util::clock::Moment;

/// How often the latency is measured while jobs flow.
const PING_PAUSE: Duration = Duration::from_millis(100);

/// What was said over a connection.
#[derive(Debug)]
pub(super) struct Said {
    /// The names of args.
    pub(super) header: bool,
    /// The end of the run.
    pub(super) stop: Option<StopOrder>,
    /// Jobs were recalled, and have not come back.
    pub(super) recall: bool,
    /// The queue knows that the agent has jobs that it has not begun.
    pub(super) hoard: bool,
    /// When a ping was sent, and whether it was answered.
    ping: Option<Instant>,
    pinged: bool,
    /// Pings are stamped with the time since this.
    origin: Instant,
    /// When a job is to be tried again for which no other slot may be awake.
    pub(super) due: Moment,
    /// Its place among those who wait to start a job.
    pub(super) ticket: Option<u64>,
    /// When it may be its turn.
    pub(super) turn_at: Moment,
    /// The numbers of results that are not proven, as this procpool knows them.
    pub(super) unproven: HashSet<u64>,
    /// The numbers of an agent are added to this, so that all numbers differ.
    numbers: u64,
}

/// How many numbers are set aside for each agent.
const NUMBERS_EACH: u64 = 1 << 40;

/// How many agents there have been.
static AGENTS: AtomicU64 = AtomicU64::new(0);

impl Said {
    /// The number of results that are not proven yet, by the number that the agent has given them.
    pub(super) fn number_of(&mut self, number: u64) -> u64 {
        let number = self.numbers + number % NUMBERS_EACH;
        self.unproven.insert(number);
        number
    }
}

impl Default for Said {
    fn default() -> Self {
        Self {
            header: false,
            stop: None,
            recall: false,
            hoard: false,
            ping: None,
            pinged: false,
            origin: Instant::now(),
            due: Moment::NEVER,
            ticket: None,
            turn_at: Moment::NEVER,
            unproven: HashSet::new(),
            // Those of workers on this machine are smaller.
            numbers: (1 + AGENTS.fetch_add(1, Ordering::Relaxed)).wrapping_mul(NUMBERS_EACH),
        }
    }
}

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

    /// Says what is to be said now: jobs, recalls, pings.
    pub(super) fn speak(&mut self) {
        self.slot.flush();
        let waiting = self.ledger.waiting();
        if self.said.hoard != (waiting > 0) {
            self.said.hoard = waiting > 0;
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
        self.ping();
        if let Some(voice) = &mut *self.desk.voice() {
            voice.flush();
        }
    }

    fn ping(&mut self) {
        let is_due = self.said.ping.is_none_or(|last| last.elapsed() >= PING_PAUSE);
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
