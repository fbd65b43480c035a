//! Notices processes that are stopped, whoever stopped them. No descriptor tells of a stop, and a process
//! that is stopped for the terminal is not continued by anybody: its job would never end.
//!
//! One thread looks after all groups of a pool: often while processes are young, and then every half
//! second. Where this process is to reap orphans (as PID 1), the same thread does it.

use std::fmt;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

/// How long after the start of a process the first look is…
const FIRST: Duration = Duration::from_millis(20);
/// …and how far apart looks are in the end. In between the distance doubles.
const LAST: Duration = Duration::from_millis(500);

/// While there is nothing to look after.
const IDLE: Duration = Duration::from_secs(3600);

/// All processes of the system are looked through for no more than this part of the time.
const MOST_OF_THE_TIME: u32 = 100;

const STACK: usize = 256 << 10;

/// A process that was found stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// The number and the name of the process, if it is not the leader of its group.
    member: Option<(Pid, String)>,
    /// What it was stopped by; `None`: the system does not say.
    signal: Option<i32>,
}

impl Stopped {
    /// Whether it touched the terminal. Nobody will continue it, and it would only be stopped again.
    pub(crate) fn wanted_terminal(&self) -> bool {
        self.signal == Some(Signal::TTIN.as_raw()) || self.signal == Some(Signal::TTOU.as_raw())
    }

    /// What to do about one that wanted the terminal.
    pub(crate) fn advice() -> &'static str {
        "jobs can't use the terminal: give it what it asks for as an argument, in a file or by an agent \
         (as with 'ssh -o BatchMode=yes' or 'sudo -n'), or run it without procpool"
    }

    /// What to do about one that was stopped by somebody.
    pub(crate) fn remedy(&self, leader: u32) -> String {
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
        let name = self.signal.and_then(signal_hook::low_level::signal_name);
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

/// Rings where the thread waits that looks after the groups.
#[derive(Debug)]
pub(super) struct Bell(Sender<()>);

impl Bell {
    pub(super) fn ring(&self) {
        let _ = self.0.send(());
    }
}

/// What there is to look after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Groups of processes.
    Groups,
    /// Orphans that may come.
    Orphans,
    /// Nothing, until the bell rings.
    Nothing,
}

/// Starts the thread that looks, which ends when there is nobody to look for. Where there is no room for
/// it, stops are not noticed.
pub(super) fn start(look: impl Fn(&mut Survey) -> Option<Care> + Send + 'static) -> Bell {
    let (bell, rung) = channel();
    let run = move || watch(&look, &rung);
    let _ = thread::Builder::new().name("stops".into()).stack_size(STACK).spawn(run);
    Bell(bell)
}

fn watch(look: &impl Fn(&mut Survey) -> Option<Care>, bell: &Receiver<()>) {
    let mut survey = Survey::new();
    let mut pause = FIRST;
    loop {
        pause = match bell.recv_timeout(pause) {
            // What was started is looked at when it has had time to do something.
            Ok(()) => FIRST,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => match look(&mut survey) {
                Some(Care::Groups) => (pause * 2).min(LAST),
                Some(Care::Orphans) => LAST,
                Some(Care::Nothing) => IDLE,
                None => return,
            },
        };
    }
}

/// Looks through all processes of the system, and not too often.
#[derive(Debug)]
pub(super) struct Survey {
    /// Without a terminal no process is stopped for it.
    pub(super) has_terminal: bool,
    /// When that was done last, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl Survey {
    fn new() -> Self {
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Self { has_terminal: open("/dev/tty", flags, Mode::empty()).is_ok(), last: None }
    }

    /// All processes, where the system tells; none, if it is too soon to look again.
    pub(super) fn processes(&mut self) -> Vec<Stat> {
        let is_too_soon = |(at, took): (Instant, Duration)| at.elapsed() < took * MOST_OF_THE_TIME;
        if self.last.is_some_and(is_too_soon) {
            return Vec::new();
        }
        let began = Instant::now();
        let names =
            fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
        let pids = names
            .filter_map(|name| Pid::from_raw(name.to_str()?.parse().ok().filter(|&pid| pid > 0)?));
        let found = pids.filter_map(Stat::of).collect();
        self.last = Some((began, began.elapsed()));
        found
    }
}

/// What a process of this one was stopped by, if it is stopped.
pub(super) fn stop_of(leader: Pid) -> Option<Stopped> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(leader), options).ok()??;
    Some(Stopped { member: None, signal: status.stopping_signal() })
}

/// Whether any child of this process is a zombie.
pub(super) fn is_any_zombie() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Ok(Some(_)))
}

/// Reaps a zombie.
pub(super) fn reap(pid: Pid) {
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// What the system tells of a process.
#[derive(Debug)]
pub(super) struct Stat {
    pub(super) pid: Pid,
    name: String,
    state: u8,
    parent: Option<Pid>,
    pub(super) group: Option<Pid>,
    /// What a stopped one was stopped by.
    signal: Option<i32>,
}

impl Stat {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&text))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    /// Whether it is a zombie that is this process's to reap.
    pub(super) fn is_zombie_of(&self, parent: Pid) -> bool {
        self.state == b'Z' && self.parent == Some(parent)
    }

    /// What it is stopped by now: it may have been stopped and continued with all others meanwhile.
    pub(super) fn stop(&self) -> Option<Stopped> {
        let Self { name, signal, .. } = Self::of(self.pid).filter(Self::is_stopped)?;
        Some(Stopped { member: Some((self.pid, name)), signal })
    }

    fn parse(pid: Pid, text: &str) -> Option<Self> {
        // A name may hold any sign, brackets too.
        let (start, end) = (text.find('(')? + 1, text.rfind(')')?);
        let fields: Vec<&str> = text.get(end + 1..)?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
        // Of one that is vanishing they are -1.
        let process = |at| number(at).filter(|&pid| pid > 0).and_then(Pid::from_raw);
        Some(Self {
            pid,
            name: text.get(start..end)?.to_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: process(1),
            group: process(2),
            signal: number(49).filter(|&signal| signal > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn a_name_does_not_pass_for_fields() {
        let pid = Pid::INIT;
        let text = format!("1 (a) T 1 (b) S 7 8{} 21 0\n", " 0".repeat(46));
        let stat = Stat::parse(pid, &text).expect("it is whole");
        assert_eq!((stat.name.as_str(), stat.state), ("a) T 1 (b", b'S'));
        assert_eq!((stat.parent, stat.group), (Pid::from_raw(7), Pid::from_raw(8)));
        assert_eq!(stat.signal, Some(21));
        let vanishing = Stat::parse(pid, "1 (a) X 0 -1 -1\n").expect("it is enough");
        assert_eq!((vanishing.parent, vanishing.group, vanishing.signal), (None, None, None));
        for end in 0..text.len() {
            let _ = Stat::parse(pid, &text[..end]);
        }
        assert!(Stat::of(getpid()).is_some_and(|stat| stat.pid == getpid()));
    }
}
