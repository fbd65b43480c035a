//! The guardian: a small process that kills the workers if procpool can't do it itself any more,
//! because it was killed (`kill -9`) or crashed. It holds a pipe to procpool, is told which groups
//! there are, and kills those that are left when the pipe ends.
//!
//! What it does not cover: a worker that was started in the very moment before, and a process that
//! has left its group (`setsid`).

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::Pid;

/// It reads `+ GROUP` and `- GROUP`, a line each. A signal that is meant for procpool must not end
/// it before its time.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT PIPE TERM TSTP
groups=' '
while read -r change group; do
    case $change$groups in
        +*) groups="$groups$group " ;;
        -*" $group "*) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
    esac
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
"#;

/// The guardian of a pool. When it is dropped, it kills the groups that are left and ends.
#[derive(Debug)]
pub(crate) struct Guardian {
    /// `None`: it could not be started. Then only `kill -9` can leave anything behind.
    running: Option<(Child, OwnedFd)>,
}

impl Guardian {
    pub(crate) fn start() -> Self {
        let started = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "procpool-guardian"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let running = started.ok().and_then(|mut child| {
            let pipe = OwnedFd::from(child.stdin.take()?);
            // It must never hold up the pool, even if somebody has stopped it.
            rustix::io::ioctl_fionbio(&pipe, true).ok()?;
            Some((child, pipe))
        });
        Self { running }
    }

    /// There is a new group.
    pub(crate) fn add(&self, group: Pid) {
        self.tell('+', group);
    }

    /// A group is gone. To be told before its number can be another's: while its leader is a
    /// zombie.
    pub(crate) fn remove(&self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&self, change: char, group: Pid) {
        if let Some((_, pipe)) = &self.running {
            let mut line = String::new();
            let _ = writeln!(line, "{change} {}", group.as_raw_nonzero());
            let _ = rustix::io::write(pipe, line.as_bytes());
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        if let Some((mut child, pipe)) = self.running.take() {
            drop(pipe);
            // It ends at once, but nobody is to wait for that.
            let _ = thread::Builder::new().name("guardian".into()).spawn(move || child.wait());
        }
    }
}
