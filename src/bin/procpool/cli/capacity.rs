//! The meaning of `-j0`: the number of jobs that the limits of the system allow at a time.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::values::MOST_PROCS;

/// The descriptors that a slot may take, and those that procpool needs besides. (`allow_descriptors` raises the
/// limit to that.)
const DESCRIPTORS_EACH: u64 = 10;
const DESCRIPTORS: u64 = 64;

/// A job takes two tasks: its process, and a thread of procpool. Two more are left for the children of its process.
const TASKS_EACH: u64 = 4;

/// The number of jobs that the limits for open files and processes allow, at least one.
pub fn most() -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let by_files = files.saturating_sub(DESCRIPTORS) / DESCRIPTORS_EACH;
    let most = by_files.min(tasks() / TASKS_EACH);
    usize::try_from(most).unwrap_or(MOST_PROCS).clamp(1, MOST_PROCS)
}

/// The number of processes and threads that can still be started.
fn tasks() -> u64 {
    let read = |path: &str| String::from_utf8(fs::read(path).ok()?).ok();
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    // The tasks of all users: the number of our own is unknown.
    let present = read("/proc/loadavg")
        .and_then(|text| text.split(' ').nth(3)?.split_once('/')?.1.parse::<u64>().ok());
    let limits = [
        getrlimit(Resource::Nproc).current,
        number("/proc/sys/kernel/threads-max"),
        number("/proc/sys/kernel/pid_max"),
    ];
    let left = limits.into_iter().flatten().map(|limit| limit.saturating_sub(present.unwrap_or(0)));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    left.chain(groups.lines().flat_map(left_in_group)).min().unwrap_or(u64::MAX)
}

/// The number of further tasks that a control group and each group above it allow. `line` is a line of
/// `/proc/self/cgroup`.
fn left_in_group(line: &str) -> Vec<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let root = match controllers {
        "" => Path::new("/sys/fs/cgroup"),
        "pids" => Path::new("/sys/fs/cgroup/pids"),
        _ => return Vec::new(),
    };
    let number = |folder: &Path, name: &str| {
        String::from_utf8(fs::read(folder.join(name)).ok()?).ok()?.trim().parse::<u64>().ok()
    };
    let group = root.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|folder| folder.starts_with(root));
    groups
        .filter_map(|folder| {
            Some(number(folder, "pids.max")?.saturating_sub(number(folder, "pids.current")?))
        })
        .collect()
}
