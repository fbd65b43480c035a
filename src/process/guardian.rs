//! The guardian: a small process that kills the groups on its list when this process was killed
//! (`kill -9`) or has crashed. It notices this when its pipe from this process ends.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};

use super::stat::Stat;
use crate::util::lock::lock;

/// The guardian's code. It gets the list as its stderr, and the group of this process as its first
/// argument. A signal that is meant for this process must not end the guardian, so it ignores those.
///
/// The holder of the pipe of an unfinished start may be a child of the leader, and the leader may be gone.
/// So the guardian kills the group that the holder's stat names. After the last parenthesis the stat has
/// the state, the parent, the group and the session. A holder in another session has left its group. A
/// holder in the group of this process is not killed. A process that forks and exits during a look may be missed, so the guardian looks until it
/// finds nothing new twice.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT PIPE TERM TSTP
exec 3<&2 2>/dev/null
while read -r _; do :; done
starting=
marks=
while read -r entry; do
    case $entry in
        (pipe:*) starting="$starting $entry " ;;
        (mark:*) marks="$marks ${entry#mark:}" ;;
        (*) if [ "$entry" -gt 1 ]; then kill -s KILL -- "-$entry"; fi ;;
    esac
done <&3
if [ -z "$starting$marks" ]; then exit; fi
ours=$1
stat=$(cat /proc/$$/stat)
set -- ${stat##*) }
session=$4
group() {
    stat=$(cat "/proc/$1/stat")
    set -- ${stat##*) }
    if [ "$4" = "$session" ] && [ "$3" != "$ours" ]; then echo "$3"; fi
}
look() {
    if [ -n "$starting" ]; then
        ls -ln /proc/[0-9]*/fd/2 | while read -r line; do
            case $starting in
                (*" ${line##* -> } "*) pid=${line##* /proc/}; group "${pid%%/*}" ;;
            esac
        done
    fi
    for mark in $marks; do
        grep -lszxF "PROCPOOL_START=$mark" /proc/[0-9]*/environ | while read -r pid; do
            pid=${pid#/proc/}
            group "${pid%%/*}"
        done
    done
}
killed=' '
looks=0
while [ $looks -lt 2 ]; do
    looks=$((looks + 1))
    for group in $(look); do
        case $killed in
            (*" $group "*) ;;
            (*) kill -s KILL -- "-$group"; killed="$killed$group "; looks=0 ;;
        esac
    done
done
"#;

/// A guardian that runs already, and that no pool has taken.
static READY: Mutex<Option<GuardianProcess>> = Mutex::new(None);

/// The length of an entry of the list, in bytes: a number or a pipe, spaces, and a newline.
const ENTRY_LEN: usize = 32;

/// The variable that shows the guardian an unfinished start.
pub(super) const START_VARIABLE: &str = "PROCPOOL_START";

/// What shows the guardian an unfinished start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartMark {
    /// Its stderr is the pipe of this number.
    Pipe(u64),
    /// Its environment has this number in [`START_VARIABLE`].
    Variable(u64),
}

/// The index of an entry of the list.
#[derive(Debug)]
pub(super) struct ListEntry(usize);

/// The guardian of a pool. When it is dropped, its process kills the groups that are left and ends.
///
/// The list is a file without a name. A change costs one write to memory and wakes nobody, since a command
/// may start and end within a millisecond.
///
/// A process has no number before it is started, and this process may be killed before it has written
/// the number to the list. So the first entry of a process is the pipe that will be its stderr. If a
/// start is unfinished, the guardian finds the process and its descendants by that pipe. It can't look too
/// early: until a process has become its program, it holds copies of all open files of this process, also
/// of the guardian's pipe.
///
/// A process that writes to the stderr of this process does not have that pipe. Its mark is the number of the pipe
/// in a variable of its environment.
///
/// A process that its nursery forks has that pipe as its stderr before it leaves the group of the nursery,
/// which is on the list.
///
/// The guardian does not kill a process that has left its group (`setsid`). It misses an unfinished
/// start where there is no `/proc`, or where the process closes its stderr, or clears its environment, within a few
/// milliseconds.
#[derive(Debug)]
pub(super) struct Guardian {
    /// `None`: it could not be started. Then `kill -9` may leave processes running.
    running: Option<GuardianProcess>,
    /// The entry of each group.
    entries: HashMap<Pid, usize>,
    free: Vec<usize>,
    /// The number of entries that the list has.
    count: usize,
}

#[derive(Debug)]
pub(super) struct GuardianProcess {
    pub(super) pid: Pid,
    /// Its end tells the guardian that this process is gone.
    pub(super) pipe: OwnedFd,
    pub(super) list: File,
}

impl Guardian {
    pub(super) fn start() -> Self {
        let running = take_ready().or_else(|| GuardianProcess::start().ok());
        Self { running, entries: HashMap::new(), free: Vec::new(), count: 0 }
    }

    /// Its number, if it runs.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Announces a process that is about to be started.
    pub(super) fn announce(&mut self, start: StartMark) -> ListEntry {
        let entry = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        match start {
            StartMark::Pipe(number) => self.write(entry, &format!("pipe:[{number}]")),
            StartMark::Variable(number) => self.write(entry, &format!("mark:{number}")),
        }
        ListEntry(entry)
    }

    /// Withdraws a process that was announced and could not be started.
    pub(super) fn withdraw(&mut self, entry: ListEntry) {
        self.write(entry.0, "0");
        self.free.push(entry.0);
    }

    /// Enters the group that the announced process leads.
    pub(super) fn add(&mut self, group: Pid, entry: ListEntry) {
        self.write(entry.0, &group.as_raw_nonzero().to_string());
        self.entries.insert(group, entry.0);
    }

    /// Removes a group that is gone. Its leader must still be a zombie: after that its number may be
    /// another's.
    pub(super) fn remove(&mut self, group: Pid) {
        if let Some(entry) = self.entries.remove(&group) {
            self.withdraw(ListEntry(entry));
        }
    }

    fn write(&self, entry: usize, text: &str) {
        if let Some(running) = &self.running {
            let text = format!("{text:width$}\n", width = ENTRY_LEN - 1);
            // If the list has no room for it, the guardian knows fewer groups and the run goes on.
            let _ = running.list.write_all_at(text.as_bytes(), (entry * ENTRY_LEN) as u64);
        }
    }
}

impl GuardianProcess {
    fn start() -> io::Result<Self> {
        let list = list()?;
        let mut child = shell(own_group())
            .stdin(Stdio::piped())
            .stderr(Stdio::from(list.try_clone()?))
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { pid: Pid::from_child(&child), pipe: OwnedFd::from(pipe), list })
    }
}

/// The guardian's shell, without its pipe and its list.
pub(super) fn shell(group_of_pool: i32) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", SCRIPT, "procpool-guardian"])
        .arg(group_of_pool.to_string())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdout(Stdio::null());
    shell
}

/// The group of this process. Not `getpgrp`: as PID 1 of a container this process may be in a group without a number
/// there.
pub(super) fn own_group() -> i32 {
    Stat::of(getpid()).and_then(|stat| stat.group).map_or(0, Pid::as_raw_pid)
}

/// The guardian that runs already, if there is one.
pub(super) fn take_ready() -> Option<GuardianProcess> {
    lock(&READY).take()
}

/// Whether a guardian runs that no pool has taken.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(super) fn is_ready() -> bool {
    lock(&READY).is_some()
}

/// The next pool takes this guardian, which runs already.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(super) fn make_ready(guardian: GuardianProcess) {
    *lock(&READY) = Some(guardian);
}

/// Whether a process is on the list.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(super) fn has_entries(list: &File) -> bool {
    let mut bytes = Vec::new();
    let mut part = [0; 64 * ENTRY_LEN];
    while let Ok(count @ 1..) = list.read_at(&mut part, bytes.len() as u64) {
        bytes.extend_from_slice(&part[..count]);
    }
    // The shell decides about all that is no free entry.
    bytes.chunks(ENTRY_LEN).any(|entry| entry.trim_ascii() != b"0")
}

#[cfg(target_os = "linux")]
pub(super) fn list() -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("procpool-groups", flags).map(File::from)?)
}

#[cfg(not(target_os = "linux"))]
fn list() -> io::Result<File> {
    tempfile::tempfile()
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if let Some(GuardianProcess { pid, pipe, .. }) = self.running.take() {
            drop(pipe);
            // It ends at once, but this thread must not wait for that.
            let wait = move || waitpid(Some(pid), WaitOptions::empty());
            let _ = thread::Builder::new().name("guardian".into()).spawn(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// As after a `kill -9` between the start of a process and its entry in the list.
    #[test]
    fn a_process_whose_start_is_unfinished_is_killed() {
        let mut guardian = Guardian::start();
        let number = u64::from(std::process::id());
        guardian.announce(StartMark::Variable(number));
        let start = |number: u64| {
            let mut command = Command::new("sleep");
            command.arg("60").env(START_VARIABLE, number.to_string()).process_group(0);
            command.spawn().expect("sleep runs")
        };
        // Another run's.
        let mut other = start(number + (1 << 32));
        let mut child = start(number);
        drop(guardian);
        assert_eq!(child.wait().expect("it ends").signal(), Some(9));
        assert_eq!(other.try_wait().expect("it is ours"), None);
        other.kill().and_then(|()| other.wait()).expect("it ends");
    }
}
