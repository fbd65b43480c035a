//! The start of a process by another one, its nursery, which forks it: the request goes over a socket together
//! with the ends of its pipes. Then it is signalled and waited for as if this process had started it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, RwLockReadGuard};

use rustix::fs::fstat;
use rustix::process::Pid;

use super::affinity::CpuShare;
use super::child::Process;
use super::groups::{Groups, Standing};
use super::guardian::{ListEntry, StartMark};
use super::leader::Leader;
use super::nursery_line::NurseryLine;
use super::pipe;
use super::start::OurEnds;
use super::stderr::StderrReader;
use super::wake::Wake;

/// How a process is to be forked.
#[derive(Debug)]
pub(crate) struct ForkSpec {
    /// Additions to the environment of the nursery.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The directory that it goes to; `None`: that of the nursery.
    pub(crate) cwd: Option<OsString>,
    /// The slot that it is for, from 1.
    pub(crate) slot: usize,
    /// The CPUs that it runs on; `None`: those of the nursery.
    pub(crate) cpus: Option<CpuShare>,
    /// Wakes the slot that waits for the process.
    pub(crate) wake: Arc<Wake>,
}

impl ForkSpec {
    /// The same for another try.
    pub(crate) fn again(&self) -> Self {
        let (env, cwd, wake) = (self.env.clone(), self.cwd.clone(), Arc::clone(&self.wake));
        Self { env, cwd, slot: self.slot, cpus: self.cpus, wake }
    }

    /// The request: the directory and the variables, with a NUL byte after each.
    fn request(&self) -> Vec<u8> {
        let mut text = self.cwd.as_ref().map(|cwd| cwd.as_bytes().to_vec()).unwrap_or_default();
        text.push(0);
        for (name, value) in &self.env {
            text.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
        }
        text
    }
}

impl Process {
    /// The line to this process, which is a nursery.
    ///
    /// # Errors
    /// It is none, or there is no room for another open file.
    pub(crate) fn nursery_line(&self) -> io::Result<NurseryLine> {
        let socket = self.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(NurseryLine::new(socket.try_clone()?))
    }
}

/// A fork that was asked for. If it is dropped, the guardian still looks for the process at the end.
pub(crate) struct Fork<'a> {
    groups: &'a Groups,
    spec: ForkSpec,
    ours: OurEnds,
    stderr: OwnedFd,
    entry: ListEntry,
    /// While the process is on no list, it must not be taken for an orphan.
    _start: Option<RwLockReadGuard<'a, ()>>,
}

impl<'a> Fork<'a> {
    /// Asks a nursery for a process.
    ///
    /// # Errors
    /// The nursery is gone, or there is no room for other open files.
    pub(crate) fn ask(line: &NurseryLine, spec: ForkSpec, groups: &'a Groups) -> io::Result<Self> {
        let (their_stdin, stdin) = pipe::new()?;
        let (stdout, their_stdout) = pipe::new()?;
        let (stderr, their_stderr) = pipe::new()?;
        // The process has this stderr before it leaves the group of the nursery. So the guardian finds it by its
        // group or by its stderr, whenever this process is killed.
        groups.watch_for_stops();
        let number = fstat(&their_stderr).map_or(0, |stat| stat.st_ino);
        let entry = groups.announce(StartMark::Pipe(number));
        let start = groups.lock_start();
        let theirs = [their_stdin.as_fd(), their_stdout.as_fd(), their_stderr.as_fd()];
        if let Err(error) = line.send(&spec.request(), &theirs) {
            groups.withdraw(entry);
            return Err(error);
        }
        let ours = OurEnds { stdin: Some(stdin), stdout: Some(stdout) };
        Ok(Self { groups, spec, ours, stderr, entry, _start: start })
    }

    /// Nothing was forked.
    pub(crate) fn withdraw(self) {
        self.groups.withdraw(self.entry);
    }

    /// The process was forked and leads its group.
    ///
    /// # Errors
    /// Its pipes can't be used. Then it is killed.
    pub(crate) fn adopt(self, pid: Pid, line: &Arc<NurseryLine>) -> io::Result<Process> {
        let Self { groups, spec, ours, stderr, entry, .. } = self;
        groups.add(pid, entry, spec.wake, Standing::Worker);
        let stderr = StderrReader::new(stderr, (spec.slot, pid.as_raw_pid().unsigned_abs()));
        let leader = Leader::Forked(pid, Arc::downgrade(line));
        let mut process = Process::new(leader, ours, stderr, groups);
        process.set_nonblocking()?;
        if process.exit.descriptor().is_none() {
            // Only a parent could notice its exit without one.
            return Err(io::ErrorKind::Unsupported.into());
        }
        if let Some(cpus) = spec.cpus {
            cpus.give_to(pid)?;
        }
        process.inherited = process.memory().unwrap_or(0);
        Ok(process)
    }
}
