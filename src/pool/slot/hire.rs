//! How a slot gets a worker: the spare takes the place of the one that is gone, or a fresh one is started.

use crate::job::Why;
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::process::Stop;
use crate::worker::{Duty, Worker};

impl WorkerSlot {
    /// Starts a worker before there is a job for it. If it does not start, the next job starts another.
    pub(super) fn prestart(&mut self) {
        if !self.slot.shared.stopping.has_begun() {
            self.slot.step_aside();
            self.worker = self.slot.start_worker();
            self.name_process();
        }
    }

    /// Gets a worker for the jobs in hand: the spare, or a fresh one. Returns whether there is one.
    pub(super) fn start(&mut self) -> bool {
        self.slot.flush();
        if self.slot.now() >= self.slot.shared.stopping.at() {
            // The run is over: no worker is needed any more.
            self.slot.drop_jobs();
            return false;
        }
        if let Some(spare) = self.spare.take(&self.slot) {
            self.take_on(spare);
        }
        if self.worker.is_none() {
            self.worker = self.slot.start_worker();
            self.name_process();
        }
        if let (Some(worker), Some(pace)) = (&mut self.worker, self.pace.take()) {
            worker.expect_pace(pace);
        }
        self.worker.is_some()
    }

    /// The spare is the worker from now on. If it has died another one is started, and no job fails.
    pub(super) fn take_on(&mut self, mut spare: Worker) {
        if spare.process.has_exited() {
            spare.set_why(Why::Died);
            self.slot.dismiss(spare, Stop::Kill);
        } else {
            // Until now it was waiting, not idle. What it used meanwhile concerns no job.
            spare.begin_turn(self.slot.now());
            let _ = spare.process.excess(&self.slot.shared.groups);
            if let Some(pace) = self.pace.take() {
                spare.expect_pace(pace);
            }
            spare.card.set_duty(Duty::Serving);
            self.worker = Some(spare);
            self.name_process();
        }
    }

    /// Says which process the slot has.
    fn name_process(&self) {
        if let Some(worker) = &self.worker {
            self.slot.shared.deliveries.process(self.slot.number(), worker.process.pid());
        }
    }
}
