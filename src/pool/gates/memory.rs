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
pub(super) struct Memory(Vec<(PathBuf, Version)>);

impl Memory {
    pub(super) fn new() -> Self {
        let read = |path: &str| fs::read(path).unwrap_or_default();
        let own = String::from_utf8_lossy(&read("/proc/self/cgroup")).into_owned();
        let mounts = String::from_utf8_lossy(&read("/proc/self/mountinfo")).into_owned();
        let usual = USUAL.map(|(mount, version)| Mount { at: mount, root: "/", version });
        let mounts = mounts.lines().filter_map(Mount::parse).chain(usual);
        let mut groups: Vec<(PathBuf, Version)> = Vec::new();
        for mount in mounts {
            let Some(path) = own.lines().find_map(|line| mount.version.path(line)) else {
                continue;
            };
            for folder in mount.folders(path) {
                let group = (folder, mount.version);
                if group.0.join(mount.version.usage()).exists() && !groups.contains(&group) {
                    groups.push(group);
                }
            }
        }
        Self(groups)
    }

    /// How much memory is free without swapping: the lowest number of all groups and the machine. `None`:
    /// the system does not say.
    pub(super) fn free(&self) -> Option<FreeMemory> {
        let groups = self.0.iter().filter_map(|(folder, version)| free_in(folder, *version));
        let of_groups = groups.map(|bytes| FreeMemory { bytes, is_of_group: true });
        let of_machine = free_in_machine().map(|bytes| FreeMemory { bytes, is_of_group: false });
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

    /// The folders of a group and of the groups above it, as far as they are visible from here.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).unwrap_or(Path::new(group));
        let below = below.strip_prefix("/").unwrap_or(below);
        below.ancestors().map(|part| Path::new(self.at).join(part)).collect()
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

fn free_in_machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}
