//! The socket of a server: in a folder that nobody else can change, for its owner alone. A socket that is left
//! over is replaced, and one that is in use is not.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{Timespec, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, lstat, openat, stat,
    statat, unlink, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// A path of a socket has at most this many bytes, with the NUL byte after it (`sun_path`).
const LONGEST_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The mode bits of folders in which others may make files.
const OPEN_TO_OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);

/// What is added to the name of a socket for the file that is locked.
const LOCK: &str = ".lock";

/// Whoever waits for the lock looks this often.
const LOCK_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Why a socket can't be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum SocketError {
    /// The path is too long for a socket.
    TooLong(PathBuf),
    /// The folder is missing, or can't be looked at.
    NoFolder(PathBuf, io::Error),
    /// The folder belongs to another user.
    FolderOfOther(PathBuf),
    /// Others may make files in the folder.
    OpenFolder(PathBuf),
    /// There is something else in its place: a link, a file.
    NoSocket(PathBuf),
    /// The socket belongs to another user, or the process that answers does.
    OfOther(PathBuf),
    /// A server uses it already.
    InUse(PathBuf),
    /// Nobody listens there.
    NoServer(PathBuf),
    /// A server listens there, and does not answer in time.
    Silent(PathBuf),
    /// The program that listens there is no procpool.
    NoProcpool(PathBuf),
    /// The server is procpool of this other version.
    OtherVersion(PathBuf, String),
    /// The system refuses.
    System(PathBuf, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(path) => write!(
                f,
                "the path of the socket is too long: '{}' has {} bytes, and {LONGEST_PATH} is the most",
                path.display(),
                path.as_os_str().len()
            ),
            Self::NoFolder(path, error) => {
                write!(f, "the folder '{}' of the socket can't be used: {error}", path.display())
            }
            Self::FolderOfOther(path) => write!(
                f,
                "the folder '{}' belongs to another user: put the socket in one of your own",
                path.display()
            ),
            Self::OpenFolder(path) => write!(
                f,
                "others may write to the folder '{}': put the socket in one where only you can write",
                path.display()
            ),
            Self::NoSocket(path) => {
                write!(f, "'{}' is no socket: it is left as it is", path.display())
            }
            Self::OfOther(path) => write!(f, "'{}' belongs to another user", path.display()),
            Self::InUse(path) => {
                write!(f, "a server runs at '{}' already: stop it first", path.display())
            }
            Self::NoServer(path) => write!(f, "no server runs at '{}'", path.display()),
            Self::Silent(path) => write!(
                f,
                "the server at '{}' does not answer: is it stopped, or the machine very busy?",
                path.display()
            ),
            Self::NoProcpool(path) => {
                write!(f, "what answers at '{}' is no server of procpool", path.display())
            }
            Self::OtherVersion(path, version) => write!(
                f,
                "the server at '{}' is procpool {version}, this is {}: both must be the same",
                path.display(),
                crate::link::greeting::PROGRAM_VERSION
            ),
            Self::System(path, error) => write!(f, "the socket '{}': {error}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {}

/// The socket that a server listens on.
#[derive(Debug)]
pub struct ServerSocket {
    pub(super) listener: UnixListener,
    /// Where it is; `None`: whoever started the server looks after it.
    place: Option<SocketPlace>,
}

/// Where a socket is. It is removed when this is dropped.
#[derive(Debug)]
struct SocketPlace {
    path: PathBuf,
    /// The socket, as it was made.
    found: Stat,
    /// The file that is locked while the server runs.
    _lock: LockFile,
}

/// The file beside a socket that is locked while a server has it. It is removed when this is dropped.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    file: File,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // In a folder that was removed and made again, it may be that of another server. Whoever has opened
        // the file by now looks whether it is still there.
        let own = fstat(&self.file);
        if let (Ok(own), Ok(found)) = (own, lstat(&self.path))
            && is_same(&own, &found)
        {
            let _ = unlink(&self.path);
        }
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl ServerSocket {
    /// Makes a socket (0600). One that is left over is replaced.
    ///
    /// # Errors
    /// Another server uses it, or the place is not safe.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |error: io::Error| SocketError::System(path.to_owned(), error);
        check_place(path)?;
        let lock = lock_beside(path)?;
        remove_stale(path)?;
        // Nobody else can connect between the making and a change of the mode.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener.map_err(system)?;
        // More than the usual 128 callers may come at the same moment.
        let _ = rustix::net::listen(&listener, 4096);
        let found = lstat(path).map_err(|error| system(error.into()))?;
        let place = SocketPlace { path: path.to_owned(), found, _lock: lock };
        Self::listening(listener, Some(place)).map_err(system)
    }

    /// Takes a socket that somebody else has made, such as systemd.
    ///
    /// # Errors
    /// It is no socket that listens.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        // Apple's systems do not tell.
        #[cfg(not(target_vendor = "apple"))]
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(Errno::INVAL.into());
        }
        Self::listening(socket.into(), None)
    }

    /// The socket is removed, and takes no more callers than have come.
    pub(super) fn into_listener(self) -> UnixListener {
        drop(self.place);
        self.listener
    }

    fn listening(listener: UnixListener, place: Option<SocketPlace>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, place })
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        if lstat(&self.path).is_ok_and(|found| is_same(&self.found, &found)) {
            let _ = unlink(&self.path);
        }
    }
}

/// The file that is locked while a server has this socket.
fn lock_path(path: &Path) -> PathBuf {
    // Without a slash at the end, with which it would be a file in a folder.
    let mut name = path.components().collect::<PathBuf>().into_os_string();
    name.push(LOCK);
    name.into()
}

/// The folder of a socket.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that nobody else can put something in the place of the socket.
pub(super) fn check_place(path: &Path) -> Result<(), SocketError> {
    if !fits(path) {
        return Err(SocketError::TooLong(path.to_owned()));
    }
    let folder = folder_of(path);
    let found =
        stat(folder).map_err(|error| SocketError::NoFolder(folder.to_owned(), error.into()))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        let error = io::ErrorKind::NotADirectory.into();
        return Err(SocketError::NoFolder(folder.to_owned(), error));
    }
    if found.st_uid != geteuid().as_raw() || is_link_of_other(folder) {
        return Err(SocketError::FolderOfOther(folder.to_owned()));
    }
    if Mode::from_raw_mode(found.st_mode).intersects(OPEN_TO_OTHERS) {
        return Err(SocketError::OpenFolder(folder.to_owned()));
    }
    Ok(())
}

/// Whether the folder is a link that another user has made, and may change.
fn is_link_of_other(folder: &Path) -> bool {
    // With a slash at its end the system would follow it.
    let folder: PathBuf = folder.components().collect();
    lstat(&folder).is_ok_and(|found| {
        let is_link = FileType::from_raw_mode(found.st_mode) == FileType::Symlink;
        is_link && found.st_uid != geteuid().as_raw() && found.st_uid != 0
    })
}

/// Whether a socket can have this path.
pub fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= LONGEST_PATH
}

/// Waits until no server has the lock of this socket. Returns whether that is so before `end`.
pub fn await_free(path: &Path, end: Instant) -> bool {
    loop {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let is_free = match openat(CWD, lock_path(path), flags, Mode::empty()) {
            Ok(file) => {
                flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
            }
            Err(_) => true,
        };
        if is_free || Instant::now() >= end {
            return is_free;
        }
        let _ = poll(&mut [], Some(&LOCK_PAUSE));
    }
}

/// What is in the place of the socket: the user's socket, or nothing.
pub(super) fn look_at(path: &Path) -> Result<Option<Stat>, SocketError> {
    let found = match lstat(path) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(SocketError::System(path.to_owned(), error.into())),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    if found.st_uid != geteuid().as_raw() {
        return Err(SocketError::OfOther(path.to_owned()));
    }
    Ok(Some(found))
}

/// Locks the file beside the socket. Of several servers that begin at the same moment, one gets the lock.
fn lock_beside(path: &Path) -> Result<LockFile, SocketError> {
    let system = |error: Errno| SocketError::System(path.to_owned(), error.into());
    let lock = lock_path(path);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        let file = openat(CWD, &lock, flags, Mode::RUSR | Mode::WUSR).map_err(system)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(SocketError::InUse(path.to_owned())),
            Err(error) => return Err(system(error)),
        }
        let own = fstat(&file).map_err(system)?;
        let is_there =
            statat(CWD, &lock, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|there| is_same(&own, &there));
        // The server before this one may have removed it just now.
        if is_there {
            return Ok(LockFile { path: lock, file: file.into() });
        }
    }
}

/// Removes a socket that no server listens on.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    if look_at(path)?.is_none() {
        return Ok(());
    }
    if UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    unlinkat(CWD, path, AtFlags::empty())
        .map_err(|error| SocketError::System(path.to_owned(), error.into()))
}

/// Whether the process at the other end of a socket has the user of this one.
pub(super) fn is_own(socket: impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid.as_raw() == geteuid().as_raw());
    // The folder of the socket is the user's alone.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        true
    }
}

/// The words of a text that have a NUL byte after them.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &OsStr> {
    let words = text.strip_suffix(b"\0").map(|text| text.split(|&byte| byte == 0));
    words.into_iter().flatten().map(OsStr::from_bytes)
}
