//! The folder of a semaphore: its owner's alone, and the same for all command lines of a user.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FileType, Mode, lstat};
use rustix::process::geteuid;

/// The folder of the semaphore with this name. It is made if it is not there.
pub fn open(name: &str) -> anyhow::Result<PathBuf> {
    let base = base();
    let folders = [base.clone(), base.join("sem"), base.join("sem").join(escaped(name))];
    for folder in &folders {
        make(folder).with_context(|| format!("the folder '{}' of semaphores", folder.display()))?;
    }
    let [.., folder] = folders;
    Ok(folder)
}

/// `$XDG_RUNTIME_DIR/procpool`, or a folder of this user in `/tmp`. Where the variable is not set, as in a cron job,
/// it is the folder that systemd would set. It does not depend on TMPDIR, which differs from shell to shell.
fn base() -> PathBuf {
    let user = geteuid().as_raw();
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").filter(|set| !set.is_empty()).map(PathBuf::from);
    let runtime = runtime.or_else(|| Some(PathBuf::from(format!("/run/user/{user}"))));
    match runtime.filter(|path| path.is_absolute() && is_ours(path).is_ok()) {
        Some(runtime) => runtime.join("procpool"),
        None => PathBuf::from(format!("/tmp/procpool-{user}")),
    }
}

/// Makes a folder, unless it is there and its owner's alone.
fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    is_ours(folder)
}

/// Checks that this is a folder, and no link, that only its owner can use: this user.
fn is_ours(folder: &Path) -> io::Result<()> {
    let stat = lstat(folder)?;
    let others = Mode::RWXG | Mode::RWXO;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        Err(io::Error::other("it is not a folder"))
    } else if stat.st_uid != geteuid().as_raw() {
        Err(io::Error::other("it belongs to another user"))
    } else if Mode::from_raw_mode(stat.st_mode).intersects(others) {
        Err(io::Error::other("other users can use it: chmod go= it"))
    } else {
        Ok(())
    }
}

/// A name as the name of a file: letters, digits, '-' and '_' stay, and each other byte becomes `%XX`.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_files() {
        assert_eq!(escaped("my-job_1"), "my-job_1");
        assert_eq!(escaped("../a b/ü"), "%2E%2E%2Fa%20b%2F%C3%BC");
    }
}
