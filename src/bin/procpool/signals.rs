//! Which signals this process listens to, ignores or survives, and whether it may be stopped.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::console::Console;

/// A signal, by its meaning for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// End. The first one lets jobs finish, and later ones end them sooner.
    End(i32),
    /// End at once.
    Quit(i32),
    /// Stop until the shell continues the process (Ctrl-Z).
    Suspend,
    /// Print which jobs run.
    Report,
}

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    quit: Option<Signal>,
    suspend: Option<Signal>,
    /// TTIN: a process in the background reads the terminal.
    read: Option<Signal>,
    /// TTOU: a process in the background writes to the terminal.
    write: Option<Signal>,
    report: Option<Signal>,
    /// INFO (Ctrl-T), where there is such a signal.
    info: Option<Signal>,
    resume: Option<Signal>,
    /// A CONT has come and was not handled yet.
    is_resumed: Arc<AtomicBool>,
}

const SIGTSTP: SignalKind = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
const SIGTTIN: SignalKind = SignalKind::from_raw(rustix::process::Signal::TTIN.as_raw());
const SIGTTOU: SignalKind = SignalKind::from_raw(rustix::process::Signal::TTOU.as_raw());
const SIGCONT: i32 = rustix::process::Signal::CONT.as_raw();

impl Signals {
    /// Begins to listen. A signal that is ignored when the process starts stays ignored. `nohup` does that, and
    /// so does a script for its background.
    ///
    /// # Errors
    /// A handler can't be installed.
    pub fn listen() -> io::Result<Self> {
        Self::listen_unless(ignored())
    }

    /// As [`Signals::listen`], but HUP always counts: it does not end a server.
    ///
    /// # Errors
    /// A handler can't be installed.
    pub fn listen_as_server() -> io::Result<Self> {
        Self::listen_unless(ignored() & !bit(rustix::process::Signal::HUP.as_raw()))
    }

    fn listen_unless(ignored: u64) -> io::Result<Self> {
        let listen = |kind: SignalKind| {
            (!is_among(ignored, kind.as_raw_value())).then(|| signal(kind)).transpose()
        };
        let is_resumed = Arc::new(AtomicBool::new(false));
        flag::register(SIGCONT, Arc::clone(&is_resumed))?;
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            suspend: listen(SIGTSTP)?,
            read: listen(SIGTTIN)?,
            write: listen(SIGTTOU)?,
            report: listen(SignalKind::user_defined1())?,
            info: info().map_or(Ok(None), listen)?,
            resume: listen(SignalKind::from_raw(SIGCONT))?,
            is_resumed,
        })
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Caught {
        loop {
            tokio::select! {
                // CONT comes last. Otherwise a Ctrl-Z that came before it would stop the process after it.
                biased;
                () = next(&mut self.interrupt) => return end(SignalKind::interrupt()),
                () = next(&mut self.terminate) => return end(SignalKind::terminate()),
                () = next(&mut self.hangup) => return end(SignalKind::hangup()),
                () = next(&mut self.quit) => return Caught::Quit(SignalKind::quit().as_raw_value()),
                () = next(&mut self.report) => return Caught::Report,
                () = next(&mut self.info) => return Caught::Report,
                () = next(&mut self.suspend) => if can_be_continued() { return Caught::Suspend },
                () = next(&mut self.read) => if reads_in_vain() { return Caught::Suspend },
                () = next(&mut self.write) => if writes_in_vain() { return Caught::Suspend },
                () = next(&mut self.resume) => self.is_resumed.store(false, Ordering::SeqCst),
            }
        }
    }

    /// Stops this process until a CONT. If the CONT came while the workers were being stopped, this does nothing,
    /// because no other CONT would come. (A CONT in the two microseconds between the check and the stop would be lost.
    /// But a shell sends CONT only after it has seen the stop.)
    pub fn suspend(&self) {
        // The shell uses the terminal next.
        crate::terminal::restore();
        if !self.is_resumed.load(Ordering::SeqCst) {
            // The signal goes to this thread, which stops here. If it went to the process, another thread might take
            // it, and this one would continue the workers.
            let _ = signal_hook::low_level::raise(rustix::process::Signal::STOP.as_raw());
        }
        // That CONT is dealt with. The next Ctrl-Z may come before `next` sees it, and must stop this process.
        self.is_resumed.store(false, Ordering::SeqCst);
    }
}

/// The signal that Ctrl-T sends on BSD and macOS.
fn info() -> Option<SignalKind> {
    #[cfg(any(
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "macos",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    return Some(SignalKind::info());
    #[cfg(not(any(
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "macos",
        target_os = "netbsd",
        target_os = "openbsd"
    )))]
    None
}

fn end(kind: SignalKind) -> Caught {
    Caught::End(kind.as_raw_value())
}

async fn next(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Makes a file that reaches its size limit (`ulimit -f`) an error instead of the end of the process. Also makes
/// USR1, USR2 and TTIN harmless before the run listens to them. TTOU is not among them: until the run listens, the
/// system stops the process for a terminal that it must not write to. The system's loader calls this function before
/// `main`, since a signal may come at once. Children start without these handlers.
#[ctor::ctor]
fn outlive_harmless() {
    use rustix::process::Signal;
    let caught = Arc::new(AtomicBool::new(false));
    let ignored = ignored();
    for signal in [Signal::XFSZ, Signal::USR1, Signal::USR2, Signal::TTIN].map(Signal::as_raw) {
        if !is_among(ignored, signal) {
            let _ = flag::register(signal, Arc::clone(&caught));
        }
    }
}

/// The parent, the group and the session of a process.
struct Kin {
    parent: i32,
    group: i32,
    session: i32,
    is_over: bool,
}

impl Kin {
    /// The kin of a process, or of `self`. Only Linux has it. It comes from `/proc`, because `getsid` and `getpgid`
    /// return 0 for a process outside of the container.
    fn of(process: impl AsRef<Path>) -> Option<Self> {
        let stat = fs::read_to_string(Path::new("/proc/").join(process).join("stat")).ok()?;
        // Before this is the name, which may have any character.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_over = matches!(fields.next()?, "Z" | "X");
        let mut number = || fields.next()?.parse().ok();
        Some(Self { parent: number()?, group: number()?, session: number()?, is_over })
    }
}

/// Whether somebody can continue this process after it has stopped. The rule is the system's own for Ctrl-Z: some
/// process of the group must have a parent in the same session, but in another group. A shell is such a parent. The
/// leader of a session has none. If nothing is known, the answer is yes.
pub fn can_be_continued() -> bool {
    let Some(own) = Kin::of("self") else { return true };
    let is_minded = |kin: &Kin| {
        let parent = Kin::of(kin.parent.to_string());
        parent.is_some_and(|parent| parent.session == own.session && parent.group != own.group)
    };
    if is_minded(&own) {
        return true;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let group = processes.filter_map(|entry| Kin::of(entry.file_name()));
    group.filter(|kin| kin.group == own.group && !kin.is_over).any(|kin| is_minded(&kin))
}

/// Whether TTIN has come because the input is a terminal that another group uses now. A TTIN that a process has sent
/// has no effect.
fn reads_in_vain() -> bool {
    io::stdin().is_terminal() && is_in_background(io::stdin()) && can_be_continued()
}

/// Whether TTOU has come because this process writes to a terminal that another group uses now, and that forbids
/// it (`stty tostop`).
pub fn writes_in_vain() -> bool {
    let Ok(terminal) = Console::terminal() else { return false };
    let is_forbidden = || {
        tcgetattr(&terminal).is_ok_and(|settings| settings.local_modes.contains(LocalModes::TOSTOP))
    };
    (io::stdout().is_terminal() || io::stderr().is_terminal())
        && is_in_background(&terminal)
        && is_forbidden()
        && can_be_continued()
}

/// Whether another group uses the terminal now.
pub fn is_in_background(terminal: impl AsFd) -> bool {
    let tell = || rustix::process::getpgrp().as_raw_pid();
    let own = Kin::of("self").map_or_else(tell, |kin| kin.group);
    tcgetpgrp(terminal).is_ok_and(|group| group.as_raw_pid() != own)
}

fn is_among(signals: u64, signal: i32) -> bool {
    signals & bit(signal) != 0
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Makes the system keep the exit status of children, which it does not do while SIGCHLD is ignored. A process inherits
/// that from its parent. If the system does not tell, SIGCHLD counts as ignored.
pub fn hear_of_children() {
    let signal = rustix::process::Signal::CHILD.as_raw();
    if mask().is_none_or(|mask| is_among(mask, signal)) {
        // The handler does nothing. Children start without it.
        let _ = flag::register(signal, Arc::default());
    }
}

/// While this lives, the usual signals end PID 1 at once. Without a handler no signal ends PID 1. The run drops it when
/// it listens to signals itself.
#[derive(Debug)]
pub struct Early(Arc<AtomicBool>);

impl Drop for Early {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Makes signals end this process at once, until the value is dropped. `None`: this process is not PID 1.
pub fn end_early() -> Option<Early> {
    use rustix::process::Signal;
    if !rustix::process::getpid().is_init() {
        return None;
    }
    let is_early = Arc::new(AtomicBool::new(true));
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].map(Signal::as_raw) {
        if !is_among(ignored(), signal) {
            let condition = Arc::clone(&is_early);
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, condition);
        }
    }
    Some(Early(is_early))
}

/// The ignored signals, a bit each. Only Linux has them. Elsewhere no signal counts as ignored.
fn ignored() -> u64 {
    mask().unwrap_or_default()
}

/// What the caller of this process has left ignored. It is read once: this process ignores no signal by itself but
/// PIPE, which it does not ask about.
fn mask() -> Option<u64> {
    static MASK: OnceLock<Option<u64>> = OnceLock::new();
    let read = || {
        // One read has the whole file. The system makes its text anew for each read.
        let mut status = vec![0; 8 << 10];
        let len = fs::File::open("/proc/self/status").ok()?.read(&mut status).ok()?;
        let status = String::from_utf8_lossy(&status[..len]);
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    *MASK.get_or_init(read)
}
