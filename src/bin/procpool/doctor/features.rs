//! The features of the system that procpool uses where they exist.

use std::path::Path;

use super::Section;

pub fn section() -> Section {
    let mut section = Section::new("System features");
    section.row("/proc", if has_proc() { "yes" } else { NO_PROC });
    section.row("pidfd", if has_pidfd() { "yes" } else { NO_PIDFD });
    section.row(
        "jobserver of make",
        match std::env::var("MAKEFLAGS") {
            Ok(flags) if flags.contains("--jobserver") => {
                "named by MAKEFLAGS: jobs take tokens from it"
            }
            _ => "none",
        },
    );
    section
}

const NO_PROC: &str = "no: no --max-rss, and processes that a command leaves running are not named";
const NO_PIDFD: &str = "no: procpool looks every 50 ms whether a silent process has exited";

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

#[cfg(target_os = "linux")]
fn has_pidfd() -> bool {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    pidfd_open(getpid(), PidfdFlags::empty()).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn has_pidfd() -> bool {
    false
}
