//! The guardian of a run that may be over in a few milliseconds: a copy of this process. To fork it takes a tenth of the
//! time that a shell takes to start. The copy becomes that shell when the run takes longer, or was killed.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fork::Fork;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, setpgid, waitpid};

use super::guardian::{
    GuardianProcess, has_entries, is_ready, list, make_ready, own_group, shell, take_ready,
};
use super::pipe;
use super::poll;

/// The copy becomes a shell after this time. The shell has its own name and arguments, so that nobody takes it for this
/// process, and has no part of this process's memory.
const BRIEF: Duration = Duration::from_millis(50);

/// Signals that are meant for this process. They must not end the guardian.
const IGNORED: [Signal; 5] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::TSTP];

/// Forks the guardian of the first pool of this process, if there is none yet. Call it before this process has other
/// threads, since a copy has only the one that forks. If there are others, the pool starts a shell instead. The sooner
/// it is called, the less memory both processes have in common: each page of it that one of them changes is copied.
pub fn fork_guardian() {
    if !is_ready()
        && is_alone()
        && let Ok(guardian) = fork_it()
    {
        make_ready(guardian);
    }
}

/// Ends the guardian that [`fork_guardian`] has forked. This process starts nothing that it must kill.
pub fn dismiss_guardian() {
    if let Some(GuardianProcess { pid, pipe, .. }) = take_ready() {
        drop(pipe);
        // It has nothing to do, and ends at once.
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
}

/// Whether this process has one thread. The system counts them as links to the folder.
fn is_alone() -> bool {
    rustix::fs::stat("/proc/self/task").is_ok_and(|folder| folder.st_nlink == 3)
}

fn fork_it() -> io::Result<GuardianProcess> {
    let list = list()?;
    let (their_end, pipe) = pipe::new()?;
    match fork::fork()? {
        Fork::Parent(pid) => {
            let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
            Ok(GuardianProcess { pid, pipe, list })
        }
        Fork::Child => {
            drop(pipe);
            guard(their_end, list)
        }
    }
}

/// The life of the copy.
fn guard(pipe: OwnedFd, list: File) -> ! {
    // It is still in the group of the process that it is a copy of.
    let group_of_pool = own_group();
    let _ = setpgid(None, None);
    for signal in IGNORED {
        let _ = signal_hook::flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)));
    }
    let _ = rustix::thread::set_name(c"guardian");
    let _ = rustix::process::chdir("/");
    leave_streams([pipe.as_raw_fd(), list.as_raw_fd()]);
    if ends_soon(&pipe) && !has_entries(&list) {
        std::process::exit(0);
    }
    // It returns if there is no shell.
    let _ = shell(group_of_pool).stdin(Stdio::from(pipe)).stderr(Stdio::from(list)).exec();
    std::process::exit(1)
}

/// Closes all files of this process but these. Otherwise the reader of a pipe would wait for the guardian as well.
fn leave_streams(ours: [i32; 2]) {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let number =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<i32> = open.filter_map(number).collect();
    for fd in open.into_iter().filter(|fd| !ours.contains(fd)) {
        // The folder that was read is closed already.
        let _ = nix::unistd::close(fd);
    }
    // Each gets the lowest number that is free: that of a standard stream.
    for _ in 0..3 {
        let _ = File::open("/dev/null").map(IntoRawFd::into_raw_fd);
    }
}

/// Whether the pipe ends soon, since the process at its other end does.
fn ends_soon(pipe: &OwnedFd) -> bool {
    // Nothing is written to it.
    loop {
        match poll::poll(&mut [poll::readable(pipe)], Some(BRIEF)) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
