//! The queue between input and slots: bounded, filled from behind, and from the front with jobs
//! that come back. Slots pull; who is woken first has a warm worker.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::job::{Closed, Job};
use crate::process::Wake;
use crate::util::clock::Moment;

/// A feeder waits while so many jobs are queued, or 64 for each slot…
const MAX_JOBS: usize = 4096;
/// …or so many bytes of them.
const MAX_BYTES: usize = 4 << 20;

/// So many jobs, or bytes of them, wait at most to be tried again before a feeder waits for those.
const MAX_LATER: usize = 1 << 16;
const MAX_LATER_BYTES: usize = 16 << 20;

/// The queue, and who waits at it.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Feeders wait here for room.
    room: Condvar,
    /// Told whenever nothing is queued or running, and whenever the last slot has left.
    pub(crate) quiet: Notify,
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<Job>,
    /// How many jobs there are besides, since bundles are many.
    bundled: usize,
    /// Jobs that are to be tried again, not before their time.
    later: BinaryHeap<Later>,
    later_bytes: usize,
    /// How many calls were dropped since `later` was searched for their jobs.
    dropped: usize,
    bytes: usize,
    /// How many feeders wait for room.
    feeders: usize,
    /// Jobs that slots have taken and not given an account of yet.
    running: usize,
    phase: Phase,
    /// The run was ended: jobs that come back are not run any more.
    has_ended: bool,
    slots: Vec<Standing>,
    /// How many of the running jobs each slot has.
    held: Vec<usize>,
    /// How slots are woken that have a thread.
    wakes: Vec<Option<Arc<Wake>>>,
    /// Idle slots, those last that became idle last. An entry may be out of date: `slots` decides.
    idle_warm: Vec<usize>,
    idle_cold: Vec<usize>,
    /// How many slots stand as `Woken`…
    woken: usize,
    /// …and as `Busy`.
    busy: usize,
    /// How many slots are not `Absent`.
    present: usize,
    /// Workers that end in the background.
    retiring: usize,
    /// How often the last slot has left.
    epoch: u64,
}

/// How many jobs more than one this is.
fn bundled(job: &Job) -> usize {
    job.count() - 1
}

/// A job that is to be tried again at its time. In a heap the earliest stands first.
#[derive(Debug)]
struct Later {
    due: Moment,
    job: Job,
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.job.seq).cmp(&(self.due, self.job.seq))
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Later {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Jobs come and go.
    Open,
    /// No more jobs come, and slots leave when none is left. Where `reopens` is set, the queue is
    /// open again once the last of them has left.
    Closed { reopens: bool },
}

/// What a slot is doing, as the queue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has no thread.
    Absent,
    /// It works.
    Busy,
    /// It waits, with a worker or without one.
    Idle,
    /// It was woken for a job and has not come for it yet.
    Woken,
}

/// What a slot asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// It has a worker.
    pub(crate) warm: bool,
    /// It has jobs in flight, and could take more.
    pub(crate) busy: bool,
    /// How many jobs it has finished since it last asked.
    pub(crate) finished: usize,
    /// What time it is.
    pub(crate) now: Moment,
    /// How many jobs it can take at most…
    pub(crate) max: usize,
    /// …and about how many bytes of them.
    pub(crate) max_bytes: usize,
    /// So many are worth a trip, and done in next to no time.
    pub(crate) portion: usize,
}

/// What a slot is told that asks for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There they are.
    Jobs,
    /// There are none: wait until woken.
    Wait,
    /// There are none, and none will come.
    Leave,
}

impl Queue {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                later: BinaryHeap::new(),
                later_bytes: 0,
                dropped: 0,
                bundled: 0,
                bytes: 0,
                feeders: 0,
                running: 0,
                phase: Phase::Open,
                has_ended: false,
                slots: vec![Standing::Absent; slots],
                held: vec![0; slots],
                wakes: vec![None; slots],
                idle_warm: Vec::new(),
                idle_cold: Vec::new(),
                woken: 0,
                busy: 0,
                present: 0,
                retiring: 0,
                epoch: 0,
            }),
            room: Condvar::new(),
            quiet: Notify::new(),
        }
    }

    /// Queues all jobs of a batch, as soon as there is room, and returns the slots to be started.
    /// A batch is taken whole or, by a closed queue, not at all.
    pub(crate) fn push(&self, batch: &mut Vec<Job>, wait: bool) -> Result<Vec<usize>, Closed> {
        let mut state = self.lock();
        while wait && state.phase == Phase::Open && state.is_full() {
            state.feeders += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.feeders -= 1;
        }
        if state.phase != Phase::Open {
            return Err(Closed);
        }
        state.bytes += batch.iter().map(Job::size).sum::<usize>();
        state.bundled += batch.iter().map(bundled).sum::<usize>();
        state.jobs.extend(batch.drain(..));
        Ok(state.wake_for_jobs())
    }

    /// Puts jobs back to where they came from: they did not get their turn. An idle slot is woken
    /// for each, if there is one; no new one is started, since the caller will come back or
    /// [`Queue::call_others`]. If the run was ended they are returned: they will not be run.
    pub(crate) fn put_back(
        &self,
        from: usize,
        jobs: impl DoubleEndedIterator<Item = Job>,
    ) -> Vec<Job> {
        let mut state = self.lock();
        let mut left = Vec::new();
        for job in jobs.rev() {
            let count = job.count();
            state.running -= count;
            state.held[from] -= count;
            if state.has_ended {
                left.push(job);
                continue;
            }
            state.bytes += job.size();
            state.bundled += bundled(&job);
            state.jobs.push_front(job);
            for _ in 0..count {
                let Some(slot) = state.next_idle() else { break };
                state.wake(slot);
            }
        }
        left.reverse();
        left
    }

    /// Puts a job off that is to be tried again. The slot that does so is to come back and see when.
    ///
    /// # Errors
    /// The job: the run was ended.
    pub(crate) fn put_off(&self, from: usize, job: Job, due: Moment) -> Result<(), Box<Job>> {
        let mut state = self.lock();
        if state.has_ended {
            return Err(Box::new(job));
        }
        state.running -= 1;
        state.held[from] -= 1;
        state.later_bytes += job.size();
        state.later.push(Later { due, job });
        // One that is idle has time to look at the clock.
        if let Some(slot) = state.next_idle() {
            state.wake(slot);
        }
        Ok(())
    }

    /// Moves jobs to `into`, as `ask` says. Returns also when to come back if nothing else happens.
    pub(crate) fn take(&self, slot: usize, ask: Ask, into: &mut VecDeque<Job>) -> (Taken, Moment) {
        let mut state = self.lock();
        if !state.later.is_empty() {
            state.promote(ask.now);
        }
        let taken = self.take_from(&mut state, slot, ask, into);
        let due = state.later.peek().map_or(Moment::NEVER, |later| later.due);
        (taken, due)
    }

    fn take_from(
        &self,
        state: &mut State,
        slot: usize,
        ask: Ask,
        into: &mut VecDeque<Job>,
    ) -> Taken {
        state.running -= ask.finished;
        state.held[slot] -= ask.finished;
        if state.slots[slot] == Standing::Woken {
            state.woken -= 1;
            state.set_busy(slot);
        }
        if state.jobs.is_empty() {
            if state.running == 0 && state.later.is_empty() {
                self.quiet.notify_waiters();
            }
            return state.nothing_for(slot, ask);
        }
        if state.slots[slot] == Standing::Idle {
            state.set_busy(slot);
        }
        let count = state.share(ask);
        if count == 0 {
            return Taken::Wait;
        }
        let (mut bytes, mut taken) = (0, 0);
        while taken < count
            && let Some((job, size)) = state.next_job(count - taken)
        {
            bytes += size;
            taken += job.count();
            into.push_back(job);
            if bytes >= ask.max_bytes {
                break;
            }
        }
        state.bytes -= bytes;
        state.running += taken;
        state.held[slot] += taken;
        // A feeder is woken once there is room for a good many jobs, not for each.
        if state.feeders > 0
            && state.jobs.len() <= state.max_jobs() / 2
            && state.bytes <= MAX_BYTES / 2
            && !state.is_full()
        {
            self.room.notify_all();
        }
        Taken::Jobs
    }

    /// No more jobs come. Slots leave when the queue is empty.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed { reopens: false };
        self.room.notify_all();
        state.wake_all();
        self.one_has_left(state, || ());
    }

    /// No more jobs come, and those that no slot has taken are handed back. If the queue is to
    /// reopen, it does so when the last slot has left, and after `renew`. `begin` is called while
    /// nobody can come or go. Returns also how often the last slot had left before.
    pub(crate) fn end(
        &self,
        reopens: bool,
        begin: impl FnOnce(),
        renew: impl FnOnce(),
    ) -> (VecDeque<Job>, u64) {
        let mut state = self.lock();
        let epoch = state.epoch;
        begin();
        state.phase = Phase::Closed { reopens };
        state.has_ended = true;
        let jobs = state.remove_all();
        self.room.notify_all();
        state.wake_all();
        self.one_has_left(state, renew);
        (jobs, epoch)
    }

    /// Removes all jobs that no slot has taken.
    pub(crate) fn clear(&self) -> VecDeque<Job> {
        let mut state = self.lock();
        self.room.notify_all();
        if state.running == 0 {
            self.quiet.notify_waiters();
        }
        state.remove_all()
    }

    /// A slot begins: it can be woken from now on.
    pub(crate) fn enter(&self, slot: usize, wake: &Arc<Wake>) {
        self.lock().wakes[slot] = Some(Arc::clone(wake));
    }

    /// A slot has ended, or could not be started.
    pub(crate) fn leave(&self, slot: usize, renew: impl FnOnce()) {
        let mut state = self.lock();
        match state.slots[slot] {
            Standing::Woken => state.woken -= 1,
            Standing::Busy => state.busy -= 1,
            Standing::Idle | Standing::Absent => {}
        }
        state.slots[slot] = Standing::Absent;
        state.wakes[slot] = None;
        state.present -= 1;

        self.one_has_left(state, renew);
    }

    /// A slot has panicked, and gives no account of the jobs it had: they are not waited for.
    pub(crate) fn give_up_on(&self, slot: usize) {
        let mut state = self.lock();
        state.running -= std::mem::take(&mut state.held[slot]);
    }

    /// A slot has something else to do than to take a job: others are woken in its place. Returns
    /// those that are to be started.
    #[must_use]
    pub(crate) fn set_aside(&self, slot: usize) -> Vec<usize> {
        let mut state = self.lock();
        match state.slots[slot] {
            Standing::Idle => state.set_busy(slot),
            Standing::Woken => {
                state.woken -= 1;
                state.set_busy(slot);
            }
            Standing::Busy | Standing::Absent => {}
        }
        state.wake_for_jobs()
    }

    /// Whether no job is left, and more may come.
    pub(crate) fn may_get_jobs(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Open && state.jobs.is_empty()
    }

    /// Whether there may be jobs for another worker: for so many others are none left in the queue.
    pub(crate) fn has_more_than(&self, others: usize) -> bool {
        let state = self.lock();
        let is_open = state.phase == Phase::Open;
        is_open || state.queued() + state.later.len() > others
    }

    /// A worker is to end in the background; it counts as present until [`Queue::retired`].
    pub(crate) fn retiring(&self) {
        self.lock().retiring += 1;
    }

    /// Whether as many workers end in the background as there are slots.
    pub(crate) fn is_crowded(&self) -> bool {
        let state = self.lock();
        state.retiring >= state.slots.len()
    }

    /// A worker has ended in the background.
    pub(crate) fn retired(&self, renew: impl FnOnce()) {
        let mut state = self.lock();
        state.retiring -= 1;
        self.one_has_left(state, renew);
    }

    fn one_has_left(&self, mut state: MutexGuard<'_, State>, renew: impl FnOnce()) {
        if state.present + state.retiring == 0 {
            state.all_have_left(renew);
            self.quiet.notify_waiters();
        }
    }

    /// Interrupts all slots: something has changed that each must look at. Returns how many there are.
    pub(crate) fn wake_all(&self) -> usize {
        let state = self.lock();
        state.wake_all();
        state.wakes.iter().flatten().count()
    }

    /// Calls were dropped: their jobs are not tried again, and those that run are to be ended, by the
    /// slot that has them or, if that is not known, by any.
    pub(crate) fn calls_dropped(&self, slot: Option<usize>) {
        let mut state = self.lock();
        match slot {
            Some(slot) => {
                if let Some(Some(wake)) = state.wakes.get(slot) {
                    wake.notify();
                }
                state.dropped += 1;
            }
            None => {
                state.wake_all();
                state.dropped = usize::MAX;
            }
        }
        // To search for each call that is dropped would take long where many are.
        if state.dropped.saturating_mul(2) <= state.later.len() || !state.forget_dropped() {
            return;
        }
        self.room.notify_all();
        if state.later.is_empty() {
            if state.jobs.is_empty() && state.running == 0 {
                self.quiet.notify_waiters();
            }
            if state.phase != Phase::Open {
                // Those that waited for them only may leave.
                state.wake_all();
            }
        }
    }

    /// Whether no job is queued or running.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.lock();
        state.jobs.is_empty() && state.later.is_empty() && state.running == 0
    }

    /// How many slots and ending workers there are, and how often the last one has left.
    pub(crate) fn presence(&self) -> (usize, u64) {
        let state = self.lock();
        (state.present + state.retiring, state.epoch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.jobs.len() >= self.max_jobs()
            || self.bytes >= MAX_BYTES
            || self.later.len() >= MAX_LATER
            || self.later_bytes >= MAX_LATER_BYTES
    }

    /// How many jobs are queued, those in bundles counted.
    fn queued(&self) -> usize {
        self.jobs.len() + self.bundled
    }

    /// Takes the first job, or of a bundle no more than `most`. Returns also how much less memory is
    /// held: a job that was taken out of a bundle is smaller than what it was there.
    fn next_job(&mut self, most: usize) -> Option<(Job, usize)> {
        let front = self.jobs.front_mut()?;
        let (bundled_before, size_before) = (bundled(front), front.size());
        if front.count() <= most {
            self.bundled -= bundled_before;
            return Some((self.jobs.pop_front()?, size_before));
        }
        let job = front.split_off_first(most);
        self.bundled -= bundled_before - bundled(front);
        Some((job, size_before - front.size()))
    }

    /// Moves the jobs whose time has come to the head of the queue.
    fn promote(&mut self, now: Moment) {
        let mut count = 0;
        while self.later.peek().is_some_and(|later| later.due <= now)
            && let Some(later) = self.later.pop()
        {
            self.later_bytes -= later.job.size();
            self.bytes += later.job.size();
            self.jobs.push_front(later.job);
            count += 1;
        }
        // Whoever asks takes one.
        for _ in 1..count {
            if let Some(slot) = self.next_idle() {
                self.wake(slot);
            }
        }
        if count > 0 && self.phase != Phase::Open && self.later.is_empty() {
            // Those that waited for them only may leave.
            self.wake_all();
        }
    }

    /// Removes the jobs from those to be tried again that nobody waits for any more. Returns whether
    /// there were any.
    fn forget_dropped(&mut self) -> bool {
        let (before, mut bytes) = (self.later.len(), 0);
        self.later.retain(|later| {
            let is_wanted = !later.job.is_abandoned();
            bytes += if is_wanted { later.job.size() } else { 0 };
            is_wanted
        });
        (self.later_bytes, self.dropped) = (bytes, 0);
        self.later.len() < before
    }

    fn remove_all(&mut self) -> VecDeque<Job> {
        (self.bundled, self.bytes, self.later_bytes) = (0, 0, 0);
        let later = std::mem::take(&mut self.later).into_iter().map(|later| later.job);
        std::mem::take(&mut self.jobs).into_iter().chain(later).collect()
    }

    fn max_jobs(&self) -> usize {
        MAX_JOBS.max(self.slots.len() * 64)
    }

    /// How many jobs a slot gets. One that has none gets one; beyond that it gets only what no free
    /// slot is there for, and of that no more than leaves as much for the others: at the end of the
    /// input the portions grow small, and no job waits behind another while a worker is idle.
    fn share(&self, ask: Ask) -> usize {
        let first = usize::from(!ask.busy);
        if ask.max <= first {
            return first;
        }
        let free = self.slots.len() - self.busy;
        // A few are kept back for those that will be free soon; a portion is taken only if as much is
        // left for whoever has nothing to do, since it may be slower than those before it.
        let kept = free.max(8 * self.slots.len());
        let surplus = self.queued().saturating_sub(first + kept);
        if surplus < 2 * ask.portion {
            return first;
        }
        let fair = surplus.div_ceil(2 * self.slots.len()).max(ask.portion);
        first + fair.min(ask.max - first)
    }

    /// There is no job: the slot leaves, or is idle unless it has jobs in flight.
    fn nothing_for(&mut self, slot: usize, ask: Ask) -> Taken {
        if self.phase != Phase::Open && self.later.is_empty() {
            if self.slots[slot] == Standing::Idle {
                self.set_busy(slot);
            }
            return Taken::Leave;
        }
        if !ask.busy {
            // Its worker may have ended since it became idle.
            match self.slots[slot] {
                Standing::Idle => self.unlist(slot),
                _ => self.busy -= 1,
            }
            self.slots[slot] = Standing::Idle;
            match ask.warm {
                true => self.idle_warm.push(slot),
                false => self.idle_cold.push(slot),
            }
        }
        Taken::Wait
    }

    fn unlist(&mut self, slot: usize) {
        self.idle_warm.retain(|&idle| idle != slot);
        self.idle_cold.retain(|&idle| idle != slot);
    }

    fn set_busy(&mut self, slot: usize) {
        if self.slots[slot] == Standing::Idle {
            self.unlist(slot);
        }
        self.slots[slot] = Standing::Busy;
        self.busy += 1;
    }

    /// Wakes a slot for each job that nobody has been woken for: warm ones first, then idle ones
    /// without a worker; then new ones are to be started.
    fn wake_for_jobs(&mut self) -> Vec<usize> {
        let mut fresh = Vec::new();
        while self.queued() > self.woken {
            if let Some(slot) = self.next_idle() {
                self.wake(slot);
                continue;
            }
            let absent = match self.present < self.slots.len() {
                true => self.slots.iter().position(|slot| *slot == Standing::Absent),
                false => None,
            };
            let Some(slot) = absent else { break };
            self.slots[slot] = Standing::Woken;
            self.woken += 1;
            self.present += 1;
            fresh.push(slot);
        }
        fresh
    }

    fn wake_all(&self) {
        for wake in self.wakes.iter().flatten() {
            wake.notify();
        }
    }

    fn wake(&mut self, slot: usize) {
        self.slots[slot] = Standing::Woken;
        self.woken += 1;
        if let Some(wake) = &self.wakes[slot] {
            wake.notify();
        }
    }

    fn next_idle(&mut self) -> Option<usize> {
        let Self { slots, idle_warm, idle_cold, .. } = self;
        std::iter::from_fn(|| idle_warm.pop().or_else(|| idle_cold.pop()))
            .find(|&slot| slots[slot] == Standing::Idle)
    }

    fn all_have_left(&mut self, renew: impl FnOnce()) {
        self.epoch += 1;
        self.idle_warm.clear();
        self.idle_cold.clear();
        if self.phase == (Phase::Closed { reopens: true }) {
            renew();
            (self.phase, self.has_ended) = (Phase::Open, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASK: Ask = Ask {
        warm: true,
        busy: false,
        finished: 0,
        now: Moment::ZERO,
        max: 1,
        max_bytes: usize::MAX,
        portion: 1,
    };

    /// A job may fail, or come back, while the run is being ended.
    #[test]
    fn what_comes_back_after_the_end_is_not_kept() {
        let queue = Queue::new(1);
        let mut batch: Vec<Job> = (1..=2).map(|seq| Job::message(seq, b"a")).collect();
        assert_eq!(queue.push(&mut batch, true), Ok(vec![0]));
        let mut jobs = VecDeque::new();
        assert_eq!(queue.take(0, ASK, &mut jobs).0, Taken::Jobs);
        assert_eq!(queue.take(0, ASK, &mut jobs).0, Taken::Jobs);
        let (left, _) = queue.end(false, || (), || ());
        assert_eq!((left.len(), jobs.len()), (0, 2));
        let job = jobs.pop_front().expect("a job");
        let back = queue.put_off(0, job, Moment::NEVER).expect_err("it is over");
        assert_eq!(queue.put_back(0, jobs.into_iter()).len(), 1);
        let ask = Ask { finished: 1, ..ASK };
        assert_eq!(queue.take(0, ask, &mut VecDeque::new()), (Taken::Leave, Moment::NEVER));
        assert!(queue.is_quiet());
        assert_eq!(back.seq, 1);
    }

    #[test]
    fn a_slot_that_steps_aside_has_others_called() {
        let queue = Queue::new(3);
        let mut batch = vec![Job::message(1, b"a")];
        assert_eq!(queue.push(&mut batch, true), Ok(vec![0]));
        // It was woken for the job, and has no time for it.
        assert_eq!(queue.set_aside(0), [1]);
        assert!(queue.set_aside(0).is_empty());
    }

    #[test]
    fn jobs_that_wait_to_be_tried_again_leave_room() {
        let queue = Queue::new(1);
        let (mut jobs, mut batch) = (VecDeque::new(), Vec::new());
        for seq in 1..=2 * MAX_JOBS as u64 {
            batch.push(Job::message(seq, b"a"));
            queue.push(&mut batch, true).expect("it is open");
            assert_eq!(queue.take(0, ASK, &mut jobs).0, Taken::Jobs);
            let job = jobs.pop_front().expect("a job");
            queue.put_off(0, job, Moment::NEVER).expect("it is open");
        }
        let state = queue.lock();
        assert_eq!((state.bytes, state.later_bytes), (0, 2 * MAX_JOBS));
        assert!(!state.is_full());
    }

    proptest! {
        #[test]
        fn what_has_been_taken_is_counted_no_more(
            sizes in prop::collection::vec(1_usize..30, 1..20),
            takes in prop::collection::vec(1_usize..12, 1..60),
        ) {
            let queue = Queue::new(1);
            let (mut seq, mut batch) = (1, Vec::new());
            for count in sizes {
                let lines = "abc\n".repeat(count);
                batch.push(Job::of_lines(seq, lines.as_bytes(), count));
                seq += count as u64;
            }
            queue.push(&mut batch, true).expect("it is open");
            let (mut next, mut finished, mut jobs) = (1, 0, VecDeque::new());
            for &max in takes.iter().chain(std::iter::repeat(&1)) {
                let ask = Ask {
                    warm: true,
                    busy: false,
                    finished: std::mem::take(&mut finished),
                    now: Moment::NEVER,
                    max,
                    max_bytes: usize::MAX,
                    portion: 1,
                };
                if queue.take(0, ask, &mut jobs).0 != Taken::Jobs {
                    break;
                }
                for job in jobs.drain(..) {
                    prop_assert_eq!(job.seq, next);
                    next += job.count() as u64;
                    finished += job.count();
                }
            }
            let state = queue.lock();
            prop_assert_eq!(next, seq);
            prop_assert_eq!((state.bytes, state.bundled, state.running), (0, 0, 0));
        }
    }
}
