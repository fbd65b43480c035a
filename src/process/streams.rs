//! The three streams of a process that is started: pipes, pseudo-terminals, or those of this process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rustix::fs::{Mode, OFlags, open};

use super::groups::Groups;
use super::terminal::{WIDEST, open_terminal, own_size};

/// The stdin of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessStdin {
    /// `/dev/null`.
    Null,
    /// A pipe that this process writes to.
    Pipe,
    /// The stdin of this process.
    Ours,
    /// The terminal of this process.
    Terminal,
    /// A socket over which this process asks for forks: the process is a nursery.
    Requests,
}

/// The stdout and stderr of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessOutput {
    /// Pipes.
    Pipes,
    /// A terminal for stdout, whose text a program reads. Stderr is a pipe.
    PlainTerminal,
    /// One terminal for both, whose text a person reads.
    Terminal,
    /// Those of this process.
    Ours,
}

/// The streams, ready for the process.
pub(super) struct Streams {
    pub(super) stdin: Stdio,
    pub(super) stdout: Stdio,
    /// `None`: a pipe.
    pub(super) stderr: Option<Stdio>,
    /// Our end of the terminal that the process writes to.
    pub(super) terminal: Option<OwnedFd>,
    /// Our end of the socket that is the stdin of the process.
    pub(super) socket: Option<OwnedFd>,
}

impl Streams {
    /// Opens the streams.
    ///
    /// # Errors
    /// There is no room for another open file, or this process has no terminal.
    pub(super) fn open(
        stdin: ProcessStdin,
        output: ProcessOutput,
        groups: &Groups,
    ) -> io::Result<Self> {
        let mut socket = None;
        let stdin = match stdin {
            ProcessStdin::Null => groups.null()?,
            ProcessStdin::Pipe => Stdio::piped(),
            ProcessStdin::Ours => Stdio::inherit(),
            ProcessStdin::Terminal => {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
                Stdio::from(open("/dev/tty", flags, Mode::empty())?)
            }
            ProcessStdin::Requests => {
                let (ours, theirs) = pair()?;
                socket = Some(ours);
                Stdio::from(theirs)
            }
        };
        let (stdout, stderr, terminal) = match output {
            ProcessOutput::Pipes => (Stdio::piped(), None, None),
            ProcessOutput::PlainTerminal => {
                let (ours, theirs) = open_terminal(WIDEST)?;
                (Stdio::from(theirs), None, Some(ours))
            }
            ProcessOutput::Terminal => {
                let (ours, theirs) = open_terminal(own_size())?;
                let copy = theirs.as_fd().try_clone_to_owned()?;
                (Stdio::from(theirs), Some(Stdio::from(copy)), Some(ours))
            }
            ProcessOutput::Ours => (Stdio::inherit(), Some(Stdio::inherit()), None),
        };
        Ok(Self { stdin, stdout, stderr, terminal, socket })
    }
}

/// The longest message to a process that is asked for forks, in bytes.
#[cfg(target_os = "linux")]
const LONGEST_MESSAGE: usize = 1 << 19;

/// Two connected sockets, which carry whole messages.
#[cfg(target_os = "linux")]
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    // The system may allow less.
    let _ = sockopt::set_socket_send_buffer_size(&ours, LONGEST_MESSAGE);
    Ok((ours, theirs))
}

#[cfg(not(target_os = "linux"))]
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Err(io::ErrorKind::Unsupported.into())
}
