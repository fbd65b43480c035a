//! Reaping: a process is taken off the list of groups, its status is read, and the rest of its group is
//! killed or, after a command, left running.

use std::process::ExitStatus;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Signal, kill_process_group, test_kill_process_group};

use super::child::Process;
use super::groups::Groups;
use super::groups::Members;
use super::ladder::KILL_PATIENCE;
use super::poll;

/// The pause after the first look whether a group is gone; it doubles with each further look.
const FIRST_TICK: Duration = Duration::from_millis(1);

impl Process {
    /// Reaps the exited process and kills the rest of its group. `None`: it could not be killed, and is
    /// left running.
    ///
    /// The group is killed while the leader is a zombie and still holds the group's number: after
    /// that the number may be another's.
    pub(crate) fn reap(&mut self, groups: &Groups) -> Option<ExitStatus> {
        let members = groups.lock();
        let _ = kill_process_group(self.group, Signal::KILL);
        self.forget(members)
    }

    /// Reaps the exited process and leaves the rest of its group running. While all processes are being
    /// killed, it kills the rest as well. Returns the status and whether anything is left running. The
    /// group is never signalled again.
    pub(crate) fn release(&mut self, groups: &Groups) -> (Option<ExitStatus>, bool) {
        let members = groups.lock();
        let is_killed = groups.is_killing();
        if is_killed {
            let _ = kill_process_group(self.group, Signal::KILL);
        } else if members.is_paused() {
            // Nobody else would continue it.
            let _ = kill_process_group(self.group, Signal::CONT);
        }
        let status = self.forget(members);
        let is_left = !is_killed && test_kill_process_group(self.group) != Err(Errno::SRCH);
        (status, is_left)
    }

    /// Whether anything of a group that was released is still there after `time`.
    pub(crate) fn is_left_after(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut tick = FIRST_TICK;
        while test_kill_process_group(self.group) != Err(Errno::SRCH) {
            if Instant::now() >= end {
                return true;
            }
            poll::pause(tick);
            tick *= 2;
        }
        false
    }

    /// Takes the group off the list, and then reaps the leader: a group whose leader was reaped must
    /// not be signalled.
    fn forget(&mut self, mut members: MutexGuard<'_, Members>) -> Option<ExitStatus> {
        members.remove(self.group);
        self.is_over = true;
        let status = self.leader.try_wait().ok().flatten();
        drop(members);
        status.or_else(|| self.exit.status_of_traced(&mut self.leader))
    }
}

impl Drop for Process {
    /// Kills a process that nobody has stopped, such as after a panic of its thread. The process must leave
    /// the list of groups, since its number may soon be another's.
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process_group(self.group, Signal::KILL);
            let groups = self.groups.upgrade();
            self.await_death(KILL_PATIENCE, groups.as_deref());
            if let Some(groups) = groups {
                self.reap(&groups);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::start::Spec;
    use super::super::wake::Wake;
    use super::*;
    use std::ffi::OsString;
    use std::sync::Arc;

    /// As when the thread of a slot panics.
    #[test]
    fn a_process_that_is_dropped_is_killed_and_leaves_the_list() {
        let groups = Groups::new(false);
        let wake = Arc::new(Wake::new().expect("a wake"));
        let argv = ["sleep", "600"].map(OsString::from);
        let process = Process::start(&Spec::new(&argv, &wake), &groups).expect("a process");
        let group = process.group;
        assert_eq!(groups.count(), 1);
        drop(process);
        assert_eq!(groups.count(), 0);
        assert_eq!(test_kill_process_group(group), Err(Errno::SRCH));
    }
}
