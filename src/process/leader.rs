//! The leader of a group, as this process waits for it: a process that it has started, or one that its nursery
//! has forked for it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Weak;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::nursery_line::NurseryLine;
use super::stat::Stat;

/// The leader of a group.
#[derive(Debug)]
pub(super) enum Leader {
    /// This process has started it.
    Started(Child),
    /// A nursery has forked it. It is a child of the nursery, and of this process once the nursery is gone.
    Forked(Pid, Weak<NurseryLine>),
}

impl Leader {
    pub(super) fn pid(&self) -> Pid {
        match self {
            Self::Started(child) => Pid::from_child(child),
            Self::Forked(pid, _) => *pid,
        }
    }

    /// Reaps it if it has exited. The nursery reaps a process only on request.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let (pid, line) = match self {
            Self::Started(child) => return child.try_wait(),
            Self::Forked(pid, line) => (*pid, line),
        };
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(found) => Ok(found.map(|(_, status)| ExitStatus::from_raw(status.as_raw()))),
            Err(Errno::CHILD) => {
                let Some(stat) = Stat::of(pid).filter(Stat::is_zombie) else { return Ok(None) };
                if let Some(line) = line.upgrade() {
                    line.have_reaped(pid);
                }
                Ok(stat.exit_status())
            }
            Err(error) => Err(error.into()),
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
