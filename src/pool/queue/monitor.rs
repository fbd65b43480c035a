//! The queue's one lock: feeders push jobs and wait for room, slots take jobs and wait for more. Each
//! change wakes those who wait for it.

mod elsewhere;
mod limit;
mod parties;
mod sharing;
mod steps;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use super::ask::{Ask, Taken};
use super::backlog::Backlog;
use super::calls::Left;
use super::loans::Loans;
use super::ramp::Ramp;
use super::roster::Roster;
use crate::job::call::OpenCall;
use crate::job::caller::DroppedStage;
use crate::job::{Closed, Job};
use crate::process::Wake;
use crate::util::clock::Moment;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    /// Feeders wait here for room.
    room: Condvar,
    /// Notified when no job is queued or running, and when the last slot has left.
    pub(crate) quiet: Notify,
    /// The places of calls in a queue with a bound that are free.
    places: Option<Semaphore>,
    /// The idle slots that callers may borrow.
    pub(crate) loans: Loans,
    /// Slots are held back until it is known how long jobs take.
    is_ramping: AtomicBool,
}

/// The part that the lock protects.
#[derive(Debug)]
struct QueueState {
    backlog: Backlog,
    roster: Roster,
    /// How many feeders wait for room.
    feeders: usize,
    /// Jobs that slots have taken and have not accounted for yet.
    running: usize,
    phase: Phase,
    /// The run was ended: a job that comes back is not run again.
    has_ended: bool,
    /// The holders of jobs that no slot of another machine has begun.
    hoarders: Vec<usize>,
    ramp: Ramp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Jobs come and go.
    Open,
    /// No more jobs come, and slots leave when no job is left.
    Closed {
        /// The queue opens again when the last slot has left.
        reopens: bool,
    },
}

impl Queue {
    /// `most_calls`: how many calls may wait.
    pub(crate) fn new(slots: usize, most_calls: Option<usize>) -> Self {
        Self {
            state: Mutex::new(QueueState {
                backlog: Backlog::new(slots),
                roster: Roster::new(slots),
                feeders: 0,
                running: 0,
                phase: Phase::Open,
                has_ended: false,
                hoarders: Vec::new(),
                ramp: Ramp::default(),
            }),
            room: Condvar::new(),
            quiet: Notify::new(),
            places: most_calls.map(|most| Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            loans: Loans::default(),
            is_ramping: AtomicBool::new(false),
        }
    }

    // ---- Jobs

    /// Queues all jobs of a batch when there is room, and returns the slots to be started. A closed
    /// queue takes no job of the batch.
    pub(crate) fn push(&self, batch: &mut Vec<Job>, wait: bool) -> Result<Vec<usize>, Closed> {
        let mut state = self.lock();
        while wait && state.is_open() && state.backlog.is_full() {
            state.feeders += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.feeders -= 1;
        }
        if !state.is_open() {
            return Err(Closed);
        }
        state.backlog.append(batch);
        Ok(state.wake_for_jobs())
    }

    /// Waits for a place for a call, where the queue has a bound. The place is taken until the call leaves
    /// the queue. Returns whether there is a bound.
    pub(crate) async fn await_place(&self) -> bool {
        match &self.places {
            Some(places) => {
                places.acquire().await.map(tokio::sync::SemaphorePermit::forget).is_ok()
            }
            None => false,
        }
    }

    /// Takes a place for a call, as [`Queue::await_place`]. `None`: there is no place free.
    pub(crate) fn try_place(&self) -> Option<bool> {
        match &self.places {
            Some(places) => {
                places.try_acquire().ok()?.forget();
                Some(true)
            }
            None => Some(false),
        }
    }

    /// Frees the places of calls that have left the queue. That may run code of those who wait for a
    /// place, so no lock is held.
    pub(crate) fn free_places(&self, count: usize) {
        if let (Some(places), 1..) = (&self.places, count) {
            places.add_permits(count);
        }
    }

    /// Queues a call, and returns the slots to be started.
    pub(crate) fn push_call(&self, call: &Arc<OpenCall>) -> Result<Vec<usize>, Closed> {
        let mut state = self.lock();
        if !state.is_open() {
            return Err(Closed);
        }
        state.backlog.append_call(Arc::clone(call));
        let home = call.home.and_then(|home| usize::try_from(home).ok());
        let mut fresh: Vec<usize> =
            home.and_then(|home| state.roster.call(home)).into_iter().collect();
        fresh.append(&mut state.wake_for_jobs());
        Ok(fresh)
    }

    /// Queues a call for an idle slot, which is not woken: its worker runs the call on the caller's thread.
    /// Returns whether the call is queued; `false`: the slot is not idle, or other jobs wait.
    pub(crate) fn push_call_to(&self, slot: usize, call: &Arc<OpenCall>) -> bool {
        let mut state = self.lock();
        let is_free = state.is_open() && state.backlog.is_empty() && state.roster.claim(slot);
        if is_free {
            state.backlog.append_call(Arc::clone(call));
        }
        is_free
    }

    /// Queues calls that any slot may take, and returns the slots to be started.
    pub(crate) fn push_calls(&self, calls: &[Arc<OpenCall>]) -> Result<Vec<usize>, Closed> {
        let mut state = self.lock();
        if !state.is_open() {
            return Err(Closed);
        }
        for call in calls {
            state.backlog.append_call(Arc::clone(call));
        }
        Ok(state.wake_for_jobs())
    }

    /// Puts jobs back at the head of the queue: they did not get their turn. Wakes an idle slot for
    /// each job if there is one. Starts no slot, since the caller comes back or calls
    /// [`Queue::set_aside`]. If the run was ended, returns the jobs: they will not be run.
    pub(crate) fn put_back(
        &self,
        from: usize,
        jobs: impl DoubleEndedIterator<Item = Job>,
    ) -> Vec<Job> {
        let mut state = self.lock();
        let mut left = Vec::new();
        for job in jobs.rev() {
            let count = job.count();
            state.release(from, count);
            if state.has_ended {
                left.push(job);
                continue;
            }
            state.backlog.prepend(job);
            for _ in 0..count {
                if !state.roster.wake_idle() {
                    break;
                }
            }
        }
        state.roster.interrupt_sharing();
        left.reverse();
        left
    }

    /// Puts off a job that is to be tried again. The slot that puts it off comes back and learns when
    /// the job is due.
    ///
    /// # Errors
    /// The run was ended. The error holds the job.
    pub(crate) fn put_off(&self, from: usize, job: Job, due: Moment) -> Result<(), Box<Job>> {
        let mut state = self.lock();
        if state.has_ended {
            return Err(Box::new(job));
        }
        state.release(from, 1);
        state.backlog.put_off(job, due);
        // An idle slot has time to watch the clock.
        state.roster.wake_idle();
        Ok(())
    }

    /// Moves jobs to `into`, as `ask` says. Also returns when to come back if nothing else happens.
    pub(crate) fn take(&self, slot: usize, ask: Ask, into: &mut VecDeque<Job>) -> (Taken, Moment) {
        let mut state = self.lock();
        if !state.backlog.has_none_later() {
            state.requeue_due(ask.now);
        }
        let (taken, places) = self.take_from(&mut state, slot, ask, into);
        let due = state.backlog.next_due();
        drop(state);
        self.free_places(places);
        (taken, due)
    }

    /// Returns also how many places in a queue with a bound the jobs had.
    fn take_from(
        &self,
        state: &mut QueueState,
        slot: usize,
        ask: Ask,
        into: &mut VecDeque<Job>,
    ) -> (Taken, usize) {
        state.release(ask.holder, ask.finished);
        state.roster.arrive(slot);
        if state.roster.is_surplus(slot) {
            return (state.nothing_for_surplus(slot, ask), 0);
        }
        if state.backlog.has_none_for(slot) {
            return (self.nothing_for(state, slot, ask), 0);
        }
        let count = state.portion_for(ask);
        if count == 0 {
            state.roster.stop_idling(slot);
            if ask.shares > 0 && ask.max > 0 {
                state.roster.has_room(slot, true);
            }
            return (Taken::Wait, 0);
        }
        let (taken, places) = state.backlog.take(slot, count, ask.max_bytes, into);
        if taken == 0 {
            // Only calls that were dropped were there, or those of other slots.
            return (self.nothing_for(state, slot, ask), 0);
        }
        state.roster.stop_idling(slot);
        state.running += taken;
        state.roster.hold(ask.holder, taken);
        if state.feeders > 0 && state.backlog.has_much_room() {
            self.room.notify_all();
        }
        (Taken::Jobs, places)
    }

    fn nothing_for(&self, state: &mut QueueState, slot: usize, ask: Ask) -> Taken {
        if state.is_quiet() {
            self.quiet.notify_waiters();
        }
        state.nothing_for(slot, ask)
    }

    /// Removes all jobs that no slot has taken.
    pub(crate) fn clear(&self) -> Vec<Job> {
        let mut state = self.lock();
        self.room.notify_all();
        let Left { jobs, places } = state.backlog.remove_all();
        if state.running == 0 {
            self.quiet.notify_waiters();
        }
        drop(state);
        self.free_places(places);
        jobs
    }

    /// A call was dropped. If it is queued it leaves the queue, and its memory is freed. If it runs, its
    /// slot learns of it.
    pub(crate) fn drop_call(&self, call: &OpenCall) {
        let mut state = self.lock();
        let dropped = call.abandon();
        let mut places = 0;
        match dropped.stage {
            DroppedStage::Over => {}
            DroppedStage::AtSlot(slot) => state.roster.notify(slot),
            DroppedStage::Queued { shelf, had_place } => {
                places = usize::from(had_place);
                state.backlog.call_dropped(shelf);
                self.calls_have_left(&state);
            }
        }
        drop(state);
        drop(dropped);
        self.free_places(places);
    }

    /// Many calls were dropped at once: those of a pipeline.
    pub(crate) fn forget_dropped(&self) {
        let mut state = self.lock();
        state.roster.notify_all();
        if state.backlog.forget_dropped() {
            self.calls_have_left(&state);
        }
    }

    fn calls_have_left(&self, state: &QueueState) {
        if state.is_quiet() {
            self.quiet.notify_waiters();
        }
        if state.backlog.has_none_later() {
            self.room.notify_all();
            state.let_leave();
        }
    }

    /// Removes the calls that have waited for as long as they may. Returns also when the next one will
    /// have.
    pub(crate) fn expire(&self, now: Moment) -> (Vec<Job>, Moment) {
        let mut state = self.lock();
        let (Left { jobs, places }, next) = state.backlog.expire(now);
        if state.is_quiet() {
            self.quiet.notify_waiters();
        }
        drop(state);
        self.free_places(places);
        (jobs, next)
    }

    /// Whether no job is queued, and more may come.
    pub(crate) fn may_get_jobs(&self) -> bool {
        let state = self.lock();
        state.is_open() && state.backlog.has_none_now()
    }

    /// Whether another worker may get a job when `others` workers get one each.
    pub(crate) fn has_more_than(&self, others: usize) -> bool {
        let state = self.lock();
        state.is_open() || state.backlog.waiting() > others
    }

    /// How many jobs can run now, how many are to be tried again, and how many slots have taken.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let state = self.lock();
        let queued = state.backlog.queued();
        (queued, state.backlog.waiting() - queued, state.running)
    }

    /// Calls the first slots, which have nothing to do yet. Returns those that are to be started.
    pub(crate) fn call_slots(&self, count: usize) -> Vec<usize> {
        let mut state = self.lock();
        (0..count).filter_map(|slot| state.roster.call(slot)).collect()
    }

    /// Whether no job is queued or running.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lock().is_quiet()
    }

    // ---- The end

    /// No more jobs come. Slots leave when the queue is empty.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed { reopens: false };
        self.room.notify_all();
        state.roster.notify_all();
        self.one_has_left(state, || ());
    }

    /// No more jobs come. Returns the jobs that no slot has taken, and how often the last slot had left
    /// before. If the queue is to reopen, it does so when the last slot has left, after `renew`. `begin`
    /// is called under the lock: no slot comes or leaves meanwhile.
    pub(crate) fn end(
        &self,
        reopens: bool,
        begin: impl FnOnce(),
        renew: impl FnOnce(),
    ) -> (Vec<Job>, u64) {
        let mut state = self.lock();
        let epoch = state.roster.epoch();
        begin();
        state.phase = Phase::Closed { reopens };
        state.has_ended = true;
        let Left { jobs, places } = state.backlog.remove_all();
        self.room.notify_all();
        state.roster.notify_all();
        self.one_has_left(state, renew);
        self.free_places(places);
        (jobs, epoch)
    }

    fn one_has_left(&self, mut state: MutexGuard<'_, QueueState>, renew: impl FnOnce()) {
        if state.roster.present() == 0 {
            state.all_have_left(renew);
            self.quiet.notify_waiters();
        }
    }

    // ---- Slots

    /// A slot begins: it can be woken from now on.
    pub(crate) fn enter(&self, slot: usize, wake: &Arc<Wake>) {
        self.lock().roster.enter(slot, wake);
    }

    /// A slot has ended, or could not be started.
    pub(crate) fn leave(&self, slot: usize, renew: impl FnOnce()) {
        let mut state = self.lock();
        state.roster.leave(slot);
        state.backlog.rehome(slot);
        self.one_has_left(state, renew);
    }

    /// A slot has panicked, and will not account for its jobs. They no longer count as running.
    pub(crate) fn give_up_on(&self, slot: usize) {
        let mut state = self.lock();
        state.running -= state.roster.release_all(slot);
    }

    /// A slot is busy with something else and takes no job: others are woken in its place. Returns the
    /// slots that are to be started.
    #[must_use]
    pub(crate) fn set_aside(&self, slot: usize) -> Vec<usize> {
        let mut state = self.lock();
        state.roster.arrive(slot);
        state.roster.stop_idling(slot);
        state.wake_for_jobs()
    }

    /// Interrupts all slots: something has changed that each must look at. Returns how many there are.
    pub(crate) fn wake_all(&self) -> usize {
        self.lock().roster.notify_all()
    }

    /// How many slots and ending workers there are, and how often the last one has left.
    pub(crate) fn presence(&self) -> (usize, u64) {
        let state = self.lock();
        (state.roster.present(), state.roster.epoch())
    }

    // ---- Workers that end in the background

    /// A worker begins to end in the background. It counts as present until [`Queue::retired`].
    pub(crate) fn retiring(&self) {
        self.lock().roster.retiring();
    }

    /// A worker has ended in the background.
    pub(crate) fn retired(&self, renew: impl FnOnce()) {
        let mut state = self.lock();
        state.roster.retired();
        self.one_has_left(state, renew);
    }

    /// Whether as many workers end in the background as there are slots.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().roster.is_crowded()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    fn is_quiet(&self) -> bool {
        self.running == 0 && self.backlog.is_empty()
    }

    /// A slot has finished jobs or given them back.
    fn release(&mut self, slot: usize, jobs: usize) {
        self.running -= jobs;
        self.ramp.count(jobs);
        self.roster.release(slot, jobs);
    }

    /// Moves the jobs that are due to the head of the queue. The caller takes one; slots are woken for
    /// the others.
    fn requeue_due(&mut self, now: Moment) {
        let count = self.backlog.requeue_due(now);
        for _ in 1..count {
            self.roster.wake_idle();
        }
        if count > 0 {
            self.let_leave();
        }
    }

    /// Interrupts all slots if no job comes or is tried again any more: then they may leave.
    fn let_leave(&self) {
        if self.is_over() {
            self.roster.notify_all();
        }
    }

    /// Whether no job comes, is tried again or may come back any more.
    fn is_over(&self) -> bool {
        !self.is_open() && self.backlog.has_none_later() && self.hoarders.is_empty()
    }

    /// How many jobs a slot gets. A slot without jobs gets one. It gets more only if no free slot could
    /// take them, and only if as many are left for the others. So the portions become small at the end
    /// of the input, and no job waits for another one while a worker is idle.
    fn portion_for(&self, ask: Ask) -> usize {
        let first = usize::from(!ask.busy);
        if ask.max <= first {
            return first;
        }
        let slots = self.roster.expected();
        if ask.shares > 0 {
            return self.even_share(ask).clamp(first, ask.max);
        }
        let calls = self.backlog.calls();
        if calls > 0 && self.roster.unoccupied() == 0 {
            // Somebody waits for each of them, and a worker with room may run several at a time.
            return calls.div_ceil(slots).clamp(first, ask.max);
        }
        // A few jobs are kept for the slots that will be free soon.
        let kept = self.roster.free().min(slots).max(8 * slots);
        let surplus = self.backlog.queued().saturating_sub(first + kept);
        // A portion may take longer than those before it. It is taken only if another one is left.
        if surplus < 2 * ask.portion {
            return first;
        }
        let fair = surplus.div_ceil(2 * slots).max(ask.portion);
        first + fair.min(ask.max - first)
    }

    /// There is no job: the slot leaves, or is idle unless it has jobs in flight.
    fn nothing_for(&mut self, slot: usize, ask: Ask) -> Taken {
        if self.is_over() {
            self.roster.stop_idling(slot);
            return Taken::Leave;
        }
        if ask.busy && ask.max > 0 {
            self.roster.has_room(slot, ask.shares > 0);
        } else if !ask.busy {
            self.roster.set_idle(slot, ask.warm);
            // They may have jobs to give back.
            self.hoarders.iter().for_each(|&hoarder| self.roster.notify(hoarder));
        }
        Taken::Wait
    }

    /// Wakes a slot for each job that no slot was woken for: first warm ones, then idle ones without a
    /// worker. Returns the slots that are to be started for the jobs that are left.
    fn wake_for_jobs(&mut self) -> Vec<usize> {
        let mut fresh = Vec::new();
        while self.backlog.queued() > self.roster.woken() {
            if self.roster.wake_idle() {
                continue;
            }
            let Some(slot) = self.call_absent() else { break };
            fresh.push(slot);
        }
        if self.backlog.calls() > self.roster.woken() {
            self.roster.interrupt_roomy();
        } else if self.backlog.queued() > self.roster.woken() {
            self.roster.interrupt_sharing();
        }
        fresh
    }

    fn all_have_left(&mut self, renew: impl FnOnce()) {
        self.roster.all_have_left();
        if self.phase == (Phase::Closed { reopens: true }) {
            renew();
            self.phase = Phase::Open;
            self.has_ended = false;
        }
    }
}

#[cfg(test)]
mod tests;
