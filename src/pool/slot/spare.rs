//! The spare: a worker that is started early, to replace the present one when that has served its time.
//! This file decides when the spare is started, and whether there is a job for it.

use std::sync::Arc;
use std::time::Duration;

use crate::pool::shared::Shared;
use crate::pool::shared::spares::SparePermit;
use crate::pool::slot::nursery::order::OrderedWorker;
use crate::pool::slot::steps::Slot;
use crate::pool::slot::warm_up::Warming;
use crate::util::clock::Moment;
use crate::worker::{Duty, Worker};

/// While the queue is empty, a spare is started only after this long. Meanwhile the reader of the input
/// may find more jobs, or the end of the input.
const INPUT_PATIENCE: Duration = Duration::from_millis(50);

/// The place for a spare.
#[derive(Default)]
pub(super) struct SparePlace {
    spare: Option<Spare>,
    /// No spare is started for the present worker: it could not be started, or there is no job for it.
    is_given_up: bool,
    /// It is not started yet, since the input may be at its end.
    awaits_input: bool,
}

/// A worker that was started early.
struct Spare {
    state: SpareState,
    _permit: SparePermit,
}

enum SpareState {
    /// It is being forked.
    Ordered(OrderedWorker),
    Ready(Box<Worker>),
    /// Another thread warms it up.
    Warming(Warming),
    /// It could not be started.
    Failed,
}

impl SpareState {
    /// The state of a worker whose process was just started.
    fn of(worker: Worker, shared: &Arc<Shared>) -> Self {
        worker.card.set_duty(Duty::Spare);
        if shared.config.worker.init.is_empty() {
            return Self::Ready(Box::new(worker));
        }
        Warming::start(worker, shared).map_or(Self::Failed, Self::Warming)
    }
}

impl SparePlace {
    /// The spare, if it is ready.
    pub(super) fn ready(&self) -> Option<&Worker> {
        match &self.spare.as_ref()?.state {
            SpareState::Ready(worker) => Some(worker),
            _ => None,
        }
    }

    pub(super) fn ready_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.spare.as_mut()?.state {
            SpareState::Ready(worker) => Some(worker),
            _ => None,
        }
    }

    /// Whether the spare is being started or warmed up.
    pub(super) fn is_warming(&self) -> bool {
        self.spare.as_ref().is_some_and(|spare| match &spare.state {
            SpareState::Ordered(_) => true,
            SpareState::Ready(_) | SpareState::Failed => false,
            SpareState::Warming(warming) => !warming.is_over(),
        })
    }

    /// Receives a spare that was ordered, if it is there.
    pub(super) fn receive(&mut self, slot: &Slot) {
        let Some(Spare { state, .. }) = &mut self.spare else { return };
        let SpareState::Ordered(ordered) = state else { return };
        let Some(result) = slot.receive_worker(ordered) else { return };
        // A failure is reported when a worker is needed.
        *state = result.map_or(SpareState::Failed, |worker| SpareState::of(worker, &slot.shared));
    }

    /// Whether the spare was warmed up in vain. A spare that is fit is ready from now on.
    pub(super) fn has_failed(&mut self) -> bool {
        let Some(Spare { state, _permit: permit }) = self.spare.take() else { return false };
        let worker = match state {
            SpareState::Ready(worker) => Some(*worker),
            SpareState::Warming(warming) => warming.finish(),
            SpareState::Ordered(_) | SpareState::Failed => None,
        };
        let has_failed = worker.is_none();
        self.spare = worker
            .map(|worker| Spare { state: SpareState::Ready(Box::new(worker)), _permit: permit });
        has_failed
    }

    /// Starts the spare, whether or not a job is left for it. Returns whether it was started.
    pub(super) fn start_now(&mut self, slot: &mut Slot) -> bool {
        if self.spare.is_none() {
            self.spare = spawn_spare(slot, slot.shared.spares.always());
        }
        self.spare.is_some()
    }

    /// Takes the spare if it is ready.
    pub(super) fn take_ready(&mut self) -> Option<Worker> {
        let is_ready = |spare: &mut Spare| matches!(spare.state, SpareState::Ready(_));
        match self.spare.take_if(is_ready)?.state {
            SpareState::Ready(worker) => Some(*worker),
            _ => None,
        }
    }

    /// Takes the spare, and waits until it is ready.
    pub(super) fn take(&mut self, slot: &Slot) -> Option<Worker> {
        let Spare { state, _permit: permit } = self.spare.take()?;
        let state = match state {
            SpareState::Ordered(ordered) => {
                SpareState::of(slot.await_worker(&ordered).ok()?, &slot.shared)
            }
            state => state,
        };
        let worker = match state {
            SpareState::Ready(worker) => Some(*worker),
            SpareState::Warming(warming) => warming.finish(),
            SpareState::Ordered(_) | SpareState::Failed => None,
        };
        drop(permit);
        worker
    }

    /// Takes the spare if it is ready; otherwise it is ended.
    pub(super) fn abandon(&mut self) -> Option<Worker> {
        match self.spare.take()?.state {
            SpareState::Ready(worker) => Some(*worker),
            SpareState::Warming(warming) => warming.abandon(),
            SpareState::Ordered(_) | SpareState::Failed => None,
        }
    }

    /// When the spare is to be started: so early that it is ready when the present worker has served
    /// its time.
    pub(super) fn due(&self, shared: &Shared, worker: &Worker) -> Moment {
        if !shared.config.recycling.foresees_ends() {
            return Moment::NEVER;
        }
        let is_wanted = self.spare.is_none() && !self.is_given_up && !worker.flights.is_empty();
        if !is_wanted || shared.config.recycling.standby == 0 || shared.stopping.has_begun() {
            return Moment::NEVER;
        }
        let estimates = &shared.estimates;
        let due =
            worker.expected_end(&shared.config, estimates.pace()).before(estimates.start_time());
        if self.awaits_input { due.max(worker.turn_began.after(INPUT_PATIENCE)) } else { due }
    }

    /// Starts the spare if it is time for that.
    pub(super) fn prepare(&mut self, slot: &mut Slot, worker: &Worker) {
        self.receive(slot);
        let due = self.due(&slot.shared, worker);
        if due == Moment::NEVER {
            return;
        }
        let now = slot.now();
        if now < due {
            return;
        }
        let is_early = now < worker.turn_began.after(INPUT_PATIENCE);
        let shared = &*slot.shared;
        // Only a sink's input has an end to wait for. Callers may queue jobs forever.
        if is_early && shared.deliveries.sink().is_some() && shared.queue.may_get_jobs() {
            self.awaits_input = true;
            return;
        }
        self.start(slot, worker);
    }

    /// The present worker has served its time: a spare that waited for more input is started now.
    pub(super) fn stop_waiting_for_input(&mut self, slot: &mut Slot, worker: &Worker) {
        if self.awaits_input {
            self.start(slot, worker);
        }
    }

    /// The present worker is gone. The next one may have a spare.
    pub(super) fn allow_next(&mut self) {
        self.is_given_up = false;
        self.spare.take_if(|spare| matches!(spare.state, SpareState::Failed));
    }

    /// Starts the spare if a job may be left for it.
    fn start(&mut self, slot: &mut Slot, worker: &Worker) {
        self.awaits_input = false;
        let Some(permit) = slot.shared.spares.permit() else { return };
        self.spare = start_spare(slot, worker, permit);
        self.is_given_up = self.spare.is_none();
    }
}

/// Starts a spare if a job may be left for it. If it can't be started now, that is reported when a
/// worker is needed.
fn start_spare(slot: &mut Slot, worker: &Worker, permit: SparePermit) -> Option<Spare> {
    let shared = &slot.shared;
    // The present worker takes the jobs that it may have, and each of the other spares at least one.
    let left = worker.left(&shared.config);
    let others = shared.spares.count() - 1;
    if !shared.queue.has_more_than(left.saturating_add(others)) {
        return None;
    }
    spawn_spare(slot, permit)
}

fn spawn_spare(slot: &mut Slot, permit: SparePermit) -> Option<Spare> {
    // The slot has a worker that it must look after.
    if !slot.starts_soon() {
        return None;
    }
    let state = if slot.shared.config.worker.preload {
        SpareState::Ordered(slot.order_worker().ok()?)
    } else {
        SpareState::of(slot.spawn_worker().ok()?, &slot.shared)
    };
    (!matches!(state, SpareState::Failed)).then_some(Spare { state, _permit: permit })
}
