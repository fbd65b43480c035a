//! The start of a process: in a group of its own, with pipes that never block, on the list of groups
//! and of the guardian.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::fstat;
use rustix::process::Pid;

use super::affinity::CpuShare;
use super::child::Process;
use super::exit::ExitWatch;
use super::foreground::Foreground;
use super::groups::{Groups, Standing};
use super::guardian::{START_VARIABLE, StartMark};
use super::leader::Leader;
use super::pipe;
use super::stderr::StderrReader;
use super::streams::{ProcessOutput, ProcessStdin, Streams};
use super::terminal;
use super::wake::Wake;

/// How a process is to be started.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) argv: &'a [OsString],
    /// The path of the program; `None`: the system looks for it.
    pub(crate) program: Option<&'a OsStr>,
    /// Additions to the environment.
    pub(crate) env: &'a [(OsString, OsString)],
    /// The environment of this process is not passed on.
    pub(crate) clears_env: bool,
    /// The directory to start it in.
    pub(crate) cwd: Option<&'a OsStr>,
    pub(crate) stdin: ProcessStdin,
    pub(crate) output: ProcessOutput,
    /// The slot that it is for, from 1; 0: none.
    pub(crate) slot: usize,
    /// The CPUs that it runs on; `None`: those of this process.
    pub(crate) cpus: Option<CpuShare>,
    /// Wakes the slot that waits for the process.
    pub(crate) wake: &'a Arc<Wake>,
    /// It may end within milliseconds. If it does not, the slot calls [`Groups::watch_for_stops`].
    pub(crate) is_brief: bool,
}

/// Our ends of the pipes to and from a process.
pub(super) struct OurEnds {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
}

impl<'a> Spec<'a> {
    /// A process with a pipe for stdout and no stdin, for no slot. It gets the environment and directory
    /// of this process.
    pub(crate) fn new(argv: &'a [OsString], wake: &'a Arc<Wake>) -> Self {
        Self {
            argv,
            program: None,
            env: &[],
            clears_env: false,
            cwd: None,
            stdin: ProcessStdin::Null,
            output: ProcessOutput::Pipes,
            slot: 0,
            cpus: None,
            wake,
            is_brief: false,
        }
    }
}

impl Process {
    /// Starts a process. The call returns when the program has been loaded, or can't be.
    pub(crate) fn start(spec: &Spec<'_>, groups: &Groups) -> io::Result<Self> {
        let mut command = command(spec)?;
        let Streams { stdin, stdout, stderr: other_stderr, terminal, socket } =
            Streams::open(spec.stdin, spec.output, groups)?;
        let (stderr, their_stderr) = pipe::new()?;
        if !spec.is_brief {
            groups.watch_for_stops();
        }
        // The guardian knows an unfinished start by this pipe, or by its number.
        let number = fstat(&their_stderr).map_or(0, |stat| stat.st_ino);
        let (mark, stderr_of_process) = match other_stderr {
            Some(other) => {
                command.env(START_VARIABLE, number.to_string());
                (StartMark::Variable(number), other)
            }
            None => (StartMark::Pipe(number), Stdio::from(their_stderr)),
        };
        let entry = groups.announce(mark);
        command.stdin(stdin).stdout(stdout).stderr(stderr_of_process);
        let is_in_front = spec.stdin == ProcessStdin::Terminal;
        let foreground = is_in_front.then(Foreground::open).transpose()?;
        let standing = match spec.stdin {
            ProcessStdin::Requests => Standing::Nursery,
            _ => Standing::Worker,
        };
        let start = groups.lock_start();
        let spawned = match spec.cpus {
            Some(cpus) => cpus.during(|| command.spawn()),
            None => command.spawn(),
        };
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                groups.withdraw(entry);
                return Err(error);
            }
        };
        // It holds the process's end of the terminal. With a copy of that end, the terminal never closes.
        drop(command);
        groups.add(Pid::from_child(&child), entry, Arc::clone(spec.wake), standing);
        // It runs already, and should find the terminal its own.
        if let Some(foreground) = foreground {
            groups.lend_terminal(foreground, Pid::from_child(&child));
        }
        drop(start);
        let stderr = StderrReader::new(stderr, (spec.slot, child.id()));
        let ours = OurEnds {
            stdin: socket.or_else(|| child.stdin.take().map(OwnedFd::from)),
            stdout: terminal.or_else(|| child.stdout.take().map(OwnedFd::from)),
        };
        let process = Self::new(Leader::Started(child), ours, stderr, groups);
        process.set_nonblocking()?;
        Ok(process)
    }

    pub(super) fn new(
        leader: Leader,
        ours: OurEnds,
        stderr: StderrReader,
        groups: &Groups,
    ) -> Self {
        let group = leader.pid();
        Self {
            stdin: ours.stdin,
            watches_stdin: true,
            stdout: ours.stdout,
            stderr,
            exit: ExitWatch::new(group),
            watches_exit: true,
            leader,
            group,
            is_over: false,
            groups: groups.weak(),
            wanted_terminal: None,
            inherited: 0,
        }
    }

    /// Sets our ends of its pipes to nonblocking. The other ends are separate open files, and stay blocking.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        let pipes = [&self.stdin, &self.stdout].map(|pipe| pipe.as_ref().map(AsFd::as_fd));
        for pipe in pipes.into_iter().flatten().chain(self.stderr.pipe()) {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(())
    }
}

/// The command without its streams.
fn command(spec: &Spec<'_>) -> io::Result<Command> {
    let (program, args) = spec.argv.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(spec.program.unwrap_or(program));
    command.arg0(program).args(args).process_group(0);
    if spec.clears_env {
        command.env_clear();
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = spec.cwd {
        command.current_dir(cwd);
    }
    if spec.output == ProcessOutput::PlainTerminal {
        command.envs(terminal::plain_text());
    }
    Ok(command)
}
