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
}
