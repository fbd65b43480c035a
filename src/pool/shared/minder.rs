//! The minder: one thread that serves all quiet machines where there are many. It rests between its rounds, so
//! that one wake-up serves the messages of several machines.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::pool::background::STACK;
use crate::process::{Crowd, CrowdEvent, Wake, pause};
use crate::util::clock::Moment;
use crate::util::lock::lock;

/// With fewer machines there is none: each machine has a thread of its own.
pub(crate) const MANY: usize = 16;

/// How long the minder rests for each machine that it serves, and at most. A message waits for as long.
const REST: Duration = Duration::from_micros(30);
const LONGEST_REST: Duration = Duration::from_millis(6);

/// A machine that could not have a thread of its own tries again after this time at the latest.
const STUCK_TICK: Duration = Duration::from_millis(100);

/// The number of the minder itself in its crowd.
const OWN: u64 = 0;

/// What a round of a machine is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MindedEvents {
    pub(crate) is_woken: bool,
    /// Its agent has said something.
    pub(crate) stdout: bool,
    pub(crate) other: bool,
}

/// A machine, as the minder sees it.
pub(crate) trait Minded: Send {
    /// Has the waits of a crowd end when anything happens to it.
    ///
    /// # Errors
    /// They can't.
    fn join(&self, crowd: &Crowd, member: u64) -> io::Result<()>;

    fn part(&self, crowd: &Crowd);

    fn now(&self) -> Moment;

    /// Serves it without waiting. Returns when it is to be served again if nothing happens; `None`: it needs a
    /// thread of its own.
    fn round(&mut self, events: MindedEvents) -> Option<Moment>;

    /// Goes on in a thread of its own.
    ///
    /// # Errors
    /// No thread could be started.
    fn go_alone(self: Box<Self>) -> Result<(), Box<dyn Minded>>;
}

/// Where the machines come to the minder. Its thread is there while it has any.
#[derive(Default)]
pub(crate) struct Minder {
    arrivals: Mutex<Arrivals>,
    /// What it waits for; `None`: the system has no room for it, or no such thing.
    wait: OnceLock<Option<MinderWait>>,
}

#[derive(Default)]
struct Arrivals {
    fresh: Vec<Box<dyn Minded>>,
    has_thread: bool,
}

struct MinderWait {
    crowd: Crowd,
    wake: Wake,
}

impl MinderWait {
    fn new() -> io::Result<Self> {
        let (crowd, wake) = (Crowd::new()?, Wake::new()?);
        crowd.add_wake(&wake, OWN)?;
        Ok(Self { crowd, wake })
    }
}

impl Minder {
    /// Whether the system has what it needs, as far as that is known.
    pub(crate) fn may_serve(&self) -> bool {
        self.wait.get().is_none_or(Option::is_some)
    }

    /// Serves a machine from now on.
    ///
    /// # Errors
    /// It can't. The error holds the machine.
    pub(crate) fn take<M: Minded + 'static>(
        self: &Arc<Self>,
        machine: Box<M>,
    ) -> Result<(), Box<M>> {
        let Some(wait) = self.wait.get_or_init(|| MinderWait::new().ok()) else {
            return Err(machine);
        };
        let mut arrivals = lock(&self.arrivals);
        if !arrivals.has_thread {
            let minder = Arc::clone(self);
            let builder = thread::Builder::new().name("hosts".into()).stack_size(STACK);
            if builder.spawn(move || minder.run()).is_err() {
                return Err(machine);
            }
            arrivals.has_thread = true;
        }
        arrivals.fresh.push(machine);
        drop(arrivals);
        wait.wake.notify();
        Ok(())
    }

    /// Serves the machines until there is none.
    fn run(&self) {
        let Some(Some(wait)) = self.wait.get() else { return };
        let mut rounds =
            Rounds { wait, members: HashMap::new(), stuck: Vec::new(), due: None, last: OWN };
        loop {
            let fresh = {
                let mut arrivals = lock(&self.arrivals);
                if arrivals.fresh.is_empty() && rounds.members.is_empty() && rounds.stuck.is_empty()
                {
                    arrivals.has_thread = false;
                    return;
                }
                std::mem::take(&mut arrivals.fresh)
            };
            fresh.into_iter().for_each(|machine| rounds.admit(machine));
            if !rounds.members.is_empty() || !rounds.stuck.is_empty() {
                rounds.turn();
            }
        }
    }
}

/// The machines that the minder's thread serves.
struct Rounds<'a> {
    wait: &'a MinderWait,
    members: HashMap<u64, MinderMember>,
    /// They need a thread of their own, and there is none.
    stuck: Vec<Box<dyn Minded>>,
    /// Before this, no member is due.
    due: Option<Moment>,
    /// The number of the last member that came.
    last: u64,
}

struct MinderMember {
    machine: Box<dyn Minded>,
    due: Moment,
}

impl Rounds<'_> {
    fn admit(&mut self, machine: Box<dyn Minded>) {
        self.last += 1;
        if machine.join(&self.wait.crowd, self.last).is_err() {
            return self.dismiss(machine);
        }
        self.members.insert(self.last, MinderMember { machine, due: Moment::NEVER });
        self.serve(self.last, MindedEvents::default());
    }

    fn dismiss(&mut self, machine: Box<dyn Minded>) {
        if let Err(machine) = machine.go_alone() {
            self.stuck.push(machine);
        }
    }

    /// Waits, serves those to which something has happened or that are due, and rests.
    fn turn(&mut self) {
        let mut events = Vec::new();
        self.wait.crowd.wait(self.longest_wait(), &mut events);
        std::mem::take(&mut self.stuck).into_iter().for_each(|machine| self.dismiss(machine));
        events.sort_unstable_by_key(|(member, _)| *member);
        for of_one in events.chunk_by(|(one, _), (other, _)| one == other) {
            match of_one[0].0 {
                OWN => self.wait.wake.clear(),
                member => self.serve(member, all_of(of_one)),
            }
        }
        self.serve_due();
        if !self.members.is_empty() {
            let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            pause(REST.saturating_mul(count).min(LONGEST_REST));
        }
    }

    fn serve(&mut self, number: u64, events: MindedEvents) {
        let Some(member) = self.members.get_mut(&number) else { return };
        if let Some(due) = member.machine.round(events) {
            member.due = due;
            self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
        } else if let Some(member) = self.members.remove(&number) {
            member.machine.part(&self.wait.crowd);
            self.dismiss(member.machine);
        }
    }

    fn now(&self) -> Option<Moment> {
        self.members.values().next().map(|member| member.machine.now())
    }

    fn longest_wait(&self) -> Option<Duration> {
        let due = self.due.zip(self.now()).and_then(|(due, now)| due.until(now));
        let stuck = (!self.stuck.is_empty()).then_some(STUCK_TICK);
        due.into_iter().chain(stuck).min()
    }

    /// Serves the members that are due.
    fn serve_due(&mut self) {
        let Some(now) = self.now().filter(|now| self.due.is_some_and(|due| due <= *now)) else {
            return;
        };
        let due = self.members.iter().filter(|(_, member)| member.due <= now);
        let due: Vec<u64> = due.map(|(number, _)| *number).collect();
        due.into_iter().for_each(|number| self.serve(number, MindedEvents::default()));
        self.due = self.members.values().map(|member| member.due).min();
    }
}

fn all_of(events: &[(u64, CrowdEvent)]) -> MindedEvents {
    let has = |wanted| events.iter().any(|(_, event)| *event == wanted);
    MindedEvents {
        is_woken: has(CrowdEvent::Woken),
        stdout: has(CrowdEvent::Stdout),
        other: has(CrowdEvent::Other),
    }
}

#[cfg(test)]
#[path = "minder/tests.rs"]
mod tests;
