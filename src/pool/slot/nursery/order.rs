//! A slot orders a worker that is forked, and waits for it.

use std::io;
use std::sync::Arc;

use super::pass::NurseryPass;
use crate::pool::shared::nursery::{ExpectedFork, NotStarted, NurseryDoor};
use crate::pool::slot::start::Birth;
use crate::pool::slot::steps::{OVER_TICK, Slot};
use crate::process::{ForkSpec, Process};
use crate::util::clock::Moment;
use crate::worker::Worker;

/// A worker that is ordered ahead, while the slot goes on with its own.
pub(in crate::pool::slot) struct OrderedWorker {
    expected: ExpectedFork,
    birth: Birth,
}

impl Slot {
    /// Has a worker forked, and waits for it. That takes some milliseconds, or as long as the setup takes.
    pub(in crate::pool::slot) fn fork_worker(
        &mut self,
        spec: ForkSpec,
    ) -> Result<Process, NotStarted> {
        let expected = self.door()?.order(spec);
        self.await_fork(&expected)
    }

    /// Orders a worker. The slot is woken when it is there.
    pub(in crate::pool::slot) fn order_worker(&mut self) -> Result<OrderedWorker, NotStarted> {
        let birth = self.next_birth();
        let spec = self.fork_spec()?;
        let expected = self.door()?.order(spec);
        Ok(OrderedWorker { expected, birth })
    }

    /// The worker that was ordered, once it is there.
    pub(in crate::pool::slot) fn receive_worker(
        &self,
        ordered: &OrderedWorker,
    ) -> Option<Result<Worker, NotStarted>> {
        let result = ordered.expected.take()?;
        Some(result.map(|process| self.enter(process, ordered.birth)))
    }

    /// Waits for the worker that was ordered.
    pub(in crate::pool::slot) fn await_worker(
        &self,
        ordered: &OrderedWorker,
    ) -> Result<Worker, NotStarted> {
        let process = self.await_fork(&ordered.expected)?;
        Ok(self.enter(process, ordered.birth))
    }

    fn await_fork(&self, expected: &ExpectedFork) -> Result<Process, NotStarted> {
        loop {
            let result = expected.take();
            if self.shared.stopping.has_begun() {
                return result.unwrap_or(Err(NotStarted::Unwanted));
            }
            match result {
                // Only a thread that has panicked forgets an order. The jobs must not be lost.
                Some(Err(NotStarted::Unwanted)) => {
                    let why = "the thread that has workers forked has ended";
                    return Err(NotStarted::Parent(why.into()));
                }
                Some(result) => return result,
                None => {}
            }
            self.wake.wait(Some(OVER_TICK));
        }
    }

    /// Whether a worker can be started without a long wait.
    pub(in crate::pool::slot) fn starts_soon(&self) -> bool {
        let renewals = &self.shared.spares.renewals;
        let is_ready = |pass: &NurseryPass| {
            let (ready, failed) = (pass.door.ready.load(), pass.door.failed.load());
            ready != Moment::NEVER && (!renewals.concerns(ready) || !renewals.concerns(failed))
        };
        !self.shared.config.worker.preload || self.nursery.as_ref().is_some_and(is_ready)
    }

    /// Whether the process that forks workers is as new as workers must be. If it is not, it is being replaced.
    /// The error says that this has failed.
    pub(in crate::pool::slot) fn renew_nursery(&mut self) -> Result<bool, ()> {
        if !self.shared.config.worker.preload {
            return Ok(true);
        }
        let shared = Arc::clone(&self.shared);
        let renewals = &shared.spares.renewals;
        let door = self.door().map_err(drop)?;
        let ready = door.ready.load();
        if ready != Moment::NEVER && !renewals.concerns(ready) {
            return Ok(true);
        }
        if !renewals.concerns(door.failed.load()) {
            return Err(());
        }
        door.ask_for_renewal();
        Ok(false)
    }

    fn door(&mut self) -> io::Result<&NurseryDoor> {
        let pass = match self.nursery.take() {
            Some(pass) if !pass.door.is_closed() => pass,
            _ => NurseryPass::new(&self.shared)?,
        };
        Ok(&self.nursery.insert(pass).door)
    }
}
