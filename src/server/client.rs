//! A caller of a server: connects to its socket, checks who answers, and asks for its pool, its status or its
//! end. Jobs travel over this connection as they do to another machine.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, socket};

use super::socket::{SocketError, check_place, is_own, look_at, words};
use crate::config::ServerLine;
use crate::link::frame::{FrameSplit, LONGEST, split};
use crate::link::from_agent::FromAgent;
use crate::link::greeting::{GreetingFinder, check};
use crate::link::to_agent::ToAgent;

/// A server answers within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// An end that takes longer than this is remarked on.
const LONG: Duration = Duration::from_secs(3);

/// The connection to a server that has said what its pool is.
#[derive(Debug)]
pub struct Visit {
    path: PathBuf,
    stream: UnixStream,
    /// What has come and was not read.
    bytes: Vec<u8>,
    /// How many jobs the server runs at a time.
    pub slots: usize,
    /// The words of a command line that say what its pool is.
    pub words: Vec<OsString>,
}

impl Visit {
    /// Connects to a server.
    ///
    /// # Errors
    /// No server of the user's listens there, or it is of another version.
    pub fn to(path: &Path) -> Result<Self, SocketError> {
        check_place(path)?;
        look_at(path)?.ok_or_else(|| SocketError::NoServer(path.to_owned()))?;
        let stream = connect(path)?;
        if !is_own(&stream) {
            return Err(SocketError::OfOther(path.to_owned()));
        }
        let path = path.to_owned();
        let mut visit = Self { path, stream, bytes: Vec::new(), slots: 1, words: Vec::new() };
        visit.be_greeted()?;
        Ok(visit)
    }

    fn be_greeted(&mut self) -> Result<(), SocketError> {
        let end = Instant::now() + PATIENCE;
        let mut finder = GreetingFinder::default();
        let line = loop {
            let line = finder.next(&mut self.bytes).map_err(|_| self.no_procpool())?;
            match line {
                Some(line) => break line,
                None => self.read_before(end)?,
            }
        };
        let agent = line.0.first().is_some_and(|word| word == "agent");
        if !agent {
            return Err(self.no_procpool());
        }
        self.slots = check(&line.0[1..])
            .map_err(|other| SocketError::OtherVersion(self.path.clone(), other.0))?;
        self.words = self.next(Some(end), |message| match message {
            FromAgent::Pool(text) => Some(words(text).map(OsString::from).collect()),
            _ => None,
        })?;
        Ok(())
    }

    /// The next message. `read`: makes something of it.
    fn next<T>(
        &mut self,
        end: Option<Instant>,
        read: impl FnOnce(FromAgent<'_>) -> Option<T>,
    ) -> Result<T, SocketError> {
        loop {
            match split(&self.bytes, LONGEST) {
                FrameSplit::Frame { kind, message, len } => {
                    let made = FromAgent::read(kind, message).and_then(read);
                    self.bytes.drain(..len);
                    return made.ok_or_else(|| self.no_procpool());
                }
                FrameSplit::Partial => {}
                FrameSplit::Broken => return Err(self.no_procpool()),
            }
            self.read_before(end.unwrap_or_else(|| Instant::now() + PATIENCE))?;
        }
    }

    fn no_procpool(&self) -> SocketError {
        SocketError::NoProcpool(self.path.clone())
    }

    fn system(&self, error: io::Error) -> SocketError {
        SocketError::System(self.path.clone(), error)
    }

    /// Reads the bytes that come next.
    fn read_before(&mut self, end: Instant) -> Result<(), SocketError> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SocketError::Silent(self.path.clone()));
        }
        self.stream.set_read_timeout(Some(left)).map_err(|error| self.system(error))?;
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(SocketError::NoServer(self.path.clone())),
            Ok(count) => {
                self.bytes.extend_from_slice(&piece[..count]);
                Ok(())
            }
            // The time may be over: the next look finds out.
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(self.system(error)),
        }
    }

    fn say(&mut self, message: &ToAgent<'_>) -> Result<(), SocketError> {
        let mut bytes = Vec::new();
        message.put(&mut bytes);
        self.stream.write_all(&bytes).map_err(|error| self.system(error))
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection, for the jobs of a pool. `longest`: the server takes no message with more bytes.
    pub fn into_line(self, longest: usize) -> ServerLine {
        ServerLine::new(self.stream.into(), self.bytes, longest)
    }

    /// The status of the server, as a line of JSON.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(mut self) -> Result<String, SocketError> {
        self.say(&ToAgent::AskStatus)?;
        self.next(None, |message| match message {
            FromAgent::Status(text) => Some(text.to_owned()),
            _ => None,
        })
    }

    /// Tells the server to take no more callers and to end after the present ones. Waits until it has ended.
    /// `waiting` is called once if that takes long.
    ///
    /// # Errors
    /// It can't be told.
    pub fn stop(mut self, waiting: impl FnOnce()) -> Result<(), SocketError> {
        self.say(&ToAgent::Drain)?;
        self.stream.set_read_timeout(Some(LONG)).map_err(|error| self.system(error))?;
        let mut waiting = Some(waiting);
        let mut piece = [0; 256];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_passing(&error) => {
                    if let Some(waiting) = waiting.take_if(|_| is_over(&error)) {
                        waiting();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(self.system(error)),
            }
        }
    }
}

/// Connects to a socket. A server that does not accept callers has a full line at some time: then Linux waits.
fn connect(path: &Path) -> Result<UnixStream, SocketError> {
    let system = |error: Errno| SocketError::System(path.to_owned(), error.into());
    let address = SocketAddrUnix::new(path).map_err(system)?;
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).map_err(system)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(system)?;
    let stream = UnixStream::from(socket);
    let limit = |time| stream.set_write_timeout(time);
    limit(Some(PATIENCE)).map_err(|error| SocketError::System(path.to_owned(), error))?;
    loop {
        match rustix::net::connect(&stream, &address) {
            Ok(()) | Err(Errno::ISCONN) => break,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(SocketError::Silent(path.to_owned())),
            Err(Errno::CONNREFUSED | Errno::NOENT) => {
                return Err(SocketError::NoServer(path.to_owned()));
            }
            Err(error) => return Err(system(error)),
        }
    }
    limit(None).map_err(|error| SocketError::System(path.to_owned(), error))?;
    Ok(stream)
}

/// Whether a read that has failed is to be repeated.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted || is_over(error)
}

/// Whether the time of a read is over.
fn is_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
