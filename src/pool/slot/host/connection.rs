//! The connection to an agent: the process that carries it, the bytes that have come, and whether the agent
//! is alive.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ServerLine;
use crate::job::{Failure, Watcher};
use crate::link::HELD_UP;
use crate::link::boot::{REMOTE_PROGRAM, script};
use crate::link::greeting::GreetingFinder;
use crate::link::incoming::Incoming;
use crate::pool::shared::Shared;
use crate::pool::shared::hosts::{Desk, HostDesks, HostVoice, Login};
use crate::pool::slot::host::carrier::Carrier;
use crate::process::{Process, ProcessStdin, Readiness, SocketLine, Spec, Stop, Transfer, Wake};
use crate::util::clock::Moment;
use crate::util::random::random;

/// This many bytes are read at most before they are dealt with.
const MOST_READ: usize = 1 << 20;

/// After a shorter read no more is there, most likely.
const LITTLE: usize = 16 << 10;

/// A connection to an agent, or to the script that is to start one.
pub(super) struct Connection {
    pub(super) carrier: Carrier,
    pub(super) incoming: Incoming,
    pub(super) stage: ConnectionStage,
    /// When anything came last, or was forgiven not to come.
    pub(super) heard: Moment,
    /// When somebody listened last.
    listened: Moment,
    /// A silence was forgiven since anything came.
    has_forgiven: bool,
    /// Nothing more will come.
    pub(super) is_closed: bool,
}

/// How far a connection is.
pub(super) enum ConnectionStage {
    /// The other end has not said what it is.
    Booting { listener: GreetingFinder, _login: Login },
    /// It has, and has been sent its task.
    SetUp { _login: Login },
    /// The agent takes jobs.
    Ready,
}

impl Connection {
    /// Starts the launcher of a host, and tells the shell there what to do.
    ///
    /// # Errors
    /// The launcher could not be started, or there is no copy of this program to be sent.
    pub(super) fn start(
        desk: &Desk,
        hosts: &HostDesks,
        login: Login,
        wake: &Arc<Wake>,
        now: Moment,
    ) -> io::Result<Self> {
        let copy = hosts.copy().map_err(io::Error::other)?;
        let mut argv = desk.host.launcher.clone();
        argv.push(REMOTE_PROGRAM.into());
        let spec = Spec { stdin: ProcessStdin::Pipe, ..Spec::new(&argv, wake) };
        let process = Process::start(&spec, &hosts.launchers)?;
        process.widen();
        let carrier = Carrier::Launcher(Box::new(process));
        let mut voice = HostVoice::new(carrier.copy_input()?);
        voice.end().extend_from_slice(script(&copy.parcel, random(u64::MAX - 1)).as_bytes());
        voice.flush();
        *desk.voice() = Some(voice);
        let listener = GreetingFinder::default();
        Ok(Self {
            carrier,
            incoming: Incoming::default(),
            stage: ConnectionStage::Booting { listener, _login: login },
            heard: now,
            listened: now,
            has_forgiven: false,
            is_closed: false,
        })
    }

    /// Takes over the connection to a server, which has said what it is.
    ///
    /// # Errors
    /// It was used before, or there is no room for another descriptor.
    pub(super) fn over(
        desk: &Desk,
        line: &ServerLine,
        login: Login,
        now: Moment,
    ) -> io::Result<Self> {
        let (socket, bytes) = line.take().ok_or(io::ErrorKind::NotConnected)?;
        let carrier = Carrier::Socket(SocketLine::new(socket)?);
        *desk.voice() = Some(HostVoice::new(carrier.copy_input()?));
        let mut incoming = Incoming::default();
        incoming.end().extend_from_slice(&bytes);
        let listener = GreetingFinder::default();
        Ok(Self {
            carrier,
            incoming,
            stage: ConnectionStage::Booting { listener, _login: login },
            heard: now,
            listened: now,
            has_forgiven: false,
            is_closed: false,
        })
    }

    /// Whether the agent takes jobs.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, ConnectionStage::Ready)
    }

    /// Waits until something comes, or can be said, or for `timeout`. Reads the bytes that have come.
    pub(super) fn wait(
        &mut self,
        shared: &Shared,
        desk: &Desk,
        wake: &Wake,
        timeout: Option<Duration>,
    ) -> Readiness {
        let has_more = desk.voice().as_ref().is_some_and(|voice| !voice.is_empty());
        let begun = shared.now();
        let ready = self.carrier.wait(wake, has_more, timeout);
        self.forgive(begun, timeout, shared.now());
        if has_more && let Some(voice) = &mut *desk.voice() {
            voice.flush();
        }
        if ready.stdin_closed {
            // Its end will show at its stdout.
            self.carrier.ignore_input();
        }
        if ready.stderr {
            self.pass_stderr_on(shared, desk);
        }
        if ready.stdout {
            self.read(shared.now());
        }
        if ready.exited {
            self.carrier.ignore_exit();
            while !self.is_closed && self.read(shared.now()) {}
            self.is_closed = true;
        }
        ready
    }

    /// A wait of `timeout` at most is over. If this thread was held up before it, or in it, the agent may have been
    /// held up as well, by a reader or by the machine: its silence begins anew, once.
    fn forgive(&mut self, begun: Moment, timeout: Option<Duration>, now: Moment) {
        let late = now.since(begun).saturating_sub(timeout.unwrap_or(Duration::MAX));
        if late.max(begun.since(self.listened)) >= HELD_UP && !self.has_forgiven {
            self.has_forgiven = true;
            self.heard = now;
        }
        self.listened = now;
    }

    /// Reads the bytes that have come. Returns whether there are any.
    pub(super) fn read(&mut self, now: Moment) -> bool {
        self.listened = now;
        let limit = self.incoming.end().len() + MOST_READ;
        let mut has_come = false;
        while self.incoming.end().len() < limit {
            match self.carrier.read(self.incoming.end()) {
                Transfer::Moved(count) => {
                    self.heard = now;
                    self.has_forgiven = false;
                    has_come = true;
                    if count < LITTLE {
                        break;
                    }
                }
                Transfer::Blocked => break,
                Transfer::Closed => {
                    self.is_closed = true;
                    break;
                }
            }
        }
        has_come
    }

    /// Passes the stderr of the launcher and the agent on. Text from before the agent is there is kept for
    /// a message.
    fn pass_stderr_on(&mut self, shared: &Shared, desk: &Desk) {
        if self.is_ready() {
            let watcher = HostWatcher { watcher: &*shared.watcher, host: desk.label() };
            self.carrier.forward_stderr(&watcher);
        } else {
            self.carrier.forward_stderr(&Muted);
        }
    }

    /// Ends the process that carries the connection. Returns how it ended and its last words.
    pub(super) fn end(
        self,
        desk: &Desk,
        hosts: &HostDesks,
        first: Stop,
        grace: Duration,
    ) -> (Option<ExitStatus>, String) {
        *desk.voice() = None;
        self.carrier.end(first, grace, &hosts.launchers, &Muted)
    }
}

/// Passes on messages from a host, with its name.
pub(super) struct HostWatcher<'a> {
    pub(super) watcher: &'a dyn Watcher,
    /// `None`: the host is a server on this machine, which messages do not name.
    pub(super) host: Option<&'a str>,
}

impl Watcher for HostWatcher<'_> {
    fn worker_stderr(&self, lines: &[u8]) {
        let Some(host) = self.host else { return self.watcher.worker_stderr(lines) };
        let mut named = Vec::with_capacity(lines.len() + 64);
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            named.extend_from_slice(host.as_bytes());
            named.extend_from_slice(b": ");
            named.extend_from_slice(line);
        }
        self.watcher.worker_stderr(&named);
    }

    fn note(&self, text: &str) {
        match self.host {
            Some(host) => self.watcher.note(&format!("{host}: {text}")),
            None => self.watcher.note(text),
        }
    }

    fn start_limit_reached(&self, _failure: &Failure) {}
}

/// Passes on nothing.
struct Muted;

impl Watcher for Muted {
    fn worker_stderr(&self, _lines: &[u8]) {}

    fn note(&self, _text: &str) {}

    fn start_limit_reached(&self, _failure: &Failure) {}
}
