//! The memory of process groups: which of them use more than a job may.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

use super::stat::Stat;

/// The groups that use more memory than `limit`, with what they use, in bytes. `seen`: the processes of the
/// system. Memory that several processes share counts once.
pub(super) fn over_limit(
    seen: &[Stat],
    is_ours: impl Fn(Pid) -> bool,
    limit: u64,
) -> Vec<(Pid, u64)> {
    let mut sums: HashMap<Pid, u64> = HashMap::new();
    for stat in seen {
        if let Some(group) = stat.group.filter(|&group| is_ours(group)) {
            *sums.entry(group).or_default() += stat.resident();
        }
    }
    let suspects = sums.into_iter().filter(|(_, sum)| *sum > limit);
    // What each process has of its own takes longer to find out, so it is asked of few.
    let used = suspects.map(|(group, sum)| {
        let members = seen.iter().filter(|stat| stat.group == Some(group));
        let shares: Option<u64> = members.map(|stat| share_of(stat.pid)).sum();
        (group, shares.unwrap_or(sum))
    });
    used.filter(|(_, used)| *used > limit).collect()
}

/// These processes and all of their descendants. This is quicker than a look at all processes of the system,
/// but it misses a process whose parent has ended.
pub(super) fn with_descendants(leaders: impl Iterator<Item = Pid>) -> Vec<Stat> {
    let mut found = HashMap::new();
    let mut rest: Vec<Pid> = leaders.collect();
    while let Some(pid) = rest.pop() {
        if found.contains_key(&pid) {
            continue;
        }
        if let Some(stat) = Stat::of(pid) {
            rest.extend(children(pid));
            found.insert(pid, stat);
        }
    }
    found.into_values().collect()
}

/// The children of a process, where the system tells.
fn children(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{}/task", parent.as_raw_nonzero());
    let threads = fs::read_dir(path).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read(thread.path().join("children")).ok());
    let mut children = Vec::new();
    for text in texts {
        let text = String::from_utf8_lossy(&text);
        let pids = text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        children.extend(pids);
    }
    children
}

/// The memory of a process, in bytes. Of memory that it shares with others, its part counts. `None`: the
/// system does not tell.
fn share_of(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
    // A process that is gone uses nothing.
    let Ok(text) = fs::read(path) else { return Stat::of(pid).is_none().then_some(0) };
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpgrp, getpid};

    use super::*;

    #[test]
    fn this_process_uses_more_than_nothing() {
        let Some(me) = Stat::of(getpid()) else { return };
        let seen = [me];
        let over = |limit| over_limit(&seen, |group| group == getpgrp(), limit);
        assert!(matches!(over(1)[..], [(group, used)] if group == getpgrp() && used > 50_000));
        assert_eq!(over(1 << 50), []);
        assert_eq!(over_limit(&seen, |_| false, 1), []);
    }

    #[test]
    fn descendants() {
        if Stat::of(getpid()).is_none() {
            return;
        }
        let script = "sleep 100 & sleep 100 & wait";
        let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().expect("sh");
        let leader = Pid::from_child(&child);
        let begun = std::time::Instant::now();
        while with_descendants([leader].into_iter()).len() < 3 {
            assert!(begun.elapsed().as_secs() < 20, "its children are not found");
            std::thread::yield_now();
        }
        for stat in with_descendants([leader].into_iter()) {
            let _ = rustix::process::kill_process(stat.pid, rustix::process::Signal::KILL);
        }
        let _ = child.wait();
    }
}
