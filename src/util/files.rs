//! Opens the files that a run writes: they are private, and not reached through links of other users. In
//! a folder such as `/tmp`, a link, a file or a FIFO is used only if its owner is the user or the owner of
//! the folder. (Linux has this rule as `fs.protected_symlinks` and so on, which may be off.)

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, Stat, Uid, accessat, fchmod,
    fchown, fstat, linkat, openat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::temporary::temporary_file;

/// The mode bit of folders such as `/tmp`: everybody may make files there, and remove only their own.
const STICKY: RawMode = 0o1000;

/// The mode bits of folders in which others may make files.
const OPEN_TO_OTHERS: RawMode = 0o022;

/// The most links that are followed for one path, as in Linux.
const MOST_LINKS: usize = 40;

/// How many bytes are copied at once.
const PIECE: usize = 64 << 10;

/// How a folder on the way to a file is opened.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(THROUGH);

/// Linux opens a folder on the way even if the user may not read it. Other systems do not.
#[cfg(target_os = "linux")]
const THROUGH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const THROUGH: OFlags = OFlags::RDONLY;

/// What to do about a link in the place of the file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is followed if its owner is trusted.
    Followed,
    /// It is an error, `ELOOP`.
    Refused,
}

/// The place of a file that exists or will be made: an open folder, and a name in it.
#[derive(Debug)]
pub struct FilePlace {
    folder: OwnedFd,
    name: OsString,
    found: Option<Stat>,
    /// The name is a link in `/proc` to an open file. Only the system can follow it.
    is_open_file: bool,
}

impl FilePlace {
    /// Finds the place of a file.
    ///
    /// # Errors
    /// A folder is missing, or another user has made a link on the way or the file itself.
    pub fn find(path: &Path, links: Links) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let mut left = Vec::new();
        push(&mut left, path);
        let mut folder = openat(CWD, ".", FOLDER, Mode::empty())?;
        let mut followed = 0;
        while let Some(name) = left.pop() {
            let is_last = left.is_empty();
            if matches!(name.as_bytes(), b"/" | b"." | b"..") {
                folder = openat(&folder, &name, FOLDER, Mode::empty())?;
                continue;
            }
            let found = match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) if is_last => None,
                found => Some(found?),
            };
            match found {
                Some(link) if FileType::from_raw_mode(link.st_mode) == FileType::Symlink => {
                    followed += 1;
                    if followed > MOST_LINKS || (is_last && links == Links::Refused) {
                        return Err(Errno::LOOP.into());
                    }
                    check_owner(&folder, &link, &name, is_last)?;
                    if !has_open_files(&folder) {
                        push_link(&folder, &name, &mut left)?;
                    } else if is_last {
                        return Self::open_file(folder, name);
                    } else {
                        folder = openat(&folder, &name, FOLDER, Mode::empty())?;
                    }
                }
                found if is_last => {
                    if let Some(found) = &found {
                        check_owner(&folder, found, &name, true)?;
                    }
                    return Ok(Self { folder, name, found, is_open_file: false });
                }
                _ => folder = openat(&folder, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?,
            }
        }
        Err(io::ErrorKind::IsADirectory.into())
    }

    /// The place of an open file, from its link in `/proc`: that of its ordinary name, if it has one.
    fn open_file(folder: OwnedFd, name: OsString) -> io::Result<Self> {
        let found = statat(&folder, &name, AtFlags::empty())?;
        if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && let Ok(path) = readlinkat(&folder, &name, Vec::new())
            && let Ok(place) = Self::find(as_path(path.to_bytes()), Links::Refused)
            && place.is(&found)
        {
            return Ok(place);
        }
        Ok(Self { folder, name, found: Some(found), is_open_file: true })
    }

    /// The file in this place. `None`: there was none.
    pub fn found(&self) -> Option<&Stat> {
        self.found.as_ref()
    }

    /// Whether `file` is in this place.
    pub fn is(&self, file: &Stat) -> bool {
        self.found.as_ref().is_some_and(|found| is_same(found, file))
    }

    /// Whether both places are of the same file, or will be.
    pub fn is_that_of(&self, other: &Self) -> bool {
        match (&self.found, &other.found) {
            (Some(one), Some(other)) => is_same(one, other),
            (None, None) => {
                let folders = (fstat(&self.folder), fstat(&other.folder));
                let is_one = matches!(folders, (Ok(one), Ok(other)) if is_same(&one, &other));
                is_one && self.name == other.name
            }
            _ => false,
        }
    }

    /// Whether the file is a regular one, or will be.
    pub fn is_regular(&self) -> bool {
        self.found.as_ref().is_none_or(is_regular)
    }

    /// Makes the file, or empties the existing one. Only the user may read and write a new one (0600).
    ///
    /// # Errors
    /// It can't be written, or another user has put something there meanwhile.
    pub fn create(&self) -> io::Result<File> {
        let file = self.open(OFlags::WRONLY | OFlags::CREATE)?;
        if file.metadata()?.is_file() {
            // `O_TRUNC` would empty it before its owner is checked.
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// Makes the file, or opens the existing one to add to it.
    ///
    /// # Errors
    /// As those of [`FilePlace::create`].
    pub fn append(&self) -> io::Result<File> {
        self.open(OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)
    }

    /// Opens the file as [`FilePlace::append`] does, and for reading as well.
    ///
    /// # Errors
    /// As those of [`FilePlace::create`].
    pub fn append_and_read(&self) -> io::Result<File> {
        self.open(OFlags::RDWR | OFlags::CREATE | OFlags::APPEND)
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        // A link that somebody puts in its place meanwhile is not followed.
        let links = if self.is_open_file { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = flags | links | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = openat(&self.folder, &self.name, flags, Mode::RUSR | Mode::WUSR)?;
        check_owner(&self.folder, &fstat(&fd)?, &self.name, true)?;
        Ok(fd.into())
    }

    /// Begins a file that replaces the existing one when it is complete.
    ///
    /// # Errors
    /// The existing file can't be written, or no file can be made in the folder.
    pub fn beside(self) -> io::Result<Beside> {
        let old = match self.found {
            Some(_) => Some(self.open(OFlags::WRONLY)?),
            None => None,
        };
        let linkable = nameless(&self.folder).filter(|_| !self.is_open_file);
        if old.is_none() && linkable.is_none() {
            // The file is made only at the end. If that is impossible, the error must come now.
            accessat(&self.folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?;
        }
        let is_linkable = linkable.is_some();
        let file = linkable.map_or_else(temporary_file, Ok)?;
        Ok(Beside { place: self, old, file, is_linkable })
    }
}

/// A file that will replace another one when it is complete. Until then it has no name: if the process
/// is killed, it is gone, and the other file is unchanged.
#[derive(Debug)]
pub struct Beside {
    place: FilePlace,
    old: Option<File>,
    file: File,
    /// Whether it can be given a name in the folder.
    is_linkable: bool,
}

impl Beside {
    /// The new file, to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The size of the file that will be replaced, in bytes.
    pub fn old_len(&self) -> u64 {
        let metadata = self.old.as_ref().and_then(|old| old.metadata().ok());
        metadata.map_or(0, |metadata| metadata.len())
    }

    /// The file that will be replaced, to be read.
    ///
    /// # Errors
    /// It can't be read.
    pub fn old(&self) -> io::Result<File> {
        self.place.open(OFlags::RDONLY)
    }

    /// Replaces the old file with the new one atomically. The new file gets the mode and the owner of the old
    /// one. If the folder does not allow this, the old file is overwritten.
    ///
    /// # Errors
    /// Neither was possible. The old file is unchanged, or was overwritten in part.
    pub fn replace(&self) -> io::Result<()> {
        match self.rename() {
            Err(error) if is_forbidden(&error) && self.old.is_some() => self.write_over(),
            outcome => outcome,
        }
    }

    fn rename(&self) -> io::Result<()> {
        let FilePlace { folder, name, is_open_file, .. } = &self.place;
        if *is_open_file {
            return Err(Errno::ACCESS.into());
        }
        // The slow step comes first, since a kill between the next two steps leaves a file behind.
        self.dress(&self.file)?;
        let made = self.name_beside()?;
        let renamed = renameat(folder, &made, folder, name).map_err(io::Error::from);
        if renamed.is_err() {
            let _ = unlinkat(folder, &made, AtFlags::empty());
        }
        renamed
    }

    /// Gives the new file a name in the folder, or makes a copy of it there.
    fn name_beside(&self) -> io::Result<String> {
        let folder = &self.place.folder;
        let mut number = 0_u32;
        loop {
            let name = format!(".procpool-{}-{number}", std::process::id());
            let made = if self.is_linkable {
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, file, folder, &name, AtFlags::SYMLINK_FOLLOW).map(|()| None)
            } else {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                openat(folder, &name, flags, Mode::RUSR | Mode::WUSR).map(Some)
            };
            match made {
                // A killed run left this file, or somebody else made it.
                Err(Errno::EXIST) if number < 1000 => number += 1,
                Err(error) => return Err(error.into()),
                Ok(None) => return Ok(name),
                Ok(Some(fd)) => {
                    let mut copy = File::from(fd);
                    let copied =
                        copy_rest(&self.file, 0, &mut copy).and_then(|_| self.dress(&copy));
                    if let Err(error) = copied {
                        let _ = unlinkat(folder, &name, AtFlags::empty());
                        return Err(error);
                    }
                    return Ok(name);
                }
            }
        }
    }

    /// Gives the new file the mode of the old one, and its owner if that is allowed. Syncs it, so that after
    /// a power cut the file is the old one or the new one.
    fn dress(&self, new: &File) -> io::Result<()> {
        let Some(old) = &self.old else { return Ok(()) };
        let (old, now) = (fstat(old)?, fstat(new)?);
        if (old.st_uid, old.st_gid) != (now.st_uid, now.st_gid) {
            let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            let _ = fchown(new, Some(uid), Some(gid)).or_else(|_| fchown(new, None, Some(gid)));
        }
        fchmod(new, Mode::from_raw_mode(old.st_mode))?;
        if old.st_size > 0 { new.sync_data() } else { Ok(()) }
    }

    /// Overwrites the old file, and then truncates it. In this order, a full disk has room for a file that is
    /// not longer than before.
    fn write_over(&self) -> io::Result<()> {
        let Some(old) = &self.old else { return Err(Errno::NOENT.into()) };
        let mut at = 0;
        let mut piece = vec![0; PIECE];
        loop {
            let count = self.file.read_at(&mut piece, at)?;
            if count == 0 {
                return old.set_len(at);
            }
            old.write_all_at(&piece[..count], at)?;
            at += count as u64;
        }
    }
}

/// Whether the error says that the file can't be replaced in its folder. In a container, the file may be a mount point.
fn is_forbidden(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let forbidden = [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::BUSY, Errno::NOENT];
    errno.is_some_and(|errno| forbidden.contains(&errno))
}

/// A file without a name, which can be given one in this folder.
fn nameless(folder: &OwnedFd) -> Option<File> {
    #[cfg(target_os = "linux")]
    {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        openat(folder, ".", flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        None
    }
}

/// Copies a file from the byte `begin` on. Returns the number of bytes. The file's position does not change.
///
/// # Errors
/// One of them can't be read or written.
pub fn copy_rest(from: &File, begin: u64, to: &mut impl Write) -> io::Result<u64> {
    let mut at = begin;
    let mut piece = vec![0; PIECE];
    loop {
        let count = match from.read_at(&mut piece, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Ok(at - begin);
        }
        to.write_all(&piece[..count])?;
        at += count as u64;
    }
}

/// Whether both are the same file, however they are named.
pub fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether it is a regular file.
pub fn is_regular(file: &Stat) -> bool {
    FileType::from_raw_mode(file.st_mode) == FileType::RegularFile
}

/// Pushes the names on a path, the first one last. A path that ends with a slash is a folder.
fn push(left: &mut Vec<OsString>, path: &Path) {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        left.push(".".into());
    }
    let names = path.components().rev().map(Component::as_os_str);
    left.extend(names.map(OsStr::to_owned));
}

/// Puts the target of a link in front of the names that are left.
fn push_link(folder: &OwnedFd, name: &OsStr, left: &mut Vec<OsString>) -> io::Result<()> {
    let target = readlinkat(folder, name, Vec::new())?;
    push(left, as_path(target.to_bytes()));
    Ok(())
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether links in this folder lead directly to open files of processes.
fn has_open_files(folder: &OwnedFd) -> bool {
    #[cfg(target_os = "linux")]
    {
        let found = rustix::fs::fstatfs(folder);
        found.is_ok_and(|system| system.f_type == rustix::fs::PROC_SUPER_MAGIC)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        false
    }
}

/// Checks the owner of a file in a folder where others may make files: it must be the user or the owner of
/// the folder. A folder may have any owner, since the files in it are checked.
fn check_owner(folder: &OwnedFd, found: &Stat, name: &OsStr, is_last: bool) -> io::Result<()> {
    let what = match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => "link",
        FileType::RegularFile => "file",
        FileType::Fifo => "FIFO",
        _ => return Ok(()),
    };
    let folder = fstat(folder)?;
    let is_shared = folder.st_mode & STICKY != 0 && folder.st_mode & OPEN_TO_OTHERS != 0;
    let us = rustix::process::geteuid().as_raw();
    if !is_shared || found.st_uid == us || found.st_uid == folder.st_uid {
        return Ok(());
    }
    let message = if is_last {
        format!("another user's {what} is in its place")
    } else {
        format!("'{}' on the way to it is another user's {what}", name.display())
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn begun(path: &Path) -> Beside {
        let beside =
            FilePlace::find(path, Links::Followed).and_then(FilePlace::beside).expect("a file");
        beside.file().write_all(b"new").expect("there is room");
        beside
    }

    #[test]
    fn a_file_is_replaced_on_all_ways() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        symlink("file", &link).expect("a link");
        for old in [None, Some("an old text")] {
            for path in [&path, &link] {
                for is_linkable in [true, false] {
                    let _ = fs::remove_file(folder.path().join("file"));
                    if let Some(text) = old {
                        fs::write(path, text).expect("a file");
                        fs::set_permissions(path, fs::Permissions::from_mode(0o604)).expect("ours");
                    }
                    let mut beside = begun(path);
                    beside.is_linkable &= is_linkable;
                    assert_eq!(fs::read(path).ok().as_deref(), old.map(str::as_bytes));
                    beside.replace().expect("it is replaced");
                    assert_eq!(fs::read(path).expect("a file"), b"new");
                    let mode = fs::metadata(path).expect("a file").permissions().mode() & 0o777;
                    assert_eq!(mode, if old.is_some() { 0o604 } else { 0o600 });
                    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
                }
            }
        }
        let beside = begun(&path);
        beside.write_over().expect("it is written over");
        assert_eq!(fs::read(&path).expect("a file"), b"new");
    }

    #[test]
    fn paths_are_gone_through_as_the_system_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).expect("a folder");
        symlink("a/b", at("to_b")).expect("a link");
        symlink("round", at("round")).expect("a link");
        symlink(at("to_b/../c"), at("to_c")).expect("a link");
        for (path, is_there) in [("a/b/x", false), ("to_b/../c", true), ("to_c", true)] {
            if is_there {
                fs::write(at(path), "").expect("a file");
            }
            let place = FilePlace::find(&at(path), Links::Followed).expect("a place");
            assert_eq!(place.found().is_some(), is_there, "{path}");
            let made = place.create().expect("a file");
            assert!(is_same(
                &fstat(&made).expect("it is open"),
                &rustix::fs::stat(at(path)).expect("a file")
            ));
        }
        let error =
            |path: &str| FilePlace::find(&at(path), Links::Followed).expect_err("no place").kind();
        assert_eq!(error("missing/x"), io::ErrorKind::NotFound);
        assert_eq!(error("a/c/x"), io::ErrorKind::NotADirectory);
        assert_eq!(error("a/"), io::ErrorKind::IsADirectory);
        assert_eq!(error("new/"), io::ErrorKind::NotFound);
        assert_eq!(error("a/.."), io::ErrorKind::IsADirectory);
        assert_eq!(
            Errno::from_io_error(
                &FilePlace::find(&at("round"), Links::Followed).expect_err("no place")
            ),
            Some(Errno::LOOP)
        );
        assert!(FilePlace::find(&at("to_c"), Links::Refused).is_err());
    }
}
