//! The guardian: a small process that kills the workers if procpool can't do it itself any more,
//! because it was killed (`kill -9`) or crashed. It holds a pipe to procpool, and a list of the
//! groups there are; when the pipe ends it kills those that are on the list.
//!
//! The list is a file without a name, so that a change of it costs a write to memory and wakes
//! nobody: a command may be started and be gone within a millisecond.
//!
//! What it does not cover: a worker that was started in the very moment before, and a process that
//! has left its group (`setsid`).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::Pid;

/// It reads the list from what it was given as stderr. A signal that is meant for procpool must not
/// end it before its time.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT PIPE TERM TSTP
exec 3<&2 2>/dev/null
while read -r _; do :; done
while read -r group; do
    if [ "$group" -gt 1 ]; then kill -s KILL -- "-$group"; fi
done <&3
"#;

/// How long an entry of the list is, in bytes: ten digits and a newline.
const ENTRY: usize = 11;

/// The guardian of a pool. When it is dropped, it kills the groups that are left and ends.
#[derive(Debug)]
pub(crate) struct Guardian {
    /// `None`: it could not be started. Then only `kill -9` can leave anything behind.
    running: Option<(Child, OwnedFd, File)>,
    /// Where on the list each group stands.
    places: HashMap<Pid, usize>,
    free: Vec<usize>,
}

impl Guardian {
    pub(crate) fn start() -> Self {
        Self { running: started().ok(), places: HashMap::new(), free: Vec::new() }
    }

    /// There is a new group.
    pub(crate) fn add(&mut self, group: Pid) {
        let place = self.free.pop().unwrap_or(self.places.len());
        self.places.insert(group, place);
        self.write(place, group.as_raw_nonzero().get());
    }

    /// A group is gone. To be told before its number can be another's: while its leader is a
    /// zombie.
    pub(crate) fn remove(&mut self, group: Pid) {
        if let Some(place) = self.places.remove(&group) {
            self.free.push(place);
            self.write(place, 0);
        }
    }

    fn write(&self, place: usize, group: i32) {
        if let Some((_, _, list)) = &self.running {
            let entry = format!("{group:10}\n");
            // Without room for its list the guardian knows fewer groups, and the run goes on.
            let _ = list.write_all_at(entry.as_bytes(), (place * ENTRY) as u64);
        }
    }
}

fn started() -> io::Result<(Child, OwnedFd, File)> {
    let list = list()?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "procpool-guardian"])
        .env_clear()
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
