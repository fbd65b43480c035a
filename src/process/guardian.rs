//! The guardian: a small process that kills the workers if procpool can't do it itself any more,
//! because it was killed (`kill -9`) or crashed. It holds a pipe to procpool, and a list of the
//! groups there are; when the pipe ends it kills those that are on the list.
//!
//! The list is a file without a name, so that a change of it costs a write to memory and wakes
//! nobody: a command may be started and be gone within a millisecond.
//!
//! A process has no number before it is started, and procpool may be killed before it has entered it.
//! So what is entered first is the pipe that will be its stderr: of a start that was under way, the
//! guardian finds the process, or one that it has started, by its open files. It can't be too early for that: a process that is
//! being started has a copy of all that procpool has open, the guardian's pipe included, until it has
//! become the program.
//!
//! What it does not cover: a process that has left its group (`setsid`), and one that is started in the
//! very moment, where there is no `/proc`, or that has let go of its stderr within a few milliseconds.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::fs::fstat;
use rustix::process::{Pid, getpid};

use crate::process::stops::Stat;

/// It reads the list from what it was given as stderr. A signal that is meant for procpool must not
/// end it before its time.
///
/// Who has the pipe of a start that was under way may be a child whose parent, the leader of the group,
/// is gone already. So the group is that of its stat, which ends with the last parenthesis and a state,
/// the parent, the group, the session. One in another session has left its group, and one in the group
/// of procpool itself (the first argument) does not go for that reason. A process that forks and exits
/// while the others are looked at may be missed: they are looked at until twice nothing new is found.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT PIPE TERM TSTP
exec 3<&2 2>/dev/null
while read -r _; do :; done
starting=
while read -r entry; do
    case $entry in
        (pipe:*) starting="$starting $entry " ;;
        (*) if [ "$entry" -gt 1 ]; then kill -s KILL -- "-$entry"; fi ;;
    esac
done <&3
if [ -z "$starting" ]; then exit; fi
ours=$1
stat=$(cat /proc/$$/stat)
set -- ${stat##*) }
session=$4
look() {
    ls -ln /proc/[0-9]*/fd/2 | while read -r line; do
        case $starting in
            (*" ${line##* -> } "*)
                pid=${line##* /proc/}
                stat=$(cat "/proc/${pid%%/*}/stat")
                set -- ${stat##*) }
                if [ "$4" = "$session" ] && [ "$3" != "$ours" ]; then echo "$3"; fi ;;
        esac
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

/// How long an entry of the list is, in bytes: a number or a pipe, spaces, and a newline.
const ENTRY: usize = 32;

/// Where on the list something stands.
#[derive(Debug)]
pub(crate) struct Place(usize);

/// The guardian of a pool. When it is dropped, it kills the groups that are left and ends.
#[derive(Debug)]
pub(crate) struct Guardian {
    /// `None`: it could not be started. Then only `kill -9` can leave anything behind.
    running: Option<(Child, OwnedFd, File)>,
    /// Where on the list each group stands.
    places: HashMap<Pid, usize>,
    free: Vec<usize>,
    /// How many places the list has.
    count: usize,
}

impl Guardian {
    pub(crate) fn start() -> Self {
        Self { running: started().ok(), places: HashMap::new(), free: Vec::new(), count: 0 }
    }

    /// Its number, if it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.running.as_ref().map(|(child, ..)| Pid::from_child(child))
    }

    /// A process is about to be started that will have this pipe as its stderr.
    pub(crate) fn announce(&mut self, pipe: BorrowedFd<'_>) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        if let Ok(stat) = fstat(pipe) {
            self.write(place, &format!("pipe:[{}]", stat.st_ino));
        }
        Place(place)
    }

    /// It could not be started.
    pub(crate) fn withdraw(&mut self, place: Place) {
        self.write(place.0, "0");
        self.free.push(place.0);
    }

    /// It leads this group.
    pub(crate) fn add(&mut self, group: Pid, place: Place) {
        self.write(place.0, &group.as_raw_nonzero().to_string());
        self.places.insert(group, place.0);
    }

    /// A group is gone. To be told before its number can be another's: while its leader is a
    /// zombie.
    pub(crate) fn remove(&mut self, group: Pid) {
        if let Some(place) = self.places.remove(&group) {
            self.withdraw(Place(place));
        }
    }

    fn write(&self, place: usize, entry: &str) {
        if let Some((_, _, list)) = &self.running {
            let entry = format!("{entry:width$}\n", width = ENTRY - 1);
            // Without room for its list the guardian knows fewer groups, and the run goes on.
            let _ = list.write_all_at(entry.as_bytes(), (place * ENTRY) as u64);
        }
    }
}

fn started() -> io::Result<(Child, OwnedFd, File)> {
    let list = list()?;
    // Not `getpgrp`: as PID 1 of a container this process may be in a group that has no number there.
    let ours = Stat::of(getpid()).and_then(|stat| stat.group).map_or(0, Pid::as_raw_pid);
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "procpool-guardian"])
        .arg(ours.to_string())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::from(list.try_clone()?))
        .process_group(0)
        .spawn()?;
    let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, OwnedFd::from(pipe), list))
}

#[cfg(target_os = "linux")]
fn list() -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("procpool-groups", flags).map(File::from)?)
}

#[cfg(not(target_os = "linux"))]
fn list() -> io::Result<File> {
    tempfile::tempfile()
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if let Some((mut child, pipe, _)) = self.running.take() {
            drop(pipe);
            // It ends at once, but nobody is to wait for that.
            let _ = thread::Builder::new().name("guardian".into()).spawn(move || child.wait());
        }
    }
}
