//! Processes: started in a group of their own, with pipes that never block, and ended by a ladder
//! of ever stronger means. This is the only place that signals children.

pub(crate) mod guardian;
mod leftovers;
pub(crate) mod lookup;
pub(crate) mod stops;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, test_kill_process_group, waitid,
};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::job::Watcher;
use crate::process::guardian::{Guardian, Place};
use crate::process::stops::{Bell, Care, Stat, Stopped, Survey};
use crate::util::clock::{Clock, Moment};

/// How much is read from a pipe at once: as much as a pipe holds.
const READ_SIZE: usize = 64 << 10;

/// How much a wide pipe holds.
#[cfg(target_os = "linux")]
const WIDE: usize = 1 << 20;

/// How much of a worker's last words is kept for messages.
const LAST_WORDS: usize = 2 << 10;

/// What a process writes to stderr is passed on after this time, also where no line has ended: prompts.
const LONGEST_LINE_TIME: Duration = Duration::from_millis(100);

/// A process that is waited for to exit may print so much that is kept.
const KEPT: usize = 64 << 20;

/// Where exits cannot be polled for, they are looked for this often.
const EXIT_TICK: Duration = Duration::from_millis(50);

/// Who waits for a process to end of itself looks this often whether it has time left.
const RETIREMENT_TICK: Duration = Duration::from_millis(100);

/// How long a killed process may take to vanish. It takes longer only if the kernel holds it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A process that has exited and is traced can't be reaped before its tracer has taken note of that.
/// It is waited for so long.
const TRACER_PATIENCE: Duration = Duration::from_secs(1);

/// What no descriptor tells of is looked for at first so often.
const FIRST_TICK: Duration = Duration::from_millis(1);

/// Interrupts a slot that waits: the one thing that other threads do to a slot.
#[derive(Debug)]
pub(crate) struct Wake {
    receiver: OwnedFd,
    sender: OwnedFd,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let (receiver, sender) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { receiver, sender })
    }

    /// Wakes the slot. A full pipe wakes it as well, so no error matters.
    pub(crate) fn notify(&self) {
        let _ = rustix::io::write(&self.sender, &[1]);
    }

    /// Forgets all wake-ups so far.
    pub(crate) fn clear(&self) {
        let mut bytes = [0_u8; 64];
        while matches!(rustix::io::read(&self.receiver, &mut bytes), Ok(64)) {}
    }

    /// Waits for the time to pass, but not longer than until a wake-up, which is kept.
    pub(crate) fn wait_briefly(&self, time: Duration) {
        let mut fds = [PollFd::new(&self.receiver, PollFlags::IN)];
        let _ = poll(&mut fds, timespec(Some(time)).as_ref());
    }

    /// Waits for a wake-up, or for something else to become readable.
    pub(crate) fn wait_also_for(&self, other: BorrowedFd<'_>) {
        let mut fds = [
            PollFd::new(&self.receiver, PollFlags::IN),
            PollFd::from_borrowed_fd(other, PollFlags::IN),
        ];
        let _ = poll(&mut fds, None);
        self.clear();
    }

    /// Waits for a wake-up, or for the time to pass.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let mut fds = [PollFd::new(&self.receiver, PollFlags::IN)];
        let _ = poll(&mut fds, timespec(timeout).as_ref());
        self.clear();
    }
}

/// All process groups of a pool: what is done to all of them at once.
#[derive(Debug)]
pub(crate) struct Groups {
    members: Mutex<Members>,
    killing: AtomicBool,
    /// From when on no process is left to end of itself.
    terminate_at: Mutex<Moment>,
    pub(crate) clock: Clock,
    /// What a process reads that has no stdin: opened once, since looking its name up for each takes
    /// longer than all else that is done for a stream.
    null: OnceLock<File>,
    me: Weak<Self>,
    /// Some group has a stop that its slot has not taken notice of.
    has_stops: AtomicBool,
    /// Where orphans are to be reaped: held for reading while a process is started.
    orphans: Option<RwLock<()>>,
}

/// A process group.
#[derive(Debug)]
struct Member {
    /// Of the slot that the process was started for.
    wake: Arc<Wake>,
    /// A stop that was noticed.
    stop: Option<Stopped>,
    /// That somebody stopped it was noticed once.
    is_remarked: bool,
}

impl Member {
    /// Takes note of a stop, of one by somebody only once.
    fn note(&mut self, stop: Option<Stopped>) {
        let is_new = |stop: &Stopped| stop.wanted_terminal() || !self.is_remarked;
        if let Some(stop) = stop.filter(is_new) {
            self.is_remarked |= !stop.wanted_terminal();
            self.stop = Some(stop);
        }
    }
}

#[derive(Debug, Default)]
struct Members {
    groups: HashMap<Pid, Member>,
    stopped: bool,
    /// Who looks for stops is to be told of the next process.
    rings: bool,
    /// Rings there. Made with the first process.
    bell: Option<Bell>,
    /// How many there have been.
    started: u64,
    /// Started with the first process.
    guardian: Option<Guardian>,
}

impl Members {
    fn add(&mut self, group: Pid, place: Place, wake: Arc<Wake>) {
        self.groups.insert(group, Member { wake, stop: None, is_remarked: false });
        self.started += 1;
        if std::mem::take(&mut self.rings)
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
        if let Some(guardian) = &mut self.guardian {
            guardian.add(group, place);
        }
    }

    /// Notes which groups are stopped, all or in part. `seen`: processes of the system.
    fn note_stops(&mut self, seen: &[Stat]) {
        for (group, member) in &mut self.groups {
            member.note(stops::stop_of(*group));
        }
        // A leader may go on while one of its group is stopped: it waits for that, and takes no notice.
        for stat in seen.iter().filter(|stat| stat.is_stopped() && Some(stat.pid) != stat.group) {
            if let Some(member) = stat.group.and_then(|group| self.groups.get_mut(&group)) {
                member.note(stat.stop());
            }
        }
    }

    fn remove(&mut self, group: Pid) {
        self.groups.remove(&group);
        if let Some(guardian) = &mut self.guardian {
            guardian.remove(group);
        }
    }
}

impl Groups {
    /// `reaps_orphans`: processes that come to this process since their parents are gone are reaped.
    pub(crate) fn new(reaps_orphans: bool) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            members: Mutex::default(),
            killing: AtomicBool::new(false),
            terminate_at: Mutex::new(Moment::NEVER),
            clock: Clock::new(),
            null: OnceLock::new(),
            me: Weak::clone(me),
            has_stops: AtomicBool::new(false),
            orphans: reaps_orphans.then(RwLock::default),
        })
    }

    /// Stops all processes and the clock.
    pub(crate) fn pause(&self) {
        let mut members = self.lock();
        self.clock.pause();
        members.stopped = true;
        signal(&members.groups, Signal::STOP);
    }

    /// Whether all processes are stopped.
    pub(crate) fn is_paused(&self) -> bool {
        self.lock().stopped
    }

    /// Lets all processes and the clock go on.
    pub(crate) fn resume(&self) {
        let mut members = self.lock();
        members.stopped = false;
        signal(&members.groups, Signal::CONT);
        self.clock.resume();
    }

    /// Kills all processes there are, and every one that is started from now on, until
    /// [`Groups::spare`].
    pub(crate) fn kill(&self) {
        let members = self.lock();
        self.killing.store(true, Ordering::Release);
        signal(&members.groups, Signal::KILL);
    }

    /// New processes may live again.
    pub(crate) fn spare(&self) {
        self.killing.store(false, Ordering::Release);
        *self.lock_terminate_at() = Moment::NEVER;
    }

    /// From this moment on a process that is to end gets TERM at once, and is not left to end of itself.
    /// Where an earlier moment was told, that holds.
    pub(crate) fn terminate_at(&self, at: Moment) {
        let mut terminate_at = self.lock_terminate_at();
        *terminate_at = at.min(*terminate_at);
    }

    fn lock_terminate_at(&self) -> MutexGuard<'_, Moment> {
        self.terminate_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_killing(&self) -> bool {
        self.killing.load(Ordering::Acquire)
    }

    /// How many processes there have been.
    pub(crate) fn started(&self) -> u64 {
        self.lock().started
    }

    /// What has been started so far does not count.
    pub(crate) fn count_anew(&self) {
        self.lock().started = 0;
    }

    /// How many processes there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().groups.len()
    }

    fn null(&self) -> io::Result<Stdio> {
        let null = match self.null.get() {
            Some(null) => null,
            None => {
                let null = File::open("/dev/null")?;
                self.null.get_or_init(|| null)
            }
        };
        null.try_clone().map(Stdio::from)
    }

    /// A process is about to be started that will write to this pipe.
    fn announce(&self, pipe: BorrowedFd<'_>) -> Place {
        let mut members = self.lock();
        members.bell.get_or_insert_with(|| {
            let me = Weak::clone(&self.me);
            stops::start(move |survey| me.upgrade().map(|groups| groups.look(survey)))
        });
        members.guardian.get_or_insert_with(Guardian::start).announce(pipe)
    }

    /// It was not started.
    fn withdraw(&self, place: Place) {
        if let Some(guardian) = &mut self.lock().guardian {
            guardian.withdraw(place);
        }
    }

    /// A process that was started while all others were stopped or killed shares their lot.
    fn add(&self, group: Pid, place: Place, wake: Arc<Wake>) {
        let mut members = self.lock();
        members.add(group, place, wake);
        if self.is_killing() {
            let _ = kill_process_group(group, Signal::KILL);
        } else if members.stopped {
            let _ = kill_process_group(group, Signal::STOP);
        }
    }

    /// What has been found stopped in a group since this was asked last.
    fn stopped(&self, group: Pid) -> Option<Stopped> {
        if !self.has_stops.load(Ordering::Acquire) {
            return None;
        }
        self.lock().groups.get_mut(&group)?.stop.take()
    }

    /// Looks for stopped processes, wakes the slots of those that it finds, and reaps orphans.
    fn look(&self, survey: &mut Survey) -> Care {
        let has_orphans = self.orphans.is_some() && stops::is_any_zombie();
        let seen = if survey.has_terminal || has_orphans { survey.processes() } else { Vec::new() };
        self.reap_orphans(&seen);
        let mut members = self.lock();
        members.rings = true;
        if !members.stopped {
            members.note_stops(&seen);
        }
        let stopped = || members.groups.values().filter(|member| member.stop.is_some());
        self.has_stops.store(stopped().next().is_some(), Ordering::Release);
        stopped().for_each(|member| member.wake.notify());
        if !members.groups.is_empty() {
            Care::Groups
        } else if self.orphans.is_some() {
            Care::Orphans
        } else {
            Care::Nothing
        }
    }

    /// Reaps the zombies that are nobody's. Those of this process are its slots' to reap.
    fn reap_orphans(&self, seen: &[Stat]) {
        let Some(lock) = &self.orphans else { return };
        let me = getpid();
        let mut zombies = seen.iter().filter(|stat| stat.is_zombie_of(me)).peekable();
        if zombies.peek().is_none() {
            return;
        }
        // Where a process is just being started the next look is soon enough.
        let Ok(_nothing_is_started) = lock.try_write() else { return };
        let members = self.lock();
        let guardian = members.guardian.as_ref().and_then(Guardian::pid);
        let is_ours = |pid: Pid| members.groups.contains_key(&pid) || guardian == Some(pid);
        zombies.map(|stat| stat.pid).filter(|&pid| !is_ours(pid)).for_each(stops::reap);
    }

    /// To be held while a process is started whose number is not known yet: a zombie that seems to be
    /// nobody's may be that process.
    fn starting(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.orphans.as_ref().map(|lock| lock.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signal(groups: &HashMap<Pid, Member>, signal: Signal) {
    for &group in groups.keys() {
        let _ = kill_process_group(group, signal);
    }
}

/// A terminal that passes on what is written to it as it is: our end of it, and that of a process.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&theirs)?;
    settings.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &settings)?;
    // Nothing is to be wrapped.
    let size = Winsize { ws_row: 24, ws_col: u16::MAX, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size)?;
    Ok((ours, theirs))
}

/// What a process is to be.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) argv: &'a [OsString],
    /// Where the program was found; `None`: the system is to look for it.
    pub(crate) program: Option<&'a OsStr>,
    /// Additions to the environment.
    pub(crate) env: &'a [(OsString, OsString)],
    /// The directory it is started in.
    pub(crate) cwd: Option<&'a OsStr>,
    /// Whether stdin is a pipe, not `/dev/null`.
    pub(crate) has_stdin: bool,
    /// Whether stdout is a terminal, not a pipe.
    pub(crate) pty: bool,
    /// Wakes who waits for it.
    pub(crate) wake: &'a Arc<Wake>,
}

/// The streams that a process writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What a wait was ended by. Several things may have happened at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready {
    pub(crate) readable: bool,
    pub(crate) stderr: bool,
    pub(crate) spare_stderr: bool,
    pub(crate) exited: bool,
    /// Nothing is left to write, and the process has closed its stdin.
    pub(crate) deaf: bool,
}

/// How far a read or a write got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes were moved, at least one.
    Moved(usize),
    /// Nothing can be moved now.
    Blocked,
    /// The other side has closed the pipe.
    Closed,
}

/// The first step of the ladder by which a process is ended; the others follow, each after the
/// grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Its stdin is closed: it should end of itself.
    Retire,
    /// Its group gets TERM.
    Terminate,
    /// Its group gets KILL.
    Kill,
}

/// A running process, the leader of its own group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    /// Becomes readable when the process exits, where the system has such a thing.
    exit: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    /// Whether it is to be told that the process closes its stdin.
    watches_stdin: bool,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// What came from stderr and is no whole line yet…
    unfinished: Vec<u8>,
    /// …and since when it waits for its end.
    waits_since: Option<Instant>,
    /// What was passed on last has no end.
    in_line: bool,
    /// The last bytes of its stderr, of so many in all…
    last_words: Vec<u8>,
    /// That it has exited is known: waits are for what it has left running.
    is_outlived: bool,
    /// It was reaped, or given up, and is not on the list of groups any more.
    is_over: bool,
    groups: Weak<Groups>,
    words: u64,
    /// …of which those before this one are of no interest any more.
    words_from: u64,
    /// It wanted the terminal while its exit was waited for.
    pub(crate) wanted_terminal: Option<Stopped>,
}

impl Process {
    /// Starts a process. The call returns when the program has been loaded, or could not be.
    pub(crate) fn start(spec: &Spec<'_>, groups: &Groups) -> io::Result<Self> {
        let Some((program, args)) = spec.argv.split_first() else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        let (terminal, stdout) = match spec.pty {
            true => terminal().map(|(ours, theirs)| (Some(ours), theirs.into()))?,
            false => (None, Stdio::piped()),
        };
        let stdin = if spec.has_stdin { Stdio::piped() } else { groups.null()? };
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let place = groups.announce(their_stderr.as_fd());
        let mut command = Command::new(spec.program.unwrap_or(program));
        command
            .arg0(program)
            .args(args)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::from(their_stderr))
            .process_group(0)
            .envs(spec.env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = spec.cwd {
            command.current_dir(cwd);
        }
        if spec.pty {
            // What is printed is for a program.
            let plain = [("TERM", "dumb"), ("NO_COLOR", "1")];
            command.envs(
                plain
                    .into_iter()
                    .filter(|(name, _)| *name == "TERM" || std::env::var_os(name).is_none()),
            );
        }
        let starting = groups.starting();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                groups.withdraw(place);
                return Err(error);
            }
        };
        // Ours of the ends that are its own must go, or its terminal would never close.
        drop(command);
        let group = Pid::from_child(&child);
        groups.add(group, place, Arc::clone(spec.wake));
        drop(starting);
        let process = Self {
            stdin: child.stdin.take().map(OwnedFd::from),
            watches_stdin: true,
            stdout: terminal.or_else(|| child.stdout.take().map(OwnedFd::from)),
            stderr: Some(stderr),
            exit: exit_descriptor(group),
            child,
            group,
            unfinished: Vec::new(),
            waits_since: None,
            in_line: false,
            last_words: Vec::new(),
            is_outlived: false,
            is_over: false,
            groups: Weak::clone(&groups.me),
            words: 0,
            words_from: 0,
            wanted_terminal: None,
        };
        for fd in [&process.stdin, &process.stdout, &process.stderr].into_iter().flatten() {
            // Our end of the pipe only: the other end is an open file of its own.
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What has been found stopped of its group since this was asked last. Who waits for the process is
    /// woken for it.
    pub(crate) fn stopped(&self, groups: &Groups) -> Option<Stopped> {
        groups.stopped(self.group)
    }

    /// Waits for something to happen, at most for `timeout`. This is the only wait of a slot that
    /// has a process. `spare` is another process, whose stderr is watched as well.
    pub(crate) fn wait(
        &self,
        wake: Option<&Wake>,
        write: bool,
        spare: Option<&Self>,
        timeout: Option<Duration>,
    ) -> Ready {
        let looks_for_exit = self.exit.is_none() && !self.is_outlived;
        let tick = looks_for_exit.then_some(EXIT_TICK);
        let late = [Some(self), spare].into_iter().flatten().filter_map(Self::late_in);
        let timeout = timeout.into_iter().chain(tick).chain(late).min();
        let sources = [
            (wake.map(|wake| &wake.receiver), PollFlags::IN),
            (self.stdout.as_ref(), PollFlags::IN),
            (self.stderr.as_ref(), PollFlags::IN),
            (self.exit.as_ref().filter(|_| !self.is_outlived), PollFlags::IN),
            (spare.and_then(|spare| spare.stderr.as_ref()), PollFlags::IN),
            // That nobody reads it any more shows whatever is waited for.
            (
                self.stdin.as_ref().filter(|_| write || self.watches_stdin),
                if write { PollFlags::OUT } else { PollFlags::empty() },
            ),
        ];
        let mut there = sources.iter().filter_map(|&(fd, flags)| Some(PollFd::new(fd?, flags)));
        let mut count = 0;
        let mut fds: [PollFd<'_>; 6] = std::array::from_fn(|_| match there.next() {
            Some(fd) => {
                count += 1;
                fd
            }
            // Fills the array up, and is not polled.
            None => PollFd::from_borrowed_fd(rustix::stdio::stderr(), PollFlags::empty()),
        });
        if poll(&mut fds[..count], timespec(timeout).as_ref()).is_err() {
            return Ready::default();
        }
        let mut fds = fds.iter();
        let [woken, readable, stderr, exited, spare_stderr, stdin] = sources
            .map(|(fd, _)| fd.and_then(|_| fds.next()).is_some_and(|fd| !fd.revents().is_empty()));
        if let Some(wake) = wake.filter(|_| woken) {
            wake.clear();
        }
        Ready {
            readable,
            stderr: stderr || self.is_late(),
            spare_stderr: spare_stderr || spare.is_some_and(Self::is_late),
            exited: exited || (looks_for_exit && self.has_exited()),
            deaf: stdin && !write,
        }
    }

    /// It is known that the process has closed its stdin, or of no interest.
    pub(crate) fn ignore_stdin(&mut self) {
        self.watches_stdin = false;
    }

    /// Waits for the exit, or a wake-up, and for nothing else, at most for so long: whoever knows that
    /// a process will soon exit need not be woken for each of its streams that it closes on the way.
    /// Returns whether it has exited.
    pub(crate) fn wait_for_exit(&self, wake: &Wake, time: Duration) -> bool {
        let Some(exit) = &self.exit else { return false };
        let mut fds =
            [PollFd::new(exit, PollFlags::IN), PollFd::new(&wake.receiver, PollFlags::IN)];
        poll(&mut fds, timespec(Some(time)).as_ref()).is_ok() && !fds[0].revents().is_empty()
    }

    /// Writes as much as the pipe takes now.
    pub(crate) fn write(&self, bytes: &[u8]) -> Progress {
        match self.stdin.as_ref().map(|pipe| rustix::io::write(pipe, bytes)) {
            Some(Ok(count)) => Progress::Moved(count),
            Some(Err(Errno::AGAIN | Errno::INTR)) => Progress::Blocked,
            Some(Err(_)) | None => Progress::Closed,
        }
    }

    /// Reads what stdout holds now, but for very much, and appends it to `into`.
    pub(crate) fn read(&self, into: &mut Vec<u8>) -> Progress {
        let Some(pipe) = &self.stdout else {
            return Progress::Closed;
        };
        read_some(pipe.as_fd(), into)
    }

    /// Whether there may be anything on stdout to read.
    pub(crate) fn may_be_read(&self) -> bool {
        let waiting = |pipe| rustix::io::ioctl_fionread(pipe).map_or(true, |bytes| bytes > 0);
        self.stdout.as_ref().is_some_and(waiting)
    }

    /// Appends what a stream holds now to `into`, but for very much; a closed one is forgotten.
    pub(crate) fn collect(&mut self, stream: Stream, into: &mut Vec<u8>) -> Progress {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let progress = match pipe {
            Some(pipe) => read_some(pipe.as_fd(), into),
            None => Progress::Closed,
        };
        if progress == Progress::Closed {
            *pipe = None;
        }
        progress
    }

    /// Whether all it wrote to stdout and stderr has been read, and nobody can write more.
    pub(crate) fn is_closed(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// How many of the written bytes the process has not read; `None` where that can't be told.
    pub(crate) fn unread(&self) -> Option<u64> {
        #[cfg(target_os = "linux")]
        return rustix::io::ioctl_fionread(self.stdin.as_ref()?).ok();
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// How much memory the process holds now, in bytes; `None`: the system does not tell.
    pub(crate) fn memory(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    /// Makes the pipes of stdin and stdout wider, for large messages: each trip moves more. Where the
    /// system won't have it, they stay as they are.
    pub(crate) fn widen(&self) {
        #[cfg(target_os = "linux")]
        for pipe in [&self.stdin, &self.stdout].into_iter().flatten() {
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, WIDE);
        }
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Passes on what the process wrote to stderr, in whole lines; a carriage return ends one as well,
    /// and so does the time. Once for each call, so that a flood does not keep the slot from its
    /// other work.
    pub(crate) fn forward_stderr(&mut self, watcher: &dyn Watcher) -> Progress {
        let Some(pipe) = &self.stderr else {
            return Progress::Closed;
        };
        let before = self.unfinished.len();
        let progress = read_some(pipe.as_fd(), &mut self.unfinished);
        self.remember(before);
        if progress == Progress::Closed {
            self.stderr = None;
        }
        let len = self.unfinished.len();
        let whole = match memchr::memrchr2(b'\n', b'\r', &self.unfinished) {
            _ if self.stderr.is_none() => len,
            Some(at) => at + 1,
            None if len >= READ_SIZE || self.is_late() => len,
            None => 0,
        };
        self.pass_on(whole, watcher);
        progress
    }

    /// In what time unfinished text must be passed on.
    fn late_in(&self) -> Option<Duration> {
        Some(LONGEST_LINE_TIME.saturating_sub(self.waits_since?.elapsed()))
    }

    /// Whether unfinished text must be passed on now.
    fn is_late(&self) -> bool {
        self.late_in().is_some_and(|time| time.is_zero())
    }

    /// Keeps the last of what was read of stderr, which begins there in the unfinished text.
    fn remember(&mut self, from: usize) {
        let new = &self.unfinished[from..];
        self.words += new.len() as u64;
        self.last_words.extend_from_slice(&new[new.len().saturating_sub(LAST_WORDS)..]);
        let surplus = self.last_words.len().saturating_sub(LAST_WORDS);
        self.last_words.drain(..surplus);
    }

    /// How many bytes of its stderr have been read.
    pub(crate) fn words(&self) -> u64 {
        self.words
    }

    /// What came before the first so many bytes had been read has nothing to do with what comes now.
    pub(crate) fn forget_words(&mut self, before: u64) {
        self.words_from = before;
    }

    /// The last lines of its stderr, for a message; empty if it was silent.
    pub(crate) fn last_words(&self) -> String {
        let fresh = usize::try_from(self.words - self.words_from).unwrap_or(usize::MAX);
        let words = &self.last_words[self.last_words.len().saturating_sub(fresh)..];
        let text = String::from_utf8_lossy(words);
        let lines: Vec<&str> =
            text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Waits for the process to exit of itself, at most for `patience`, and for nothing else. What it
    /// prints meanwhile is appended to `keep`, or thrown away.
    pub(crate) fn await_exit(
        &mut self,
        groups: &Groups,
        wake: Option<&Wake>,
        patience: Duration,
        watcher: &dyn Watcher,
        mut keep: Option<&mut Vec<u8>>,
    ) -> bool {
        let end = groups.clock.now().after(patience);
        self.ignore_stdin();
        loop {
            if self.has_exited() {
                return true;
            }
            let now = groups.clock.now();
            if now >= end || groups.is_killing() {
                return false;
            }
            if let Some(stopped) = self.stopped(groups).filter(Stopped::wanted_terminal) {
                self.wanted_terminal = Some(stopped);
                return false;
            }
            let ready = self.wait(wake, false, None, end.until(now));
            if ready.stderr {
                self.forward_stderr(watcher);
            }
            let mut waste = Vec::new();
            let into = keep.as_deref_mut().filter(|kept| kept.len() < KEPT).unwrap_or(&mut waste);
            if ready.readable && self.read(into) == Progress::Closed {
                self.stdout = None;
            }
        }
    }

    /// Ends the process and all of its group, and waits until it is gone: at most twice the
    /// grace period and a little, since nothing that the process does is waited for without a
    /// bound. `None`: the kernel does not let go of it.
    pub(crate) fn stop(
        &mut self,
        first: Stop,
        grace: Duration,
        groups: &Groups,
        wake: Option<&Wake>,
        watcher: &dyn Watcher,
    ) -> Option<ExitStatus> {
        self.close_stdin();
        for step in [Stop::Retire, Stop::Terminate, Stop::Kill] {
            if step < first || (step < Stop::Kill && groups.is_killing()) {
                continue;
            }
            let patience = self.tell(step, grace);
            let gone = match step {
                Stop::Kill => self.await_death(patience),
                Stop::Terminate => self.await_exit(groups, wake, patience, watcher, None),
                Stop::Retire => self.await_retirement(groups, wake, patience, watcher),
            };
            if gone {
                break;
            }
        }
        let status = self.bury(groups, watcher);
        if status.is_none() && !self.has_exited() {
            watcher.note(&format!("the worker (pid {}) {}", self.pid(), describe(None)));
        }
        status
    }

    /// Waits for the process to end of itself, for as long as that is left to it.
    fn await_retirement(
        &mut self,
        groups: &Groups,
        wake: Option<&Wake>,
        patience: Duration,
        watcher: &dyn Watcher,
    ) -> bool {
        let clock = &groups.clock;
        let end = clock.now().after(patience);
        loop {
            // It may be told at any time that this is to end sooner, and not every caller can be woken.
            let end = end.min(*groups.lock_terminate_at());
            let left = end.until(clock.now()).unwrap_or(Duration::MAX);
            if self.await_exit(groups, wake, left.min(RETIREMENT_TICK), watcher, None) {
                return true;
            }
            if left <= RETIREMENT_TICK || groups.is_killing() {
                return false;
            }
        }
    }

    /// Takes one step of the ladder, and says how long to wait for what comes of it.
    pub(crate) fn tell(&mut self, step: Stop, grace: Duration) -> Duration {
        self.close_stdin();
        match step {
            Stop::Retire => grace,
            Stop::Terminate => {
                let _ = kill_process_group(self.group, Signal::TERM);
                let _ = kill_process_group(self.group, Signal::CONT);
                grace
            }
            Stop::Kill => {
                let _ = kill_process_group(self.group, Signal::KILL);
                KILL_PATIENCE
            }
        }
    }

    /// Waits for a process that was killed, whatever else is going on.
    fn await_death(&self, patience: Duration) -> bool {
        let clock = Clock::new();
        let end = clock.now().after(patience);
        while !self.has_exited() {
            let now = clock.now();
            if now >= end {
                return false;
            }
            let left = end.until(now);
            let _ = match &self.exit {
                Some(exit) => {
                    poll(&mut [PollFd::new(exit, PollFlags::IN)], timespec(left).as_ref())
                }
                None => poll(&mut [], timespec(Some(EXIT_TICK)).as_ref()),
            };
        }
        true
    }

    /// Reaps the exited leader and kills what is left of its group. `None`: it could not be killed, and
    /// is left behind.
    ///
    /// The group is killed while the leader is a zombie and still holds the group's number: after
    /// that the number might be another's.
    pub(crate) fn reap(&mut self, groups: &Groups) -> Option<ExitStatus> {
        let members = groups.lock();
        let _ = kill_process_group(self.group, Signal::KILL);
        self.forget(members)
    }

    /// From now on waits are for what the process has left running: it has exited, and is not reaped
    /// yet, so that its group can still be signalled.
    pub(crate) fn outlive(&mut self) {
        self.is_outlived = true;
    }

    /// Reaps the exited leader and lets what is left of its group live, which is never signalled again;
    /// but not if all processes are being killed. Returns whether there is anything left as well.
    pub(crate) fn release(&mut self, groups: &Groups) -> (Option<ExitStatus>, bool) {
        let members = groups.lock();
        let is_killed = groups.is_killing();
        if is_killed {
            let _ = kill_process_group(self.group, Signal::KILL);
        } else if members.stopped {
            // Nobody else would let it go on.
            let _ = kill_process_group(self.group, Signal::CONT);
        }
        let status = self.forget(members);
        let is_left = !is_killed && test_kill_process_group(self.group) != Err(Errno::SRCH);
        (status, is_left)
    }

    /// Whether anything of a group that was released is there for so long.
    pub(crate) fn lasts(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut tick = FIRST_TICK;
        while test_kill_process_group(self.group) != Err(Errno::SRCH) {
            if Instant::now() >= end {
                return true;
            }
            let _ = poll(&mut [], timespec(Some(tick)).as_ref());
            tick *= 2;
        }
        false
    }

    /// What is alive of the group, or holds stdout or stderr open, by name; `None`: that can't be told.
    pub(crate) fn leftovers(&self) -> Option<Vec<String>> {
        let pipes = [&self.stdout, &self.stderr].into_iter().flatten();
        let pipes: Vec<u64> = pipes.filter_map(|pipe| Some(fstat(pipe).ok()?.st_ino)).collect();
        leftovers::names(self.group, &pipes)
    }

    /// Takes the group off the list, and reaps the leader. It is done in that order, since a group whose
    /// leader was reaped must not be signalled.
    fn forget(&mut self, mut members: MutexGuard<'_, Members>) -> Option<ExitStatus> {
        members.remove(self.group);
        self.is_over = true;
        let status = self.child.try_wait().ok().flatten();
        drop(members);
        status.or_else(|| self.status_of_traced())
    }

    /// The status of a process that has exited and could not be reaped, since it is traced.
    fn status_of_traced(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + TRACER_PATIENCE;
        let mut tick = FIRST_TICK;
        while self.has_exited() && Instant::now() < end {
            let _ = poll(&mut [], timespec(Some(tick)).as_ref());
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(status) => return status,
                Err(_) => return None,
            }
            tick = (2 * tick).min(EXIT_TICK);
        }
        if self.has_exited() { leftovers::status(self.group) } else { None }
    }

    /// Reaps the process, and passes on the last it has written to stderr.
    fn bury(&mut self, groups: &Groups, watcher: &dyn Watcher) -> Option<ExitStatus> {
        let status = self.reap(groups);
        while matches!(self.forward_stderr(watcher), Progress::Moved(_)) {}
        if !self.unfinished.is_empty() || self.in_line {
            // What follows on stderr must not stand behind it on the same line.
            self.unfinished.push(b'\n');
        }
        self.pass_on(self.unfinished.len(), watcher);
        status
    }

    /// Whether the process is a zombie by now. It is not reaped by this. Where there is a descriptor for
    /// that, it counts, as in all waits: a traced zombie is kept from its parent.
    pub(crate) fn has_exited(&self) -> bool {
        if let Some(exit) = &self.exit {
            let mut fds = [PollFd::new(exit, PollFlags::IN)];
            return matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..));
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.group), options), Ok(None))
    }

    fn pass_on(&mut self, count: usize, watcher: &dyn Watcher) {
        if let Some(last) = count.checked_sub(1) {
            watcher.worker_stderr(&self.unfinished[..count]);
            self.in_line = self.unfinished[last] != b'\n';
            self.unfinished.drain(..count);
            self.waits_since = None;
        }
        if !self.unfinished.is_empty() {
            self.waits_since.get_or_insert_with(Instant::now);
        }
    }
}

impl Drop for Process {
    /// A process that nobody stopped (a thread panicked) is killed, not left behind, and not left on the
    /// list of groups, where its number might soon be another's.
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process_group(self.group, Signal::KILL);
            self.await_death(KILL_PATIENCE);
            if let Some(groups) = self.groups.upgrade() {
                self.reap(&groups);
            }
        }
    }
}

/// Says how a process ended, as a phrase behind its name.
pub(crate) fn describe(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "could not be killed, left behind".into();
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(number)) => {
            let name = signal_hook::low_level::signal_name(number).unwrap_or("an unnamed signal");
            let core = if status.core_dumped() { ", core dumped" } else { "" };
            format!("was killed by {name} (signal {number}{core})")
        }
        (None, None) => format!("ended ({status})"),
    }
}

#[cfg(target_os = "linux")]
fn exit_descriptor(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn exit_descriptor(_: Pid) -> Option<OwnedFd> {
    None
}

fn read_some(pipe: BorrowedFd<'_>, into: &mut Vec<u8>) -> Progress {
    if into.capacity() - into.len() < READ_SIZE / 2 {
        into.reserve(READ_SIZE);
    }
    match rustix::io::read(pipe, spare_capacity(into)) {
        Ok(0) => Progress::Closed,
        Ok(count) => Progress::Moved(count),
        Err(Errno::AGAIN | Errno::INTR) => Progress::Blocked,
        Err(_) => Progress::Closed,
    }
}

fn timespec(timeout: Option<Duration>) -> Option<Timespec> {
    // Rounded up by poll itself; a wait of more than a year is as good as one without end.
    let timeout = timeout?.min(Duration::from_secs(365 * 24 * 3600));
    Timespec::try_from(timeout).ok()
}
