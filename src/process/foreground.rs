//! The terminal of this process, lent to the group of a job: the group is in the foreground then, so Ctrl-C
//! and Ctrl-Z go to it. The terminal comes back with the modes that it had before.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, getpgrp, kill_process_group};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

/// The terminal of this process, for the group of one job.
#[derive(Debug)]
pub(crate) struct Foreground {
    device: OwnedFd,
    /// The group of the job. Before there is one, it is that of this process.
    group: Pid,
    /// The modes before the job got the terminal.
    before: Termios,
    /// The modes that the job had set when the terminal was taken from it.
    of_job: Option<Termios>,
}

impl Foreground {
    /// Opens the terminal. No job has it yet.
    ///
    /// # Errors
    /// This process has no terminal.
    pub(super) fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device = open("/dev/tty", flags, Mode::empty())?;
        let before = tcgetattr(&device)?;
        Ok(Self { device, group: getpgrp(), before, of_job: None })
    }

    /// The terminal is for this group from now on.
    pub(super) fn is_for(&mut self, group: Pid) {
        self.group = group;
    }

    /// Gives the terminal to the group, if it is this process's to give. Returns whether the group has it.
    pub(super) fn lend(&mut self) -> bool {
        match tcgetpgrp(&self.device) {
            Ok(owner) if owner == self.group => return true,
            Ok(owner) if owner == getpgrp() => {}
            // The shell has it: this process is in the background.
            _ => return false,
        }
        if let Some(modes) = self.of_job.take() {
            let _ = quietly(|| tcsetattr(&self.device, OptionalActions::Now, &modes));
        }
        quietly(|| tcsetpgrp(&self.device, self.group)).is_ok()
    }

    /// Takes the terminal back, if the group has it, and restores its modes.
    pub(super) fn take_back(&mut self) {
        if tcgetpgrp(&self.device) != Ok(self.group) {
            return;
        }
        self.of_job = tcgetattr(&self.device).ok();
        let _ = quietly(|| {
            tcsetpgrp(&self.device, getpgrp())?;
            // `Now` does not wait for output, so a terminal that is held (Ctrl-S) holds up nothing.
            tcsetattr(&self.device, OptionalActions::Now, &self.before)
        });
    }
}

/// Stops the group of this process, as Ctrl-Z would. A handler of this process decides about itself.
pub(crate) fn stop_own_group() {
    let _ = kill_process_group(getpgrp(), Signal::TSTP);
}

/// Changes the terminal while another group may have it. The system would send TTOU to this process, unless the
/// thread blocks that signal.
fn quietly<T>(change: impl FnOnce() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    #[cfg(feature = "unstable-engine")]
    {
        use nix::sys::signal::{SigSet, SigmaskHow, Signal};
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTTOU);
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let result = change();
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
        result
    }
    #[cfg(not(feature = "unstable-engine"))]
    change()
}
