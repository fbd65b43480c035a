//! The CPUs of a slot: a process that is started for it, and all that this process starts, run on them.

use std::io;

/// The part of the CPUs that a slot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuShare {
    /// The slot, from 0.
    pub(crate) slot: usize,
    /// How many slots there are.
    pub(crate) slots: usize,
}

impl CpuShare {
    /// The share of this slot of `count` CPUs, by their places. If there are more slots than CPUs, several
    /// slots have the same one.
    #[cfg(any(target_os = "linux", test))]
    fn of(self, count: usize) -> std::ops::Range<usize> {
        let slots = self.slots.max(1);
        let slot = self.slot % slots;
        if slots > count {
            let at = slot % count.max(1);
            return at..at + 1;
        }
        slot * count / slots..(slot + 1) * count / slots
    }

    /// Calls `start` on the CPUs of the slot, so that a process that it starts has them from its first
    /// moment. Then this thread has its own CPUs again.
    #[cfg(target_os = "linux")]
    pub(super) fn during<T>(self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        use rustix::thread::{sched_getaffinity, sched_setaffinity};

        let before = sched_getaffinity(None)?;
        sched_setaffinity(None, &self.among(&before))?;
        let started = start();
        sched_setaffinity(None, &before)?;
        started
    }

    /// The CPUs of the slot among those of this thread.
    #[cfg(target_os = "linux")]
    fn among(self, all: &rustix::thread::CpuSet) -> rustix::thread::CpuSet {
        use rustix::thread::CpuSet;

        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect();
        let mut own = CpuSet::new();
        for &cpu in cpus.get(self.of(cpus.len())).unwrap_or_default() {
            own.set(cpu);
        }
        own
    }

    /// Gives the CPUs of the slot to a process that has one thread so far.
    #[cfg(target_os = "linux")]
    pub(super) fn give_to(self, pid: rustix::process::Pid) -> io::Result<()> {
        use rustix::thread::{sched_getaffinity, sched_setaffinity};

        let all = sched_getaffinity(None)?;
        Ok(sched_setaffinity(Some(pid), &self.among(&all))?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn give_to(self, _: rustix::process::Pid) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn during<T>(self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_its_own_if_there_are_enough() {
        let shares = |slots, count| {
            (0..slots).map(|slot| CpuShare { slot, slots }.of(count)).collect::<Vec<_>>()
        };
        assert_eq!(shares(2, 8), [0..4, 4..8]);
        assert_eq!(shares(3, 8), [0..2, 2..5, 5..8]);
        assert_eq!(shares(4, 4), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(shares(3, 2), [0..1, 1..2, 0..1]);
        // A slot of another pool.
        assert_eq!(CpuShare { slot: 5, slots: 4 }.of(4), 1..2);
    }
}
