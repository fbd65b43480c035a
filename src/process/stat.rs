//! Facts of the system about any process: its line in `/proc/PID/stat`, and a look at all processes.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Pid;

/// A process has this flag while it exits: it is about to be a zombie.
const EXITING: u32 = 4;

/// Looks at all processes take at most one of this many parts of the time.
const SHARE_OF_TIME: u32 = 100;

/// The same, if jobs have a limit of memory.
const SHARE_FOR_MEMORY: u32 = 20;

/// Facts of the system about a process.
#[derive(Debug)]
pub(super) struct Stat {
    pub(super) pid: Pid,
    pub(super) name: String,
    state: u8,
    pub(super) parent: Option<Pid>,
    pub(super) group: Option<Pid>,
    session: Option<Pid>,
    flags: u32,
    /// Its resident memory, in pages.
    resident: u64,
    /// The status of a zombie. Of a stopped process: the signal that stopped it.
    exit_code: Option<i32>,
}

impl Stat {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&text))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    pub(super) fn is_zombie(&self) -> bool {
        self.state == b'Z'
    }

    pub(super) fn is_zombie_of(&self, parent: Pid) -> bool {
        self.is_zombie() && self.parent == Some(parent)
    }

    /// Whether it is certain that `me` has not started it. What this process starts leads a group in its own
    /// session, or is in its own group.
    pub(super) fn was_not_started_by(&self, me: &Self) -> bool {
        let leads = self.group == Some(self.pid);
        self.session != me.session || !(leads || self.group == me.group)
    }

    /// Whether it has exited, or is just about to.
    pub(super) fn is_exiting(&self) -> bool {
        matches!(self.state, b'Z' | b'X') || self.flags & EXITING != 0
    }

    /// The signal that stopped it.
    pub(super) fn stop_signal(&self) -> Option<i32> {
        self.exit_code.filter(|&signal| signal > 0)
    }

    /// Its resident memory, in bytes. Pages that it shares with others count in full.
    pub(super) fn resident(&self) -> u64 {
        self.resident * rustix::param::page_size() as u64
    }

    /// The status of a zombie.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        self.exit_code.map(ExitStatus::from_raw)
    }

    fn parse(pid: Pid, text: &str) -> Option<Self> {
        // The name may contain any character, also parentheses and spaces.
        let (start, end) = (text.find('(')? + 1, text.rfind(')')?);
        let fields: Vec<&str> = text.get(end + 1..)?.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i32>().ok());
        // The numbers of a process that is vanishing are -1.
        let process = |at| number(at).filter(|&pid| pid > 0).and_then(Pid::from_raw);
        Some(Self {
            pid,
            name: text.get(start..end)?.to_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: process(1),
            group: process(2),
            session: process(3),
            flags: fields.get(6).and_then(|field| field.parse().ok()).unwrap_or(0),
            resident: fields.get(21).and_then(|field| field.parse().ok()).unwrap_or(0),
            exit_code: number(49),
        })
    }
}

/// The numbers of all processes, where the system tells; otherwise none.
pub(super) fn all_pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        Pid::from_raw(entry.file_name().to_str()?.parse().ok().filter(|&pid| pid > 0)?)
    })
}

/// Looks at all processes of the system, but not too often.
#[derive(Debug)]
pub(super) struct Survey {
    /// Whether this process has a terminal. Without one no process is stopped for it.
    pub(super) has_terminal: bool,
    /// When the last look began, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl Survey {
    pub(super) fn new() -> Self {
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Self { has_terminal: open("/dev/tty", flags, Mode::empty()).is_ok(), last: None }
    }

    /// All processes, where the system tells; none if it is too soon to look again.
    pub(super) fn processes(&mut self, for_memory: bool) -> Vec<Stat> {
        let share = if for_memory { SHARE_FOR_MEMORY } else { SHARE_OF_TIME };
        let is_too_soon = |(at, took): (Instant, Duration)| at.elapsed() < took * share;
        if self.last.is_some_and(is_too_soon) {
            return Vec::new();
        }
        let began = Instant::now();
        let found = all_pids().filter_map(Stat::of).collect();
        self.last = Some((began, began.elapsed()));
        found
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn the_memory_of_this_process_is_known() {
        let resident = Stat::of(getpid()).map(|stat| stat.resident());
        assert!(resident.is_none_or(|bytes| bytes > 100_000), "{resident:?}");
    }

    #[test]
    fn a_name_does_not_pass_for_fields() {
        let pid = Pid::INIT;
        let text = format!("1 (a) T 1 (b) S 7 8{} 21 0\n", " 0".repeat(46));
        let stat = Stat::parse(pid, &text).expect("it is whole");
        assert_eq!((stat.name.as_str(), stat.state), ("a) T 1 (b", b'S'));
        assert_eq!((stat.parent, stat.group), (Pid::from_raw(7), Pid::from_raw(8)));
        assert_eq!(stat.stop_signal(), Some(21));
        let vanishing = Stat::parse(pid, "1 (a) X 0 -1 -1\n").expect("it is enough");
        assert_eq!((vanishing.parent, vanishing.group), (None, None));
        assert_eq!(vanishing.stop_signal(), None);
        for end in 0..text.len() {
            let _ = Stat::parse(pid, &text[..end]);
        }
        assert!(Stat::of(getpid()).is_some_and(|stat| stat.pid == getpid()));
    }
}
