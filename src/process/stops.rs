//! Stopped processes, and groups with too much memory: one thread finds them. `Stopped` says in messages what stopped a process and what to
//! do. Where this process must reap orphans (as PID 1), the same thread does that.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::signal::signal_name;
use super::stat::Stat;
use super::stat::Survey;

/// The time from the start of a process to the first look. It doubles with each look.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest time between two looks.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The longest time between two looks, if jobs have a limit of memory.
const MEMORY_PAUSE: Duration = Duration::from_millis(100);

/// The time between two looks while there is nothing to look for.
const IDLE_PAUSE: Duration = Duration::from_secs(3600);

/// The stack of the thread, in bytes.
const STACK: usize = 256 << 10;

/// A process that was found stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// The number and the name of the process; `None`: it is the leader of its group.
    member: Option<(Pid, String)>,
    /// The signal that stopped it; `None`: the system does not say.
    signal: Option<i32>,
}

impl Stopped {
    /// Whether it was stopped because it touched the terminal. Nobody continues such a process, and it
    /// would only be stopped again.
    pub(crate) fn wanted_terminal(&self) -> bool {
        self.signal == Some(Signal::TTIN.as_raw()) || self.signal == Some(Signal::TTOU.as_raw())
    }

    /// What a user can do about a process that wanted the terminal.
    pub(crate) fn advice() -> &'static str {
        "jobs can't use the terminal: give it what it asks for as an argument, in a file or by an agent \
         (as with 'ssh -o BatchMode=yes' or 'sudo -n'), or run it without procpool"
    }

    /// How a user can continue a process that somebody has stopped. `leader`: the leader of its group.
    pub(crate) fn how_to_continue(&self, leader: u32) -> String {
        let pid = self.member.as_ref().map_or(leader.to_string(), |(pid, _)| pid.to_string());
        format!("procpool waits for it. To continue it: kill -CONT {pid}")
    }
}

/// As a phrase after the name of the leader.
impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((pid, name)) = &self.member {
            write!(f, "has a process ({name}, pid {pid}) that ")?;
        }
        let name = self.signal.and_then(signal_name);
        match (self.signal, name) {
            (Some(signal), _) if signal == Signal::TTIN.as_raw() => {
                f.write_str("wanted to read from the terminal and was stopped (SIGTTIN)")
            }
            (Some(signal), _) if signal == Signal::TTOU.as_raw() => {
                f.write_str("wanted to set or to use the terminal and was stopped (SIGTTOU)")
            }
            (Some(signal), Some(name)) => {
                write!(f, "was stopped by {name} (signal {signal}), not by procpool")
            }
            (Some(signal), None) => write!(f, "was stopped by signal {signal}, not by procpool"),
            (None, _) => f.write_str("was stopped, not by procpool"),
        }
    }
}

/// Notifies the thread that looks for stops. There is a thread, since no descriptor shows that a process was
/// stopped. It ends when this handle is dropped.
#[derive(Debug)]
pub(super) struct Monitor(Sender<()>);

impl Monitor {
    /// A process was started.
    pub(super) fn notify(&self) {
        let _ = self.0.send(());
    }
}

/// The work of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToWatch {
    /// Stopped processes in the groups.
    Groups,
    /// These, and the memory of the groups.
    Memory,
    /// Orphans that may come.
    Orphans,
    /// Nothing, until it is notified.
    Nothing,
}

/// Starts the thread. It ends when `look` returns `None`. If it can't be started, no stop is noticed.
pub(super) fn start(look: impl Fn(&mut Survey) -> Option<ToWatch> + Send + 'static) -> Monitor {
    let (sender, receiver) = channel();
    let run = move || watch(&look, &receiver);
    let _ = thread::Builder::new().name("stops".into()).stack_size(STACK).spawn(run);
    Monitor(sender)
}

fn watch(look: &impl Fn(&mut Survey) -> Option<ToWatch>, started: &Receiver<()>) {
    let mut survey = Survey::new();
    let mut pause = FIRST_PAUSE;
    loop {
        pause = match started.recv_timeout(pause) {
            // A process gets some time before the first look.
            Ok(()) => FIRST_PAUSE,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => match look(&mut survey) {
                Some(ToWatch::Groups) => (pause * 2).min(LAST_PAUSE),
                Some(ToWatch::Memory) => (pause * 2).min(MEMORY_PAUSE),
                Some(ToWatch::Orphans) => LAST_PAUSE,
                Some(ToWatch::Nothing) => IDLE_PAUSE,
                None => return,
            },
        };
    }
}

/// The stop of the leader of a group, if it is stopped.
pub(super) fn stop_of(leader: Pid) -> Option<Stopped> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let signal = match waitid(WaitId::Pid(leader), options) {
        Ok(status) => status?.stopping_signal(),
        // It is the child of its nursery.
        Err(_) => Stat::of(leader).filter(Stat::is_stopped)?.stop_signal(),
    };
    Some(Stopped { member: None, signal })
}

/// The stop of a member of a group that was seen stopped. It is looked at again, since a pause of all groups
/// may have stopped it, and may be over.
pub(super) fn stop_of_member(seen: &Stat) -> Option<Stopped> {
    let now = Stat::of(seen.pid).filter(Stat::is_stopped)?;
    let signal = now.stop_signal();
    Some(Stopped { member: Some((now.pid, now.name)), signal })
}
