//! The slots as the queue knows them: which are absent, idle, woken or busy, how many jobs each holds,
//! and which one is woken next. Idle slots with a warm worker are woken first.

use std::sync::Arc;

use crate::process::Wake;

/// All slots, and the workers that end in the background.
#[derive(Debug)]
pub(super) struct Roster {
    slots: Vec<Activity>,
    /// The slots from this one on take no jobs, and leave.
    limit: usize,
    /// No more slots than these are started for jobs.
    allowed: usize,
    /// How many of the running jobs each slot has.
    held: Vec<usize>,
    /// The wake of each slot that has a thread.
    wakes: Vec<Option<Arc<Wake>>>,
    /// Idle slots with a worker; the last one became idle last. An entry may be out of date: `slots`
    /// decides.
    idle_warm: Vec<usize>,
    /// Idle slots without a worker.
    idle_cold: Vec<usize>,
    /// Slots that are busy, had room for more jobs when they last asked, and have not asked since.
    roomy: Vec<usize>,
    /// Those of them whose workers work on several jobs at a time.
    sharing: Vec<usize>,
    /// How many slots are `Woken`.
    woken: usize,
    /// How many slots are `Busy`.
    busy: usize,
    /// How many slots are not `Absent`.
    present: usize,
    /// How many workers end in the background.
    retiring: usize,
    /// How often the last slot has left.
    epoch: u64,
}

/// The activity of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// The slot has no thread.
    Absent,
    /// The slot works.
    Busy,
    /// The slot waits for jobs.
    Idle,
    /// The slot was woken for a job, and has not come for it yet.
    Woken,
}

impl Roster {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots: vec![Activity::Absent; slots],
            limit: slots,
            allowed: usize::MAX,
            held: vec![0; slots],
            wakes: vec![None; slots],
            idle_warm: Vec::new(),
            idle_cold: Vec::new(),
            roomy: Vec::new(),
            sharing: Vec::new(),
            woken: 0,
            busy: 0,
            present: 0,
            retiring: 0,
            epoch: 0,
        }
    }

    /// How many slots may take jobs, with or without a thread.
    pub(super) fn len(&self) -> usize {
        self.limit
    }

    /// How many slots could take a job now or after they were started.
    pub(super) fn free(&self) -> usize {
        self.limit.saturating_sub(self.busy)
    }

    /// How many slots may take jobs soon: those that have a thread, and those that may be started.
    pub(super) fn expected(&self) -> usize {
        self.limit.min(self.allowed.max(self.present))
    }

    /// From now on, no more slots than these are started for jobs.
    pub(super) fn allow(&mut self, slots: usize) {
        self.allowed = slots;
    }

    /// Whether a slot could be started, and may not.
    pub(super) fn is_held_back(&self) -> bool {
        (self.allowed..self.limit).contains(&self.present)
    }

    /// Whether a slot takes no jobs, and leaves.
    pub(super) fn is_surplus(&self, slot: usize) -> bool {
        slot >= self.limit
    }

    /// From now on, only the first slots take jobs. The others leave as soon as they have none.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.slots.len());
        // They will not come for the jobs that they were woken for.
        for slot in self.limit..self.slots.len() {
            if self.slots[slot] == Activity::Woken {
                self.woken -= 1;
                self.set_busy(slot);
            }
        }
        self.notify_all();
    }

    /// How many slots could take a job, and were not woken for one.
    pub(super) fn unoccupied(&self) -> usize {
        self.free().saturating_sub(self.woken)
    }

    /// Adds slots without a thread. Returns the first of them.
    pub(super) fn grow(&mut self, count: usize) -> usize {
        let first = self.slots.len();
        self.slots.resize(first + count, Activity::Absent);
        self.limit = self.slots.len();
        self.held.resize(first + count, 0);
        self.wakes.resize(first + count, None);
        first
    }

    /// How many slots were woken and have not come yet.
    pub(super) fn woken(&self) -> usize {
        self.woken
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many slots have a thread, and how many workers end in the background.
    pub(super) fn present(&self) -> usize {
        self.present + self.retiring
    }

    // ---- Jobs

    /// A slot has taken jobs.
    pub(super) fn hold(&mut self, slot: usize, jobs: usize) {
        self.held[slot] += jobs;
    }

    /// How many of the running jobs a slot has.
    pub(super) fn held(&self, slot: usize) -> usize {
        self.held[slot]
    }

    /// A slot has finished jobs or given them back.
    pub(super) fn release(&mut self, slot: usize, jobs: usize) {
        self.held[slot] -= jobs;
    }

    /// A slot will not account for its jobs. Returns how many it had.
    pub(super) fn release_all(&mut self, slot: usize) -> usize {
        std::mem::take(&mut self.held[slot])
    }

    // ---- Activity

    /// A slot that was woken has come.
    pub(super) fn arrive(&mut self, slot: usize) {
        self.forget_room(slot);
        if self.slots[slot] == Activity::Woken {
            self.woken -= 1;
            self.set_busy(slot);
        }
    }

    /// A slot that was idle works.
    pub(super) fn stop_idling(&mut self, slot: usize) {
        if self.slots[slot] == Activity::Idle {
            self.set_busy(slot);
        }
    }

    fn set_busy(&mut self, slot: usize) {
        if self.slots[slot] == Activity::Idle {
            self.unlist(slot);
        }
        self.slots[slot] = Activity::Busy;
        self.busy += 1;
    }

    /// A slot has no job left. If it was idle before, its worker may have ended since.
    pub(super) fn set_idle(&mut self, slot: usize, is_warm: bool) {
        if self.slots[slot] == Activity::Idle {
            self.unlist(slot);
        } else {
            self.busy -= 1;
        }
        self.slots[slot] = Activity::Idle;
        let idle = if is_warm { &mut self.idle_warm } else { &mut self.idle_cold };
        idle.push(slot);
    }

    fn unlist(&mut self, slot: usize) {
        self.idle_warm.retain(|&idle| idle != slot);
        self.idle_cold.retain(|&idle| idle != slot);
    }

    // ---- Waking

    /// Wakes an idle slot: one with a worker if there is one. Returns whether there was any.
    pub(super) fn wake_idle(&mut self) -> bool {
        let Some(slot) = self.next_idle() else { return false };
        self.slots[slot] = Activity::Woken;
        self.woken += 1;
        self.notify(slot);
        true
    }

    fn next_idle(&mut self) -> Option<usize> {
        let Self { slots, idle_warm, idle_cold, limit, .. } = self;
        std::iter::from_fn(|| idle_warm.pop().or_else(|| idle_cold.pop()))
            .find(|&slot| slots[slot] == Activity::Idle && slot < *limit)
    }

    /// Whether a slot waits for jobs that it may take.
    pub(super) fn is_idle(&self, slot: usize) -> bool {
        self.slots[slot] == Activity::Idle && slot < self.limit
    }

    /// A slot that is busy has room for more jobs, and there are none. `shares`: its worker works on several at
    /// a time.
    pub(super) fn has_room(&mut self, slot: usize, shares: bool) {
        self.roomy.push(slot);
        if shares {
            self.sharing.push(slot);
        }
    }

    /// Whether a busy slot has room for more jobs, whose worker works on several at a time.
    #[cfg(feature = "nats")]
    pub(super) fn has_sharing_room(&self) -> bool {
        !self.sharing.is_empty()
    }

    fn forget_room(&mut self, slot: usize) {
        self.roomy.retain(|&roomy| roomy != slot);
        self.sharing.retain(|&sharing| sharing != slot);
    }

    /// Interrupts all busy slots that have room for more jobs and work on several at a time.
    pub(super) fn interrupt_sharing(&mut self) {
        for slot in std::mem::take(&mut self.sharing) {
            self.notify(slot);
        }
    }

    /// Interrupts a busy slot that has room for more jobs: the one with the fewest jobs. Returns whether there
    /// was any.
    pub(super) fn interrupt_roomy(&mut self) -> bool {
        let Some(&slot) = self.roomy.iter().min_by_key(|&&slot| self.held[slot]) else {
            return false;
        };
        self.roomy.retain(|&roomy| roomy != slot);
        self.notify(slot);
        true
    }

    /// Finds a slot without a thread. The caller starts it, and it comes for a job.
    pub(super) fn call_absent(&mut self) -> Option<usize> {
        if self.present >= self.slots.len().min(self.allowed) {
            return None;
        }
        let slots = &self.slots[..self.limit];
        let slot = slots.iter().position(|slot| *slot == Activity::Absent)?;
        self.slots[slot] = Activity::Woken;
        self.woken += 1;
        self.present += 1;
        Some(slot)
    }

    /// An idle slot gets a job, and is not interrupted. Returns whether it was idle.
    pub(super) fn claim(&mut self, slot: usize) -> bool {
        let is_idle = self.slots.get(slot) == Some(&Activity::Idle);
        if is_idle {
            self.unlist(slot);
            self.slots[slot] = Activity::Woken;
            self.woken += 1;
        }
        is_idle
    }

    /// Calls one slot: wakes it if it is idle. Returns it if it is to be started.
    pub(super) fn call(&mut self, slot: usize) -> Option<usize> {
        match self.slots.get(slot)? {
            Activity::Idle => {
                self.claim(slot);
                self.notify(slot);
                None
            }
            Activity::Absent => {
                self.slots[slot] = Activity::Woken;
                self.woken += 1;
                self.present += 1;
                Some(slot)
            }
            Activity::Busy | Activity::Woken => None,
        }
    }

    /// Interrupts a slot if it has a thread.
    pub(super) fn notify(&self, slot: usize) {
        if let Some(Some(wake)) = self.wakes.get(slot) {
            wake.notify();
        }
    }

    /// Interrupts all slots that wait for jobs.
    pub(super) fn notify_idle(&self) {
        let idle = self.idle_warm.iter().chain(&self.idle_cold);
        idle.filter(|&&slot| self.slots[slot] == Activity::Idle)
            .for_each(|&slot| self.notify(slot));
    }

    /// Interrupts all slots that have a thread. Returns how many there are.
    pub(super) fn notify_all(&self) -> usize {
        let mut count = 0;
        for wake in self.wakes.iter().flatten() {
            wake.notify();
            count += 1;
        }
        count
    }

    // ---- Coming and going

    /// A slot has a thread, which can be woken from now on.
    pub(super) fn enter(&mut self, slot: usize, wake: &Arc<Wake>) {
        self.wakes[slot] = Some(Arc::clone(wake));
    }

    /// The thread of a slot has ended, or could not be started.
    pub(super) fn leave(&mut self, slot: usize) {
        match self.slots[slot] {
            Activity::Woken => self.woken -= 1,
            Activity::Busy => self.busy -= 1,
            Activity::Idle | Activity::Absent => {}
        }
        self.slots[slot] = Activity::Absent;
        self.forget_room(slot);
        self.wakes[slot] = None;
        self.present -= 1;
    }

    /// A worker begins to end in the background.
    pub(super) fn retiring(&mut self) {
        self.retiring += 1;
    }

    /// A worker has ended in the background.
    pub(super) fn retired(&mut self) {
        self.retiring -= 1;
    }

    /// Whether as many workers end in the background as there are slots.
    pub(super) fn is_crowded(&self) -> bool {
        self.retiring >= self.slots.len()
    }

    /// The last slot has left.
    pub(super) fn all_have_left(&mut self) {
        self.epoch += 1;
        self.idle_warm.clear();
        self.idle_cold.clear();
    }
}
