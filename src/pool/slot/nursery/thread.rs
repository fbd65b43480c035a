//! The thread of the nursery: it takes the orders of slots, and has the parent fork their workers. It starts
//! another parent if there is none, and passes on what the parent prints.

use std::io;
use std::sync::Arc;
use std::thread;

use super::parent::{NoFork, Parent};
use crate::pool::background::{STACK, be_nice};
use crate::pool::shared::Shared;
use crate::pool::shared::nursery::{ForkOrder, NotStarted, NurseryDoor};
use crate::process::Stop;
use crate::util::clock::Moment;

/// Starts the thread. It ends when the door is closed.
pub(super) fn start(shared: &Arc<Shared>, door: &Arc<NurseryDoor>) -> io::Result<()> {
    let mut nursery = Nursery { shared: Arc::clone(shared), door: Arc::clone(door), parent: None };
    let run = move || {
        be_nice(nursery.shared.config.nice);
        nursery.run();
    };
    thread::Builder::new().name("nursery".into()).stack_size(STACK).spawn(run).map(drop)
}

struct Nursery {
    shared: Arc<Shared>,
    door: Arc<NurseryDoor>,
    parent: Option<Parent>,
}

impl Nursery {
    fn run(&mut self) {
        while !self.door.is_closed() {
            if let Some(order) = self.door.next() {
                self.serve(order);
            } else if self.door.takes_renewal() {
                self.renew();
            } else {
                self.rest();
            }
        }
    }

    /// Has a worker forked. If the parent turns out to be gone, another one is started, once.
    fn serve(&mut self, mut order: ForkOrder) {
        if !order.reply.is_wanted() {
            return;
        }
        let was_there = self.parent.is_some();
        if let Err(reason) = self.see_to_parent() {
            return self.refuse(order, reason);
        }
        let Some(parent) = &mut self.parent else { return };
        let again = order.spec.again();
        let result = match parent.fork(&self.shared, &self.door, order.spec) {
            Ok(process) => Ok(process),
            Err(NoFork::Io(error)) => Err(NotStarted::Io(error)),
            Err(NoFork::Closed) => Err(NotStarted::Unwanted),
            Err(NoFork::Useless(what)) => {
                let message = self.lose_parent(&what);
                if was_there {
                    self.note_loss(&message);
                    order.spec = again;
                    return self.serve(order);
                }
                Err(NotStarted::Parent(message))
            }
        };
        order.reply.give(result);
    }

    /// All that wait for the parent learn that it does not start.
    fn refuse(&self, order: ForkOrder, reason: NotStarted) {
        if let NotStarted::Parent(message) = &reason {
            while let Some(other) = self.door.next() {
                other.reply.give(Err(NotStarted::Parent(message.clone())));
            }
        }
        order.reply.give(Err(reason));
    }

    /// Sees to it that there is a parent that is not out of date.
    fn see_to_parent(&mut self) -> Result<(), NotStarted> {
        if self.parent.is_some() {
            self.renew();
        }
        if self.parent.is_none() {
            self.parent = Some(Parent::load(&self.shared, &self.door, None)?);
            self.tell_readiness();
        }
        Ok(())
    }

    /// Replaces the parent if it is out of date. If its replacement does not start, it goes on.
    fn renew(&mut self) {
        let renewals = &self.shared.spares.renewals;
        let is_old = |parent: &mut Parent| renewals.concerns(parent.born);
        let Some(old) = self.parent.as_mut().filter(|_| renewals.concerns(self.door.failed.load()))
        else {
            return;
        };
        if !is_old(old) {
            return;
        }
        let began = self.shared.now();
        match Parent::load(&self.shared, &self.door, Some(old)) {
            Ok(fresh) => {
                if let Some(old) = self.parent.replace(fresh) {
                    old.stop(&self.shared, Stop::Retire);
                }
                self.tell_readiness();
            }
            Err(reason) => {
                self.door.failed.store(began);
                if let NotStarted::Parent(message) = reason {
                    self.shared.watcher.note(&format!("the code was not loaded anew: {message}"));
                }
            }
        }
    }

    fn tell_readiness(&self) {
        let born = self.parent.as_ref().map_or(Moment::NEVER, |parent| parent.born);
        self.door.ready.store(born);
    }

    /// Waits for an order, or until the parent needs attention.
    fn rest(&mut self) {
        let Some(parent) = &mut self.parent else { return self.door.wake.wait(None) };
        if let Some(what) = parent.rest(&self.shared, &self.door) {
            let message = self.lose_parent(&what);
            self.note_loss(&message);
        }
    }

    /// The parent is of no use any more. Returns a sentence about it.
    fn lose_parent(&mut self, what: &str) -> String {
        let message = self.parent.take().map(|parent| parent.end(&self.shared, what));
        self.tell_readiness();
        message.unwrap_or_default()
    }

    fn note_loss(&self, message: &str) {
        let is_over = self.shared.groups.is_killing() || self.door.is_closed();
        if !is_over {
            let note = format!("{message}. The next worker comes from another one");
            self.shared.watcher.note(&note);
        }
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        if let Some(parent) = self.parent.take() {
            parent.stop(&self.shared, Stop::Retire);
        }
        if let Some(farewell) = self.door.close() {
            farewell();
        }
    }
}
