//! The start of a process by another one, its nursery, which forks it: the request goes over a socket together
//! with the ends of its pipes. Then the process is a child of this one, as if this one had started it.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, RwLockReadGuard};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;

use super::affinity::CpuShare;
use super::child::Process;
use super::groups::{Groups, Standing};
use super::guardian::ListEntry;
use super::leader::Leader;
use super::pipe;
use super::pipe::Transfer;
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

    /// The request: its length, and after that the directory and the variables, with a NUL byte after each.
    fn request(&self) -> io::Result<Vec<u8>> {
        let mut text = self.cwd.as_ref().map(|cwd| cwd.as_bytes().to_vec()).unwrap_or_default();
        text.push(0);
        for (name, value) in &self.env {
            text.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
        }
        let len = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok([&len.to_be_bytes()[..], &text].concat())
    }
}

/// A fork that was asked for. If it is dropped, the guardian still looks for the process at the end.
pub(crate) struct Fork<'a> {
    groups: &'a Groups,
    spec: ForkSpec,
    ours: OurEnds,
    stderr: OwnedFd,
    entry: ListEntry,
    /// The rest of the request.
    unsent: Vec<u8>,
    /// While the process is nobody's yet, it must not be taken for an orphan.
    _start: Option<RwLockReadGuard<'a, ()>>,
}

impl<'a> Fork<'a> {
    /// Asks a nursery for a process. The nursery must have answered all earlier requests.
    ///
    /// # Errors
    /// The nursery is gone, or there is no room for other open files.
    pub(crate) fn ask(nursery: &Process, spec: ForkSpec, groups: &'a Groups) -> io::Result<Self> {
        let socket = nursery.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let request = spec.request()?;
        let (their_stdin, stdin) = pipe::new()?;
        let (stdout, their_stdout) = pipe::new()?;
        let (stderr, their_stderr) = pipe::new()?;
        // The nursery gives the process this stderr before the process leaves the group of the nursery. So the
        // guardian finds it by its group or by its stderr, whenever this process is killed.
        let entry = groups.announce(their_stderr.as_fd());
        let start = groups.lock_start();
        let theirs = [their_stdin.as_fd(), their_stdout.as_fd(), their_stderr.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&theirs));
        let sent = sendmsg(socket, &[IoSlice::new(&request)], &mut control, SEND_FLAGS);
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                groups.withdraw(entry);
                return Err(error.into());
            }
        };
        let ours = OurEnds { stdin: Some(stdin), stdout: Some(stdout) };
        let unsent = request[sent..].to_vec();
        Ok(Self { groups, spec, ours, stderr, entry, unsent, _start: start })
    }

    /// Whether a part of the request is still to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends as much of the request as can be sent now.
    pub(crate) fn send(&mut self, nursery: &Process) -> Transfer {
        let Some(socket) = &nursery.stdin else { return Transfer::Closed };
        match rustix::net::send(socket, &self.unsent, SEND_FLAGS) {
            Ok(count) => {
                self.unsent.drain(..count);
                Transfer::Moved(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
            Err(_) => Transfer::Closed,
        }
    }

    /// Nothing was forked.
    pub(crate) fn withdraw(self) {
        self.groups.withdraw(self.entry);
    }

    /// The process was forked, leads its group, and is a child of this process.
    ///
    /// # Errors
    /// Its pipes can't be used. Then it is killed.
    pub(crate) fn adopt(self, pid: Pid) -> io::Result<Process> {
        let Self { groups, spec, ours, stderr, entry, .. } = self;
        groups.add(pid, entry, spec.wake, Standing::Worker);
        let stderr = StderrReader::new(stderr, (spec.slot, pid.as_raw_pid().unsigned_abs()));
        let mut process = Process::new(Leader::Adopted(pid), ours, stderr, groups);
        process.set_nonblocking()?;
        if let Some(cpus) = spec.cpus {
            cpus.give_to(pid)?;
        }
        process.inherited = process.memory().unwrap_or(0);
        Ok(process)
    }
}

/// The socket is closed if the nursery is gone: that is no reason for a signal.
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
