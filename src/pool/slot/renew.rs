//! Replacing a worker that is out of date: it works until its replacement has had the time to start, and one
//! slot does this at a time.

use std::time::Duration;

use crate::job::Why;
use crate::pool::slot::worker_slot::WorkerSlot;
use crate::process::Stop;
use crate::util::clock::Moment;

/// A replacement that is being warmed up is looked at this often.
const WARMING_TICK: Duration = Duration::from_millis(10);

/// While a replacement starts, it is looked at this often.
const LOOK_TICK: Duration = Duration::from_millis(100);

/// A replacement whose time to start is not known has this long to show that it does not end at once.
const SHORTEST_START: Duration = Duration::from_millis(20);

impl WorkerSlot {
    /// Whether the worker is out of date, or the slot has the turn to replace one.
    pub(super) fn is_renewing(&self) -> bool {
        let renewals = &self.slot.shared.spares.renewals;
        self.renewal.due != Moment::NEVER
            || self.worker.as_ref().is_some_and(|worker| renewals.concerns(worker.born()))
    }

    /// Takes a step towards the replacement of a worker that is out of date.
    pub(super) fn renew(&mut self) {
        let shared = &*self.slot.shared;
        let is_over = shared.stopping.has_begun();
        let old = self.worker.as_ref().filter(|worker| {
            !is_over && shared.spares.renewals.concerns(worker.born()) && !self.has_given_up()
        });
        if old.is_none() {
            return self.end_renewal();
        }
        if !shared.spares.renewals.take_turn(self.slot.index) {
            // Whoever has the turn wakes all slots when it is over.
            return;
        }
        self.renewal.due = shared.now().after(WARMING_TICK);
        self.replace();
    }

    fn has_given_up(&self) -> bool {
        !self.slot.shared.spares.renewals.concerns(self.renewal.given_up)
    }

    /// Starts the replacement, waits for it, or hands over to it.
    fn replace(&mut self) {
        self.spare.receive(&self.slot);
        if let Some(born) = self.spare.ready().map(|spare| spare.born()) {
            if self.slot.shared.spares.renewals.concerns(born) {
                // It was started for another reason, before that moment.
                if let Some(spare) = self.spare.take_ready() {
                    self.slot.dismiss(spare, Stop::Retire);
                }
                return;
            }
            return self.hand_over_to_spare(born);
        }
        if self.spare.is_warming() {
            return;
        }
        match self.slot.renew_nursery() {
            Ok(true) => {}
            Ok(false) => return,
            Err(()) => return self.keep_old("its code can't be loaded"),
        }
        if self.spare.has_failed() || !self.spare.start_now(&mut self.slot) {
            self.keep_old("it could not be started, or did not warm up");
        }
    }

    fn hand_over_to_spare(&mut self, born: Moment) {
        let shared = &*self.slot.shared;
        let now = shared.now();
        let has_ended = self.spare.ready().is_some_and(|spare| spare.process.has_exited());
        if has_ended {
            if let Some(mut spare) = self.spare.take_ready() {
                spare.set_why(Why::Died);
                let words = spare.process.last_stderr();
                self.slot.dismiss(spare, Stop::Kill);
                let words = words.lines().last().map(|line| format!(": {line}"));
                self.keep_old(&format!("it has ended{}", words.unwrap_or_default()));
            }
            return;
        }
        let is_warm = !shared.config.worker.init.is_empty();
        let needed = shared.estimates.start_time().max(SHORTEST_START);
        let ready_at = if is_warm { born } else { born.after(needed) };
        if now < ready_at {
            self.renewal.due = ready_at.min(now.after(LOOK_TICK));
            return;
        }
        let Some(worker) = &mut self.worker else { return };
        worker.spend_for(Why::Renewed);
        if worker.flights.is_empty() {
            self.retire();
            self.end_renewal();
        }
    }

    /// The worker stays, since its replacement is of no use.
    fn keep_old(&mut self, why: &str) {
        let number = self.slot.number();
        self.slot.shared.watcher.note(&format!(
            "the worker in slot {number} was not replaced, and goes on: the new one is of no use: {why}"
        ));
        self.renewal.given_up = self.slot.now();
        self.end_renewal();
    }

    /// The next slot has its turn.
    pub(super) fn end_renewal(&mut self) {
        self.renewal.due = Moment::NEVER;
        if self.slot.shared.spares.renewals.end_turn(self.slot.index) {
            self.slot.shared.queue.wake_all();
        }
    }
}
