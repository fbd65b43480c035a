//! Signals, as the events that a run knows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// To end: the first time in an orderly way, the second time at once.
    End(i32),
    /// To end at once.
    Quit(i32),
    /// To stand still until the shell says otherwise (Ctrl-Z).
    Suspend,
}

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    quit: Option<Signal>,
    suspend: Option<Signal>,
    resume: Option<Signal>,
    /// It was told to go on, which has not been taken notice of yet.
    is_resumed: Arc<AtomicBool>,
}

/// Linux's and every other Unix's number of it, but for MIPS.
const SIGTSTP: i32 = rustix::process::Signal::TSTP.as_raw();

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
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            (!is_ignored).then(|| signal(kind)).transpose()
        };
        let is_resumed = Arc::new(AtomicBool::new(false));
        flag::register(SIGCONT, Arc::clone(&is_resumed))?;
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            suspend: listen(SignalKind::from_raw(SIGTSTP))?,
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
                () = next(&mut self.suspend) => return Caught::Suspend,
                () = next(&mut self.resume) => self.is_resumed.store(false, Ordering::SeqCst),
            }
        }
    }

    /// Stands still until the process is told to go on. It may have been told already, while the workers
    /// were stopped: nobody would tell it again. (Between the question here and the stop are two
    /// microseconds; shells don't send CONT before they have seen the stop.)
    pub fn suspend(&self) {
        use rustix::process::{Signal, getpid};
        // The shell is next.
        crate::terminal::restore();
        if !self.is_resumed.load(Ordering::SeqCst) {
            let _ = rustix::process::kill_process(getpid(), Signal::STOP);
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

/// Makes a file that has reached the limit of its size (`ulimit -f`) an error, not the end.
pub fn outlive_file_limit() {
    let caught = Arc::new(AtomicBool::new(false));
    let _ = flag::register(rustix::process::Signal::XFSZ.as_raw(), caught);
}

/// A parent that ignores SIGCHLD has its children ignore it too, and then the system keeps no exit status
/// for them. Where that can't be told it is taken to be so.
pub fn hear_of_children() {
    let signal = rustix::process::Signal::CHILD.as_raw();
    if mask().is_none_or(|mask| mask >> (signal - 1) & 1 == 1) {
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
        if ignored() >> (signal - 1) & 1 == 0 {
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
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
