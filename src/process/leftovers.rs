//! What `/proc` tells of processes that are not children of ours, or not any more.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::{fs, process};

use rustix::process::Pid;

/// The longest command line that is shown, in characters.
const LONGEST: usize = 60;

/// The flag of a process that is about to be a zombie: its files are closed already.
const EXITING: u32 = 4;

/// The processes that are alive and of this group, or hold one of these pipes, each with its number.
/// `None`: there is no `/proc`.
pub(super) fn names(group: Pid, pipes: &[u64]) -> Option<Vec<String>> {
    let pipes: Vec<String> = pipes.iter().map(|inode| format!("pipe:[{inode}]")).collect();
    let (group, ours) = (group.as_raw_nonzero().to_string(), process::id().to_string());
    let mut found = Vec::new();
    let entries =
        fs::read_dir("/proc").ok().filter(|_| fs::exists("/proc/self").is_ok_and(|is| is))?;
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // What we read from is open here as well.
        let Some(pid) = number.filter(|&pid: &u32| pid != process::id()) else { continue };
        let Some(stat) = stat(pid) else { continue };
        let field = |at: usize| stat.get(at).map_or("", String::as_str);
        let is_ending = field(6).parse().is_ok_and(|flags: u32| flags & EXITING != 0);
        if is_ending || matches!(field(0), "Z" | "X") {
            continue;
        }
        // A child of ours that is not its program yet has a copy of all that is open.
        if field(2) == group || (field(1) != ours && holds(pid, &pipes)) {
            found.push((pid, format!("{} (pid {pid})", name(pid))));
        }
    }
    found.sort();
    Some(found.into_iter().map(|(_, name)| name).collect())
}

/// The status of a process that has exited and was not reaped.
pub(super) fn status(pid: Pid) -> Option<ExitStatus> {
    let stat = stat(u32::try_from(pid.as_raw_nonzero().get()).ok()?)?;
    Some(ExitStatus::from_raw(stat.get(49)?.parse().ok()?))
}

/// What stands in the stat of a process from its state on: its name may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

fn holds(pid: u32, pipes: &[String]) -> bool {
    if pipes.is_empty() {
        return false;
    }
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| pipes.iter().any(|pipe| pipe == target)))
}

/// The command line of a process, cut short, or its name if it has none.
fn name(pid: u32) -> String {
    let read = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let mut line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    if line.trim().is_empty() {
        line = String::from_utf8_lossy(&read("comm")).into_owned();
    }
    let line = line.trim();
    let shown: String = line.chars().take(LONGEST).collect();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}
