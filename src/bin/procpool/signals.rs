//! Signals, as the events that a run knows.

use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::console::Console;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// To end: the first time in an orderly way, then ever sooner.
    End(i32),
    /// To end at once.
    Quit(i32),
    /// To stand still until the shell says otherwise (Ctrl-Z).
    Suspend,
    /// To say what runs.
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
    /// A process in the background reads the terminal…
    read: Option<Signal>,
    /// …or writes to it.
    write: Option<Signal>,
    report: Option<Signal>,
    resume: Option<Signal>,
    /// It was told to go on, which has not been taken notice of yet.
    is_resumed: Arc<AtomicBool>,
}

const SIGTSTP: SignalKind = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
const SIGTTIN: SignalKind = SignalKind::from_raw(rustix::process::Signal::TTIN.as_raw());
const SIGTTOU: SignalKind = SignalKind::from_raw(rustix::process::Signal::TTOU.as_raw());
const SIGCONT: i32 = rustix::process::Signal::CONT.as_raw();

impl Signals {
    /// Begins to listen. A signal that is ignored when the process starts (as with `nohup`, or in
    /// the background of a script) stays ignored.
    ///
    /// # Errors
    /// A handler can't be installed.
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored();
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
            resume: listen(SignalKind::from_raw(SIGCONT))?,
            is_resumed,
        })
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Caught {
        loop {
            tokio::select! {
                // So that it is not stopped after it was told to go on: of both, this comes last.
                biased;
                () = next(&mut self.interrupt) => return end(SignalKind::interrupt()),
                () = next(&mut self.terminate) => return end(SignalKind::terminate()),
                () = next(&mut self.hangup) => return end(SignalKind::hangup()),
                () = next(&mut self.quit) => return Caught::Quit(SignalKind::quit().as_raw_value()),
                () = next(&mut self.report) => return Caught::Report,
                () = next(&mut self.suspend) => if can_be_continued() { return Caught::Suspend },
                () = next(&mut self.read) => if reads_in_vain() { return Caught::Suspend },
                () = next(&mut self.write) => if writes_in_vain() { return Caught::Suspend },
                () = next(&mut self.resume) => self.is_resumed.store(false, Ordering::SeqCst),
            }
        }
    }

    /// Stands still until the process is told to go on. It may have been told already, while the workers
    /// were stopped: nobody would tell it again. (Between the question here and the stop are two
    /// microseconds; shells don't send CONT before they have seen the stop.)
    pub fn suspend(&self) {
        // The shell is next.
        crate::terminal::restore();
        if !self.is_resumed.load(Ordering::SeqCst) {
            // To this thread, which then stops here. Sent to the process it would go to another thread, and
            // this one would go on for a moment, and tell the workers to.
            let _ = signal_hook::low_level::raise(rustix::process::Signal::STOP.as_raw());
        }
    }
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

/// Makes a file that has reached the limit of its size (`ulimit -f`) an error, not the end. Signals of the
/// user's own do no harm, however early they come.
pub fn outlive_harmless() {
    use rustix::process::Signal;
    let (caught, ignored) = (Arc::new(AtomicBool::new(false)), ignored());
    for signal in [Signal::XFSZ, Signal::USR1, Signal::USR2, Signal::TTIN].map(Signal::as_raw) {
        if !is_among(ignored, signal) {
            let _ = flag::register(signal, Arc::clone(&caught));
        }
    }
}

/// Who a process belongs to.
struct Kin {
    parent: i32,
    group: i32,
    session: i32,
    is_over: bool,
}

impl Kin {
    /// That of a process, or of `self`. Only Linux tells. In a container, a number that is not seen from
    /// there is 0, which is why it is not asked for with `getsid` and the like.
    fn of(process: impl AsRef<Path>) -> Option<Self> {
        let stat = fs::read_to_string(Path::new("/proc/").join(process).join("stat")).ok()?;
        // What is before is the name, which may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_over = matches!(fields.next()?, "Z" | "X");
        let mut number = || fields.next()?.parse().ok();
        Some(Self { parent: number()?, group: number()?, session: number()?, is_over })
    }
}

/// Whether anybody can tell this process to go on once it has stopped. It is the system's own rule for
/// Ctrl-Z: some process of the group must have a parent in the same session, but in another group. A shell
/// is such a parent; the leader of a session has none. Where that is not known, somebody can.
fn can_be_continued() -> bool {
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

/// Whether the system has stopped the group since the input is read from a terminal that is another's now.
/// TTIN from somebody else means nothing.
fn reads_in_vain() -> bool {
    io::stdin().is_terminal() && is_in_background(io::stdin()) && can_be_continued()
}

/// The same for what is written to the terminal, where its settings forbid that (`stty tostop`).
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

/// Whether a terminal is another group's now.
pub fn is_in_background(terminal: impl AsFd) -> bool {
    let tell = || rustix::process::getpgrp().as_raw_pid();
    let own = Kin::of("self").map_or_else(tell, |kin| kin.group);
    tcgetpgrp(terminal).is_ok_and(|group| group.as_raw_pid() != own)
}

fn is_among(signals: u64, signal: i32) -> bool {
    signals >> (signal - 1) & 1 == 1
}

/// A parent that ignores SIGCHLD has its children ignore it too, and then the system keeps no exit status
/// for them. Where that can't be told it is taken to be so.
pub fn hear_of_children() {
    let signal = rustix::process::Signal::CHILD.as_raw();
    if mask().is_none_or(|mask| is_among(mask, signal)) {
        // It does not matter what the handler does. What is started begins without it.
        let _ = flag::register(signal, Arc::default());
    }
}

/// PID 1 does not end by a signal without a handler. Until the run listens to signals it ends at once by
/// those that end it otherwise.
#[derive(Debug)]
pub struct Early(Arc<AtomicBool>);

impl Drop for Early {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// See [`Early`]; `None`: this process is not PID 1.
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

/// The signals that are ignored, a bit each. Only Linux tells; elsewhere none is taken to be.
fn ignored() -> u64 {
    mask().unwrap_or_default()
}

fn mask() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
