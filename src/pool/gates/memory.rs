//! How much memory is free: in the machine, and in the control groups (cgroups) of this process.

use std::fs;
use std::path::{Path, PathBuf};

/// A larger number means that there is no limit: version 1 has no other sign for that.
const NO_LIMIT: u64 = 1 << 60;

/// Where control groups usually are.
const USUAL: [(&str, Version); 3] = [
    ("/sys/fs/cgroup", Version::Two),
    ("/sys/fs/cgroup/unified", Version::Two),
    ("/sys/fs/cgroup/memory", Version::One),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The memory that a process could take without swapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FreeMemory {
    /// In bytes.
    pub bytes: u64,
    /// The limit of a control group counts, not the memory of the machine.
    pub is_of_group: bool,
}

/// The memory that is free now, in the machine and in the control groups of this process. `None`: the system does
/// not say.
pub fn free_memory() -> Option<FreeMemory> {
    Memory::new().free()
}

/// The control groups whose limits apply to this process: its own group and those above it.
#[derive(Debug)]
pub(super) struct Memory {
    groups: Vec<(PathBuf, Version)>,
    /// Where the machine says how much memory is free.
    machine: PathBuf,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self::of(Path::new("/"))
    }

    /// `root`: the folder in which the system's `/proc` and `/sys` are.
    fn of(root: &Path) -> Self {
        let read = |path: &str| fs::read(root.join(path)).unwrap_or_default();
        let own = String::from_utf8_lossy(&read("proc/self/cgroup")).into_owned();
        let mounts = String::from_utf8_lossy(&read("proc/self/mountinfo")).into_owned();
        let usual = USUAL.map(|(mount, version)| Mount { at: mount, root: "/", version });
        let mounts = mounts.lines().filter_map(Mount::parse).chain(usual);
        let mut groups: Vec<(PathBuf, Version)> = Vec::new();
        for mount in mounts {
            let Some(path) = own.lines().find_map(|line| mount.version.path(line)) else {
                continue;
            };
            for folder in mount.folders(path) {
                let group = (root.join(folder), mount.version);
                if group.0.join(mount.version.usage()).exists() && !groups.contains(&group) {
                    groups.push(group);
                }
            }
        }
        Self { groups, machine: root.join("proc/meminfo") }
    }

    /// How much memory is free without swapping: the lowest number of all groups and the machine. `None`:
    /// the system does not say.
    pub(super) fn free(&self) -> Option<FreeMemory> {
        let groups = self.groups.iter().filter_map(|(folder, version)| free_in(folder, *version));
        let of_groups = groups.map(|bytes| FreeMemory { bytes, is_of_group: true });
        let of_machine =
            free_in_machine(&self.machine).map(|bytes| FreeMemory { bytes, is_of_group: false });
        of_groups.chain(of_machine).min()
    }
}

impl Version {
    /// The path of the group of this process, from its line in `/proc/self/cgroup`.
    fn path(self, line: &str) -> Option<&str> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_it = match self {
            Self::One => controllers.split(',').any(|name| name == "memory"),
            Self::Two => controllers.is_empty(),
        };
        is_it.then_some(path)
    }

    fn limits(self) -> &'static [&'static str] {
        match self {
            Self::One => &["memory.limit_in_bytes"],
            Self::Two => &["memory.max", "memory.high"],
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::One => "memory.usage_in_bytes",
            Self::Two => "memory.current",
        }
    }

    /// The parts of the memory in use that the system takes back when it needs memory.
    fn caches(self) -> &'static [&'static str] {
        match self {
            Self::One => &["total_active_file", "total_inactive_file"],
            Self::Two => &["active_file", "inactive_file", "slab_reclaimable"],
        }
    }
}

/// Where a hierarchy of control groups is mounted.
struct Mount<'a> {
    at: &'a str,
    /// The group at the top of it.
    root: &'a str,
    version: Version,
}

impl<'a> Mount<'a> {
    /// Reads a line of `/proc/self/mountinfo`.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let kind = file_system.next()?;
        let options = file_system.nth(1).unwrap_or_default();
        let version = match kind {
            "cgroup2" => Version::Two,
            "cgroup" if options.split(',').any(|option| option == "memory") => Version::One,
            _ => return None,
        };
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        Some(Self { at, root, version })
    }

    /// The folders of a group and of the groups above it, as far as they are visible from here. They have
    /// no `/` before them.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        // If the top of the mount is another group, it is that of the container, or a group above the
        // root of the namespace (`/..`). The groups below it can't be found then.
        let below = Path::new(group).strip_prefix(self.root).unwrap_or(Path::new(""));
        if below.starts_with("..") {
            // The group is outside of what is mounted here.
            return Vec::new();
        }
        let at = Path::new(self.at.trim_start_matches('/'));
        below.ancestors().map(|part| at.join(part)).collect()
    }
}

/// How many bytes a control group may still use; `None`: any number.
fn free_in(folder: &Path, version: Version) -> Option<u64> {
    let read =
        |file: &str| fs::read(folder.join(file)).ok().and_then(|text| String::from_utf8(text).ok());
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    let limits = version.limits().iter().filter_map(|file| number(file));
    let limit = limits.min().filter(|limit| *limit < NO_LIMIT)?;
    let stat = read("memory.stat").unwrap_or_default();
    let pairs = stat.lines().filter_map(|line| line.split_once(' '));
    let caches = pairs.filter(|(name, _)| version.caches().contains(name));
    let cached: u64 = caches.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum();
    let used = number(version.usage())?.saturating_sub(cached);
    Some(limit.saturating_sub(used))
}

fn free_in_machine(file: &Path) -> Option<u64> {
    let text = String::from_utf8(fs::read(file).ok()?).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system with 1,000 MiB of free memory. `own` is the control group of this process, `mounts` are
    /// the lines of the mounts. Each line of `files` is a path and what the file says.
    fn free(own: &str, mounts: &[&str], files: &str) -> (u64, bool) {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write("proc/self/cgroup", own);
        write("proc/self/mountinfo", &mounts.join("\n"));
        write("proc/meminfo", "MemTotal: 4096000 kB\nMemAvailable: 1024000 kB\n");
        for (path, text) in files.lines().filter_map(|line| line.split_once(' ')) {
            write(path, &text.replace('|', "\n"));
        }
        let free = Memory::of(root.path()).free().expect("the system says so");
        (free.bytes / MIB, free.is_of_group)
    }

    const MACHINE: (u64, bool) = (1000, false);
    const TWO: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw";

    /// A group of version 2 with its `memory.max` and `memory.current` in bytes.
    fn group(folder: &str, max: &str, current: &str) -> String {
        format!("{folder}/memory.max {max}\n{folder}/memory.current {current}\n")
    }

    #[test]
    fn the_lowest_of_nested_groups_counts() {
        let own = "0::/a/b\n";
        // 300 MiB, of which 100 MiB are in use.
        for limited in ["/a", "/a/b", ""] {
            let limit = |below| if below == limited { "314572800" } else { "max" };
            let group = |below| group(&format!("/sys/fs/cgroup{below}"), limit(below), "104857600");
            let files: String = ["", "/a", "/a/b"].map(group).concat();
            assert_eq!(free(own, &[TWO], &files), (200, true), "{limited}");
        }
        // A group beside it has no say.
        let beside = group("/sys/fs/cgroup/c", "314572800", "104857600");
        assert_eq!(free(own, &[TWO], &beside), MACHINE);
    }

    #[test]
    fn the_softer_limit_and_caches_count() {
        let own = "0::/a\n";
        let unlimited = group("/sys/fs/cgroup/a", "max", "104857600");
        assert_eq!(free(own, &[TWO], &unlimited), MACHINE);
        let high = "/sys/fs/cgroup/a/memory.high 209715200|\n";
        assert_eq!(free(own, &[TWO], &(unlimited.clone() + high)), (100, true));
        let stat = "/sys/fs/cgroup/a/memory.stat anon 52428800|active_file 10485760|\
                    inactive_file 10485760|file_mapped 99|\n";
        assert_eq!(free(own, &[TWO], &(unlimited + high + stat)), (120, true));
        // A group may use more than its softer limit.
        let full = group("/sys/fs/cgroup/a", "max", "999999999");
        assert_eq!(free(own, &[TWO], &(full + high)), (0, true));
        // More than the machine has is no limit.
        let wide = group("/sys/fs/cgroup/a", "9999999999", "1");
        assert_eq!(free(own, &[TWO], &wide), MACHINE);
    }

    #[test]
    fn a_group_without_the_controller_is_passed_over() {
        let parent = group("/sys/fs/cgroup/a", "209715200", "104857600");
        let files = parent.clone() + "/sys/fs/cgroup/a/b/cgroup.procs 1|\n";
        assert_eq!(free("0::/a/b\n", &[TWO], &files), (100, true));
        // As is one that was removed.
        assert_eq!(free("0::/a/b (deleted)\n", &[TWO], &parent), (100, true));
    }

    #[test]
    fn namespaces_and_containers() {
        let top = group("/sys/fs/cgroup", "209715200", "104857600");
        // In its own namespace, a container sees its group as the root.
        assert_eq!(free("0::/\n", &[TWO], &top), (100, true));
        // Without one, it sees the full path of its group, which is mounted.
        let mount = "31 23 0:28 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw";
        assert_eq!(free("0::/docker/1\n", &[mount], &top), (100, true));
        let child = group("/sys/fs/cgroup/x", "157286400", "104857600");
        let files = top.clone() + &child;
        assert_eq!(free("0::/docker/1/x\n", &[mount], &files), (50, true));
        // The mount shows a group above the root of the namespace.
        let mount = "31 23 0:28 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw";
        assert_eq!(free("0::/\n", &[mount], &files), (100, true));
        assert_eq!(free("0::/../../x\n", &[mount], &files), (50, true));
        // The group is outside of the namespace and of the mount: neither is above it.
        let outside = group("/sys/fs/x", "157286400", "104857600");
        let files = top + &outside;
        assert_eq!(free("0::/../../x\n", &[TWO], &files), MACHINE);
    }

    #[test]
    fn both_versions_side_by_side() {
        let one = "35 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let two = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let own = "4:cpu,cpuacct:/x\n3:memory:/a/b\n0::/user/1\n";
        let top = "/sys/fs/cgroup/memory";
        let files = [
            format!("{top}/memory.usage_in_bytes 999999999|"),
            format!("{top}/memory.limit_in_bytes 9223372036854771712|"),
            format!("{top}/a/memory.limit_in_bytes 314572800|"),
            format!("{top}/a/memory.usage_in_bytes 104857600|"),
            format!("{top}/a/memory.stat inactive_file 1|total_inactive_file 52428800|"),
            format!("{top}/a/b/memory.limit_in_bytes 9223372036854771712|"),
            format!("{top}/a/b/memory.usage_in_bytes 104857600|"),
            // This one has no controller of memory.
            "/sys/fs/cgroup/unified/user/1/cgroup.procs 1|".to_owned(),
        ]
        .join("\n");
        assert_eq!(free(own, &[one, two], &files), (250, true));
        // The same without a list of mounts.
        assert_eq!(free(own, &[], &files), (250, true));
        // The other version has it.
        let limits = group("/sys/fs/cgroup/unified/user", "209715200", "104857600");
        let own = "4:cpu,cpuacct:/x\n0::/user/1\n";
        assert_eq!(free(own, &[one, two], &limits), (100, true));
    }

    #[test]
    fn without_control_groups_the_machine_counts() {
        assert_eq!(free("", &[], ""), MACHINE);
        let nonsense = group("/sys/fs/cgroup", "much", "none");
        assert_eq!(free("0::/\nnonsense\n", &["x", TWO], &nonsense), MACHINE);
    }
}
