//! Keeps account of the messages that a coordinator has sent to an agent besides jobs, and of those that it waits for.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::pool::shared::stopping::StopOrder;
use crate::util::clock::Moment;

/// The messages over a connection so far.
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
    pub(super) ping: Option<Instant>,
    pub(super) pinged: bool,
    /// Pings are stamped with the time since this.
    pub(super) origin: Instant,
    /// When a job is to be tried again for which no other slot may be awake.
    pub(super) due: Moment,
    /// When it may be its turn to start a job.
    pub(super) turn_at: Moment,
    /// The numbers of results that are not proven, as this procpool knows them.
    pub(super) unproven: HashSet<u64>,
    /// The process that each of its slots has.
    pub(super) pids: HashMap<u64, u32>,
    pub(super) calls: SaidCalls,
    /// The numbers of an agent are added to this, so that all numbers differ.
    numbers: u64,
}

/// The jobs of calls that were sent.
#[derive(Debug, Default)]
pub(super) struct SaidCalls {
    pub(super) count: u64,
    /// Those that are not wanted any more, until they come back.
    pub(super) cancelled: HashSet<u64>,
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
            turn_at: Moment::NEVER,
            unproven: HashSet::new(),
            pids: HashMap::new(),
            calls: SaidCalls::default(),
            // Those of workers on this machine are smaller.
            numbers: (1 + AGENTS.fetch_add(1, Ordering::Relaxed)).wrapping_mul(NUMBERS_EACH),
        }
    }
}
