//! The threads of other machines: one serves all slots of a machine, until the machine is quiet and the minder
//! serves it. Like the threads of slots, they survive a sink that panics.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::pool::background::STACK;
use crate::pool::shared::Shared;
use crate::pool::shared::hosts::Desk;
use crate::pool::shared::minder::{Minded, MindedEvents};
use crate::pool::slot::{HostEnd, HostSlot};
use crate::process::{Crowd, Wake};
use crate::util::clock::Moment;
use crate::util::lock::lock;

/// Calls a slot of another machine, and starts a thread if nobody serves the machine.
pub(super) fn start(shared: &Arc<Shared>, desk: &Arc<Desk>, index: usize) -> io::Result<()> {
    let wake = match desk.call(index, |wake| shared.queue.enter(index, wake)) {
        Ok(Some(wake)) => wake,
        Ok(None) => return Ok(()),
        Err(error) => {
            shared.queue.leave(index, || shared.renew());
            return Err(error);
        }
    };
    let served = ServedHost {
        shared: Arc::clone(shared),
        desk: Arc::clone(desk),
        index,
        wake,
        host: None,
        has_panicked: false,
        has_left: false,
    };
    Box::new(served).start().map_err(|(error, _)| error)
}

/// A machine, with what is to happen when nobody serves it any more.
struct ServedHost {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    index: usize,
    wake: Arc<Wake>,
    /// `None`: it begins, or begins anew after a panic.
    host: Option<Box<HostSlot>>,
    /// What was to take its outcomes has panicked.
    has_panicked: bool,
    /// Its slots have left.
    has_left: bool,
}

impl ServedHost {
    /// Serves it in a thread of its own.
    fn start(self: Box<Self>) -> Result<(), (io::Error, Box<Self>)> {
        let name = format!("host {}", self.desk.name);
        let builder = thread::Builder::new().name(name).stack_size(STACK);
        // A closure that can't be run is dropped, and the machine must not be.
        let place = Arc::new(Mutex::new(Some(self)));
        let taken = Arc::clone(&place);
        let run = move || {
            let served = lock(&taken).take();
            served.into_iter().for_each(|served| served.run());
        };
        let Err(error) = builder.spawn(run) else { return Ok(()) };
        let back = lock(&place).take();
        back.map_or(Ok(()), |served| Err((error, served)))
    }

    fn run(mut self: Box<Self>) {
        loop {
            let has_panicked = std::mem::take(&mut self.has_panicked);
            let host = self.host.take().filter(|_| !has_panicked);
            let (index, shared, desk) = (self.index, &self.shared, &self.desk);
            let run = || {
                let begin = || {
                    HostSlot::begin(
                        index,
                        Arc::clone(shared),
                        Arc::clone(desk),
                        Arc::clone(&self.wake),
                    )
                };
                host.unwrap_or_else(begin).run()
            };
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(HostEnd::Left) => {
                    // Another thread may serve the machine by now.
                    self.has_left = true;
                    return;
                }
                Ok(HostEnd::Quiet(host)) => {
                    self.host = Some(host);
                    let minder = self.shared.hosts.as_ref().and_then(|hosts| hosts.minder.clone());
                    let Some(minder) = minder else { continue };
                    match minder.take(self) {
                        Ok(()) => return,
                        Err(back) => self = back,
                    }
                }
                Err(_) => self.after_panic(),
            }
        }
    }

    fn after_panic(&self) {
        self.shared.queue.give_up_on(self.index);
        self.shared
            .watcher
            .output_lost("outcomes of jobs were lost, since what was to take them has panicked");
    }
}

impl Minded for ServedHost {
    fn join(&self, crowd: &Crowd, member: u64) -> io::Result<()> {
        self.host
            .as_ref()
            .map_or(Err(io::ErrorKind::NotConnected.into()), |host| host.join(crowd, member))
    }

    fn part(&self, crowd: &Crowd) {
        self.host.iter().for_each(|host| host.part(crowd));
    }

    fn now(&self) -> Moment {
        self.shared.now()
    }

    fn round(&mut self, events: MindedEvents) -> Option<Moment> {
        let host = self.host.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| host.round(events))) {
            Ok(due) => due,
            Err(_) => {
                self.after_panic();
                self.has_panicked = true;
                None
            }
        }
    }

    fn go_alone(self: Box<Self>) -> Result<(), Box<dyn Minded>> {
        self.start().map_err(|(_, back)| back as Box<dyn Minded>)
    }
}

/// Tells the queue that the slots have left if nobody serves them any more and they have not.
impl Drop for ServedHost {
    fn drop(&mut self) {
        if !self.has_left {
            self.desk.abandon(|index| self.shared.queue.leave(index, || self.shared.renew()));
        }
    }
}
