//! `--keep`: finds the server in the background that has the workers of this call, or starts one. Both ends of the
//! start are here.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use procpool::engine::{SocketError, Visit, await_free, fits};
use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, flock, fstat, ftruncate};
use rustix::process::geteuid;

use super::{keys, likeness, serve};
use crate::cli::Options;
use crate::descriptors::{self, Stream};
use crate::exit::Status;
use crate::plan::{Misuse, Plan};

/// A server that ends just when a caller comes is replaced. This many times in a row is no accident.
const MOST_TRIES: usize = 5;

/// The log of a server in the background has about this many bytes at most.
const LONGEST_LOG: u64 = 1 << 20;

/// A server whose socket is gone has this long to end.
const MARGIN: Duration = Duration::from_secs(3);

/// The word of a server that listens.
const READY: &[u8] = b"ready\n";

/// The server of a call.
pub enum FoundServer {
    Running(Visit),
    /// It did not start. The message was printed.
    NotStarted(Status),
}

/// The server with the workers of this call. It is started if there is none.
///
/// # Errors
/// The options make no sense, or the server can't be reached.
pub fn find(options: &Options, time: Duration) -> anyhow::Result<FoundServer> {
    check(options)?;
    // A wrong command line starts no server.
    Plan::of(options, Arc::new(AtomicBool::new(false)))?;
    let words = keys::words_of_pool(options);
    let name = likeness::likeness(options, &words);
    let socket = format!("{name}.sock");
    let folder = folder(&socket)?;
    let place = KeptPlace { socket: folder.join(socket), folder, name };
    for _ in 0..MOST_TRIES {
        if let Some(visit) = visit(&place.socket)? {
            return Ok(FoundServer::Running(visit));
        }
        let _lock = place.lock()?;
        // Another caller may have started it meanwhile.
        if let Some(visit) = visit(&place.socket)? {
            return Ok(FoundServer::Running(visit));
        }
        // A server whose socket was removed ends soon.
        await_free(&place.socket, Instant::now() + serve::LOOK + MARGIN);
        let Some(failed) = place.start(&words, time)? else { continue };
        // A caller that was killed may have left a server that was starting, and listened first.
        if let Some(visit) = visit(&place.socket)? {
            return Ok(FoundServer::Running(visit));
        }
        let _ = io::stderr().write_all(&failed.said);
        return Ok(FoundServer::NotStarted(failed.status));
    }
    anyhow::bail!("the server at '{}' ends again as soon as it has started", place.socket.display())
}

/// The server at a socket, if there is one.
fn visit(socket: &Path) -> Result<Option<Visit>, SocketError> {
    match Visit::to(socket) {
        Ok(visit) => Ok(Some(visit)),
        Err(SocketError::NoServer(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn check(options: &Options) -> Result<(), Misuse> {
    if !keys::has_workers(options) {
        return Err("--keep keeps workers: name one with -w, or give code (--python …)".into());
    }
    Ok(())
}

/// The folder for the sockets of servers in the background, where a socket of this name fits.
fn folder(socket: &str) -> anyhow::Result<PathBuf> {
    let session =
        std::env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("procpool"));
    let folder = session
        .filter(|folder| folder.is_absolute() && folder.parent().is_some_and(is_own))
        .filter(|folder| fits(&folder.join(socket)))
        .unwrap_or_else(|| format!("/tmp/procpool-{}", geteuid().as_raw()).into());
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error)
                .with_context(|| format!("the folder '{}' can't be made", folder.display()));
        }
        _ => {}
    }
    // Its mode is checked with each socket in it.
    let is_real = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
    if !is_real || !is_own(&folder) {
        anyhow::bail!(
            "'{}' is no folder of yours, so --keep can't use it: remove it, or set XDG_RUNTIME_DIR",
            folder.display()
        );
    }
    Ok(folder)
}

/// Whether there is a folder of this user. `sudo` may leave the variables of another one.
fn is_own(folder: &Path) -> bool {
    let own = geteuid().as_raw();
    folder.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own)
}

/// A server that did not start.
struct FailedStart {
    status: Status,
    said: Vec<u8>,
}

/// Where a server in the background has its files.
struct KeptPlace {
    folder: PathBuf,
    name: String,
    socket: PathBuf,
}

impl KeptPlace {
    fn file(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", self.name))
    }

    /// Of several callers that start the server at the same moment, one has the lock.
    fn lock(&self) -> anyhow::Result<File> {
        // A few files are enough, and none of them is in the way of many.
        let path = self.folder.join(format!("start-{}", self.name.get(..1).unwrap_or_default()));
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&path)
            .with_context(|| format!("'{}' can't be opened", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Starts the server, and waits until it listens. Returns how it has failed, if it has.
    fn start(&self, words: &[OsString], time: Duration) -> anyhow::Result<Option<FailedStart>> {
        let path = self.file("log");
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let _ = fs::remove_file(&path);
        let log = File::options()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&path)
            .with_context(|| format!("'{}' can't be made", path.display()))?;
        let (mut ready, starter) = io::pipe()?;
        // The server outlives this process, and holds nothing that this one was given.
        descriptors::keep_from_all();
        let program = std::env::current_exe().context("this program can't be found")?;
        let mut server = Command::new(program)
            .arg("--serve")
            .arg(&self.socket)
            .arg(format!("--keep={}ms", time.as_millis()))
            .args(words)
            // What it says is among the words.
            .env_remove("PROCPOOL_OPTIONS")
            .stdin(Stdio::from(OwnedFd::from(starter)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the server can't be started")?;
        let mut word = [0; READY.len()];
        let mut count = 0;
        while count < word.len() {
            match ready.read(&mut word[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if word == READY {
            return Ok(None);
        }
        let status = match server.wait()?.code() {
            Some(2) => Status::Usage,
            Some(126) => Status::CannotRun,
            Some(127) => Status::NotFound,
            _ => Status::Trouble,
        };
        Ok(Some(FailedStart { status, said: fs::read(&path).unwrap_or_default() }))
    }
}

/// The caller that has started this server in the background, and waits until it listens.
pub struct WaitingCaller(File);

impl WaitingCaller {
    /// Its end of the pipe, which is stdin: no other program is started with a stdin that can only be written.
    /// `None`: the server is in the foreground. In the background it has no terminal, and nothing of its caller.
    pub fn take() -> Option<Self> {
        let flags = fcntl_getfl(descriptors::stdin()).ok()?;
        if flags & OFlags::RWMODE != OFlags::WRONLY {
            return None;
        }
        let pipe = descriptors::copy(Stream::Stdin).ok()?;
        let nothing = File::open("/dev/null").ok()?;
        rustix::stdio::dup2_stdin(&nothing).ok()?;
        let _ = rustix::process::setsid();
        Some(Self(pipe.into()))
    }

    /// Tells the caller that the server listens.
    pub fn tell(&mut self) {
        let _ = self.0.write_all(READY);
    }
}

/// Removes the log of a server in the background that has ended well.
pub fn remove_log(socket: &Path) {
    let _ = fs::remove_file(socket.with_extension("log"));
}

/// Empties the log, which is stderr, if it has become long.
pub fn bound_log() {
    let stderr = descriptors::borrowed(Stream::Stderr);
    if fstat(stderr).is_ok_and(|found| u64::try_from(found.st_size).unwrap_or(0) > LONGEST_LOG) {
        let _ = ftruncate(stderr, 0);
    }
}
