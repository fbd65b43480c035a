//! The processes that a command has left running: the names of those that are alive in its group or hold
//! its pipes open.

use std::fs;

use rustix::process::{Pid, getpid};

use super::stat;
use super::stat::Stat;

/// The longest command line that is shown, in characters.
const LONGEST: usize = 60;

/// The names and numbers of the processes that are alive and are in this group, or hold one of these
/// pipes. `None`: there is no `/proc`.
pub(super) fn names(group: Pid, pipes: &[u64]) -> Option<Vec<String>> {
    if !fs::exists("/proc/self").is_ok_and(|exists| exists) {
        return None;
    }
    let pipes: Vec<String> = pipes.iter().map(|inode| format!("pipe:[{inode}]")).collect();
    let me = getpid();
    // This process has the other ends of the pipes open.
    let others = stat::all_pids().filter(|&pid| pid != me).filter_map(Stat::of);
    let is_left = |stat: &Stat| {
        // A child of this process that is not its program yet has a copy of all open files.
        let is_ours = stat.parent == Some(me);
        stat.group == Some(group) || (!is_ours && holds(stat.pid, &pipes))
    };
    let mut left: Vec<(Pid, String)> = others
        .filter(|stat| !stat.is_exiting() && is_left(stat))
        .map(|stat| (stat.pid, format!("{} (pid {})", name(stat.pid), stat.pid)))
        .collect();
    left.sort_by_key(|(pid, _)| pid.as_raw_nonzero());
    Some(left.into_iter().map(|(_, name)| name).collect())
}

/// Whether a process has one of these pipes open.
fn holds(pid: Pid, pipes: &[String]) -> bool {
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
fn name(pid: Pid) -> String {
    let read = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let mut line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    if line.trim().is_empty() {
        line = String::from_utf8_lossy(&read("comm")).into_owned();
    }
    let line = line.trim();
    let shown: String = line.chars().take(LONGEST).collect();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}
