//! Files that procpool makes for its user: for nobody else to read, and never through a link that
//! somebody else has laid.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Set on directories such as `/tmp`: everybody may make files there, and remove only their own.
const STICKY: u32 = 0o1000;

/// Others may make files in such a directory.
const OPEN_TO_OTHERS: u32 = 0o022;

/// Makes a file, or empties the one that is there. A new one is its owner's alone (0600).
///
/// # Errors
/// It can't be written; or it, or a link in its place, was put there by another user.
pub fn create(path: &Path) -> io::Result<File> {
    open(path, false)
}

/// Makes a file, or opens the one that is there to add to it. A new one is its owner's alone (0600).
///
/// # Errors
/// As those of [`create`].
pub fn append(path: &Path) -> io::Result<File> {
    open(path, true)
}

fn open(path: &Path, appends: bool) -> io::Result<File> {
    let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    if is_link {
        check_owner(path, &path.symlink_metadata()?)?;
    }
    // A link that is laid from now on, in place of nothing or of a file, is not followed.
    let flags = if is_link { OFlags::empty() } else { OFlags::NOFOLLOW };
    let opened = OpenOptions::new()
        .write(true)
        .append(appends)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) if !is_link => planted("link"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        if !is_link {
            check_owner(path, &metadata)?;
        }
        // Not before it is known whose it is.
        if !appends {
            file.set_len(0)?;
        }
    }
    Ok(file)
}

/// Where others may make files, only what is ours, or the directory's owner's, is to be trusted. The
/// same rule as that of Linux's `fs.protected_symlinks` and `fs.protected_regular`, which may be off.
fn check_owner(path: &Path, found: &Metadata) -> io::Result<()> {
    let directory = directory(path).metadata()?;
    let is_shared = directory.mode() & STICKY != 0 && directory.mode() & OPEN_TO_OTHERS != 0;
    let us = rustix::process::geteuid().as_raw();
    match !is_shared || found.uid() == us || found.uid() == directory.uid() {
        true => Ok(()),
        false => Err(planted(if found.is_symlink() { "link" } else { "file" })),
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn planted(what: &str) -> io::Error {
    let message = format!("there is a {what} of another user's in its place");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}
