//! The machine, and the limits of this process.

use std::path::PathBuf;

use rustix::process::{Resource, getrlimit};

use super::{Section, bytes};
use crate::cli::capacity;
use crate::plan::machine::Machine;

pub fn machine() -> Section {
    let mut section = Section::new("Machine");
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    section.row(
        "system",
        format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine())),
    );
    let cpus = num_cpus::get();
    section.row("CPUs", format!("{cpus}: -j {cpus} is the default, -j 0 is {}", capacity::most()));
    section.row(
        "free memory",
        match procpool::engine::free_memory() {
            Some(free) if free.is_of_group => {
                format!("{}: a limit of the control group", bytes(free.bytes))
            }
            Some(free) => bytes(free.bytes),
            None => "not known on this system: --min-free-memory has no effect".into(),
        },
    );
    section.row("control group", control_group());
    section.row("temporary files", temporary());
    section
}

fn control_group() -> String {
    let groups = std::fs::read("/proc/self/cgroup").unwrap_or_default();
    let groups = String::from_utf8_lossy(&groups).into_owned();
    let groups: Vec<&str> = groups.lines().filter(|line| !line.is_empty()).collect();
    match groups.as_slice() {
        [] => "none".into(),
        [group] => (*group).to_owned(),
        [first, rest @ ..] => {
            let unified = rest.iter().find(|group| group.starts_with("0::"));
            format!("{} (and {} more)", unified.unwrap_or(first), rest.len())
        }
    }
}

/// The folder of temporary files, and whether it can be used.
fn temporary() -> String {
    let folder: PathBuf = procpool::engine::temporary_folder();
    let name = folder.display();
    if let Err(error) = tempfile::tempfile() {
        return format!("{name}: no file can be made there: {error}; set TMPDIR");
    }
    let free = rustix::fs::statvfs(&folder).ok().map(|stat| stat.f_bavail * stat.f_frsize);
    free.map_or_else(|| name.to_string(), |free| format!("{name}, {} free", bytes(free)))
}

pub fn limits() -> Section {
    let mut section = Section::new("Limits");
    let files = getrlimit(Resource::Nofile);
    let raised = match (files.current, files.maximum) {
        (Some(current), maximum) if maximum.is_none_or(|maximum| maximum > current) => {
            format!("{current}; procpool raises it up to {}", number(maximum))
        }
        (current, _) => number(current),
    };
    section.row("open files", raised);
    section.row("processes", number(getrlimit(Resource::Nproc).current));
    let machine = Machine::current();
    let room = machine.arg_space.saturating_sub(machine.environment);
    section.row("a command line", format!("{} for arguments (-n max)", bytes(room as u64)));
    section
}

fn number(limit: Option<u64>) -> String {
    limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string())
}
