//! Notices processes that are stopped, whoever stopped them. No descriptor tells of a stop, and a process
//! that is stopped for the terminal is not continued by anybody: its job would never end.
//!
//! One thread looks after all groups of a pool: often while processes are young, and then every half
//! second. Where this process is to reap orphans (as PID 1), the same thread does it.

use std::fmt;
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{PoisonError, RwLockReadGuard, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, waitid};

use super::{Groups, Members};

/// How long after the start of a process the first look is…
const FIRST: Duration = Duration::from_millis(50);
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

/// Starts the thread. Where there is no room for it, stops are not noticed.
pub(super) fn start(groups: Weak<Groups>) -> Bell {
    let (bell, rung) = channel();
    let run = move || watch(&groups, &rung);
    let _ = thread::Builder::new().name("stops".into()).stack_size(STACK).spawn(run);
    Bell(bell)
}

/// Looks after the groups until they are gone.
fn watch(groups: &Weak<Groups>, bell: &Receiver<()>) {
    let (mut pause, mut scanned) = (FIRST, (Instant::now(), Duration::ZERO));
    let has_terminal = has_terminal();
    loop {
        match bell.recv_timeout(pause) {
            // What was started is looked at when it has had time to do something.
            Ok(()) => {
                pause = FIRST;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let Some(groups) = groups.upgrade() else { return };
        let (began, took) = scanned;
        let is_due = began.elapsed() >= took * MOST_OF_THE_TIME;
        let mut seen = Vec::new();
        if is_due && (has_terminal || groups.has_orphans()) {
            let began = Instant::now();
            seen = processes().collect();
            scanned = (began, began.elapsed());
        }
        groups.reap_orphans(&seen);
        let is_needed = groups.look(&seen);
        pause = if is_needed {
            (pause * 2).min(LAST)
        } else if groups.orphans.is_some() {
            LAST
        } else {
            IDLE
        };
    }
}

fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    open("/dev/tty", flags, Mode::empty()).is_ok()
}

impl Groups {
    /// What has been found stopped in a group since this was asked last.
    pub(crate) fn stopped(&self, group: Pid) -> Option<Stopped> {
        if !self.has_stops.load(Ordering::Acquire) {
            return None;
        }
        self.lock().groups.get_mut(&group)?.stop.take()
    }

    /// Looks for stopped processes, and wakes the slots of those that it finds. `seen` are the processes
    /// of the system, if they were looked through. Returns whether there is any group.
    fn look(&self, seen: &[Stat]) -> bool {
        let mut members = self.lock();
        members.rings = true;
        if !members.stopped {
            note_stops(&mut members, seen);
        }
        let has_stops = members.groups.values().any(|member| member.stop.is_some());
        self.has_stops.store(has_stops, Ordering::Release);
        for member in members.groups.values().filter(|member| member.stop.is_some()) {
            member.wake.notify();
        }
        !members.groups.is_empty()
    }

    /// To be held while a process is started whose number is not known yet: a zombie that is nobody's
    /// may be that process.
    pub(super) fn starting(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let lock = self.orphans.as_ref()?;
        Some(lock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether orphans are to be reaped, and some process waits for that.
    fn has_orphans(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.orphans.is_some() && matches!(waitid(WaitId::All, options), Ok(Some(_)))
    }

    /// Reaps the zombies that are nobody's. Those of this process are its slots' to reap.
    fn reap_orphans(&self, seen: &[Stat]) {
        let Some(lock) = &self.orphans else { return };
        let me = getpid();
        let mut zombies = seen.iter().filter(|stat| stat.state == b'Z' && stat.parent == Some(me));
        let Some(first) = zombies.next() else { return };
        let _nothing_is_started = match lock.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            // The next look is soon.
            Err(TryLockError::WouldBlock) => return,
        };
        let members = self.lock();
        let guardian = members.guardian.as_ref().and_then(|guardian| guardian.pid());
        for Stat { pid, .. } in std::iter::once(first).chain(zombies) {
            if !members.groups.contains_key(pid) && guardian != Some(*pid) {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                let _ = waitid(WaitId::Pid(*pid), options);
            }
        }
    }
}

fn note_stops(members: &mut Members, seen: &[Stat]) {
    for (group, member) in &mut members.groups {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if let Ok(Some(status)) = waitid(WaitId::Pid(*group), options) {
            member.note(Stopped { member: None, signal: status.stopping_signal() });
        }
    }
    // A leader may go on while one of its group is stopped: it waits for that, and takes no notice.
    for stat in seen.iter().filter(|stat| stat.state == b'T' && Some(stat.pid) != stat.group) {
        if let Some(group) = stat.group
            && let Some(member) = members.groups.get_mut(&group)
            // It may have been stopped and continued with all others meanwhile.
            && let Some(Stat { state: b'T', name, signal, .. }) = stat_of(stat.pid)
        {
            member.note(Stopped { member: Some((stat.pid, name)), signal });
        }
    }
}

/// What the system tells of a process.
struct Stat {
    pid: Pid,
    name: String,
    state: u8,
    parent: Option<Pid>,
    group: Option<Pid>,
    /// What a stopped one was stopped by.
    signal: Option<i32>,
}

/// All processes that there are, where the system tells.
fn processes() -> impl Iterator<Item = Stat> {
    let names =
        fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| stat_of(Pid::from_raw(name.to_str()?.parse().ok()?)?))
}

fn stat_of(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    Stat::parse(pid, &String::from_utf8_lossy(&text))
}

impl Stat {
    fn parse(pid: Pid, text: &str) -> Option<Self> {
        // A name may hold any sign, brackets too.
        let (start, end) = (text.find('(')? + 1, text.rfind(')')?);
        let fields: Vec<&str> = text.get(end + 1..)?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
        Some(Self {
            pid,
            name: text.get(start..end)?.to_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: number(1).and_then(Pid::from_raw),
            group: number(2).and_then(Pid::from_raw),
            signal: number(49).filter(|&signal| signal > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_pass_for_fields() {
        let pid = Pid::INIT;
        let text = format!("1 (a) T 1 (b) S 7 8{} 21 0\n", " 0".repeat(46));
        let stat = Stat::parse(pid, &text).expect("it is whole");
        assert_eq!((stat.name.as_str(), stat.state), ("a) T 1 (b", b'S'));
        assert_eq!((stat.parent, stat.group), (Pid::from_raw(7), Pid::from_raw(8)));
        assert_eq!(stat.signal, Some(21));
        for end in 0..text.len() {
            let _ = Stat::parse(pid, &text[..end]);
        }
        assert!(stat_of(getpid()).is_some_and(|stat| stat.pid == getpid()));
    }
}
