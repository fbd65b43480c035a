//! The leader of a group, as this process waits for it: a process that it has started, or one that another
//! process has forked for it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use rustix::process::{Pid, WaitOptions, waitpid};

/// The leader of a group.
#[derive(Debug)]
pub(super) enum Leader {
    /// This process has started it.
    Started(Child),
    /// A descendant has forked it, and then it became a child of this process.
    Adopted(Pid),
}

impl Leader {
    pub(super) fn pid(&self) -> Pid {
        match self {
            Self::Started(child) => Pid::from_child(child),
            Self::Adopted(pid) => *pid,
        }
    }

    /// Reaps it if it has exited.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Started(child) => child.try_wait(),
            Self::Adopted(pid) => {
                let found = waitpid(Some(*pid), WaitOptions::NOHANG)?;
                Ok(found.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
            }
        }
    }
}

/// From now on the descendants of this process become its children when their parents end.
///
/// # Errors
/// The system can't do that.
#[cfg(target_os = "linux")]
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn adopt_orphans() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
