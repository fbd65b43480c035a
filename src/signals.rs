//! Signals, as the events that a run knows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
}

/// Linux's and every other Unix's number of it, but for MIPS.
const SIGTSTP: i32 = rustix::process::Signal::TSTP.as_raw();

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
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            suspend: listen(SignalKind::from_raw(SIGTSTP))?,
        })
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Caught {
        tokio::select! {
            () = next(&mut self.interrupt) => Caught::End(SignalKind::interrupt().as_raw_value()),
            () = next(&mut self.terminate) => Caught::End(SignalKind::terminate().as_raw_value()),
            () = next(&mut self.hangup) => Caught::End(SignalKind::hangup().as_raw_value()),
            () = next(&mut self.quit) => Caught::Quit(SignalKind::quit().as_raw_value()),
            () = next(&mut self.suspend) => Caught::Suspend,
        }
    }
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
    let _ = signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), caught);
}

/// Stands still until the process is told to go on.
pub fn suspend_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
}

/// The signals that are ignored, a bit each. Only Linux tells; elsewhere none is taken to be.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
