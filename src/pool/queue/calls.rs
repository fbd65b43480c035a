//! The calls that wait for a slot, in order: those that any slot may take, and those that have a slot of
//! their own. A call that is dropped leaves nothing here but its small record, and not for long.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::job::Job;
use crate::job::call::{self, OpenCall};
use crate::util::clock::Moment;

/// A search for calls that were dropped begins when there are more of them than this, and more than of
/// the others.
const FEW: usize = 16;

/// The calls that no slot has taken and that can run now.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls {
    any: VecDeque<Arc<OpenCall>>,
    /// Those with a slot of their own, by slot. It is empty until there is one.
    homed: Vec<VecDeque<Arc<OpenCall>>>,
    /// How many were not dropped.
    live: usize,
    /// How many were dropped, and are still in a list.
    dead: usize,
}

/// The jobs that have left the queue, and how many places in a queue with a bound they had.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) jobs: Vec<Job>,
    pub(crate) places: usize,
}

impl WaitingCalls {
    /// How many wait, without those that were dropped.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Whether none waits that this slot may take.
    pub(super) fn has_none_for(&self, slot: usize) -> bool {
        self.live == 0
            || (self.any.is_empty() && self.homed.get(slot).is_none_or(VecDeque::is_empty))
    }

    fn list(&mut self, call: &OpenCall, slots: usize) -> &mut VecDeque<Arc<OpenCall>> {
        let Some(home) = call.home.and_then(|home| usize::try_from(home).ok()) else {
            return &mut self.any;
        };
        if self.homed.is_empty() {
            self.homed.resize_with(slots, VecDeque::new);
        }
        self.homed.get_mut(home).unwrap_or(&mut self.any)
    }

    pub(super) fn append(&mut self, call: Arc<OpenCall>, slots: usize) {
        self.live += 1;
        self.list(&call, slots).push_back(call);
    }

    /// Puts a call at the head.
    pub(super) fn prepend(&mut self, call: Arc<OpenCall>, slots: usize) {
        self.live += 1;
        self.list(&call, slots).push_front(call);
    }

    /// Takes the job of the first call for a slot. Also whether it had a place in a queue with a bound.
    pub(super) fn take(&mut self, slot: usize) -> Option<(Job, bool)> {
        loop {
            let own = self.homed.get_mut(slot).and_then(VecDeque::pop_front);
            let call = own.or_else(|| self.any.pop_front())?;
            match call::start(call, slot) {
                Some(taken) => {
                    self.live -= 1;
                    return Some(taken);
                }
                None => self.dead -= 1,
            }
        }
    }

    /// A slot has no thread: its calls go to any other.
    pub(super) fn rehome(&mut self, slot: usize) {
        if let Some(own) = self.homed.get_mut(slot) {
            self.any.append(own);
        }
    }

    /// A call was dropped whose record is in a list.
    pub(super) fn one_dropped(&mut self) {
        self.live -= 1;
        self.dead += 1;
        if self.dead > FEW && self.dead > self.live {
            self.forget_dropped();
        }
    }

    /// Forgets all calls that nobody waits for. Returns whether there were any.
    pub(super) fn forget_dropped(&mut self) -> bool {
        let before = self.live + self.dead;
        for list in self.lists() {
            list.retain(|call| call.is_waiting());
            if list.len() < list.capacity() / 4 {
                list.shrink_to_fit();
            }
        }
        self.live = self.lists().map(|list| list.len()).sum();
        self.dead = 0;
        self.live < before
    }

    /// Removes the calls that have waited for as long as they may. Returns also when the next one will
    /// have.
    pub(super) fn expire(&mut self, now: Moment) -> (Left, Moment) {
        let mut left = Left::default();
        let mut next = Moment::NEVER;
        for list in self.lists() {
            list.retain(|call| {
                if call.expires > now {
                    next = next.min(call.expires);
                    return true;
                }
                match call::start(Arc::clone(call), usize::MAX) {
                    Some((job, has_place)) => {
                        left.jobs.push(job);
                        left.places += usize::from(has_place);
                        false
                    }
                    None => true,
                }
            });
        }
        self.live -= left.jobs.len();
        (left, next)
    }

    /// Removes all of them.
    pub(super) fn remove_all(&mut self) -> Left {
        let mut left = Left::default();
        for call in self.lists().flat_map(std::mem::take) {
            if let Some((job, has_place)) = call::start(call, usize::MAX) {
                left.jobs.push(job);
                left.places += usize::from(has_place);
            }
        }
        self.live = 0;
        self.dead = 0;
        left
    }

    fn lists(&mut self) -> impl Iterator<Item = &mut VecDeque<Arc<OpenCall>>> {
        std::iter::once(&mut self.any).chain(&mut self.homed)
    }
}
