//! The exit of a process: how it is noticed without reaping, the status of a traced zombie, and
//! how an exit is described in messages.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::leader::Leader;
use super::poll;
use super::signal::signal_name;
use super::stat::Stat;

/// Where no descriptor shows an exit, a wait looks for it this often.
pub(super) const EXIT_TICK: Duration = Duration::from_millis(50);

/// A process that has exited and is traced can't be reaped before its tracer has noticed the exit.
/// The tracer has this long.
const TRACER_PATIENCE: Duration = Duration::from_secs(1);

/// The pause after the first try to reap a traced process; it doubles with each further try.
const TRACER_TICK: Duration = Duration::from_millis(1);

/// Notices the exit of a process. It does not reap the process.
#[derive(Debug)]
pub(super) struct ExitWatch {
    pid: Pid,
    /// Becomes readable when the process exits. `None`: the system has no such descriptor.
    descriptor: Option<OwnedFd>,
}

impl ExitWatch {
    pub(super) fn new(pid: Pid) -> Self {
        Self { pid, descriptor: descriptor(pid) }
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Whether the process is a zombie. The descriptor decides, if there is one, as in all waits: a tracer
    /// hides a zombie from `waitid`.
    pub(super) fn has_exited(&self) -> bool {
        if let Some(exit) = &self.descriptor {
            return matches!(
                poll::poll(&mut [poll::readable(exit)], Some(Duration::ZERO)),
                Ok(1..)
            );
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Waits for the exit for at most `time`, or a little longer.
    pub(super) fn wait(&self, time: Option<Duration>) {
        match &self.descriptor {
            Some(exit) => {
                let _ = poll::poll(&mut [poll::readable(exit)], time);
            }
            None => poll::pause(EXIT_TICK),
        }
    }

    /// Whether the process exits within `time`; `false` where no descriptor shows that.
    pub(super) fn comes_within(&self, time: Duration) -> bool {
        let Some(exit) = &self.descriptor else { return false };
        matches!(poll::poll(&mut [poll::readable(exit)], Some(time)), Ok(1..))
    }

    /// The status of a process that has exited and could not be reaped, since it is traced.
    pub(super) fn status_of_traced(&self, leader: &mut Leader) -> Option<ExitStatus> {
        let end = Instant::now() + TRACER_PATIENCE;
        let mut tick = TRACER_TICK;
        while self.has_exited() && Instant::now() < end {
            poll::pause(tick);
            match leader.try_wait() {
                Ok(None) => {}
                Ok(status) => return status,
                Err(_) => return None,
            }
            tick = (2 * tick).min(EXIT_TICK);
        }
        if self.has_exited() { Stat::of(self.pid)?.exit_status() } else { None }
    }
}

#[cfg(target_os = "linux")]
fn descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn descriptor(_: Pid) -> Option<OwnedFd> {
    None
}

/// Says how a process ended, as a phrase after its name. `None`: it could not be killed.
pub(crate) fn describe(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "could not be killed and is left running".into();
    };
    match status.code() {
        Some(code) => format!("exited with status {code}"),
        None => format!("was {}", end_by_signal(status)),
    }
}

/// As [`describe`], of a process that has exited. `None`: somebody else has its status.
pub(crate) fn describe_exited(status: Option<ExitStatus>) -> String {
    match status {
        Some(_) => describe(status),
        None => {
            "has exited, and its status can't be told: this process ignores SIGCHLD or another \
                 part of it waits for all children"
                .to_owned()
        }
    }
}

/// Says how a command ended, by itself.
pub(crate) fn end_of_command(status: Option<ExitStatus>) -> String {
    match status.and_then(|status| status.code()) {
        Some(code) => format!("exit status {code}"),
        None => status.map_or_else(|| describe(None), end_by_signal),
    }
}

fn end_by_signal(status: ExitStatus) -> String {
    let Some(number) = status.signal() else { return format!("ended ({status})") };
    let name = signal_name(number).unwrap_or("an unnamed signal");
    let core = if status.core_dumped() { ", core dumped" } else { "" };
    format!("killed by {name} (signal {number}{core})")
}

/// Whether any child of this process is a zombie.
pub(super) fn is_any_zombie() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Ok(Some(_)))
}

/// Reaps a zombie.
pub(super) fn reap(pid: Pid) {
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}
