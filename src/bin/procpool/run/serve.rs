//! `--serve`: a pool behind a socket, until a signal, `--stop` or a time without callers ends it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use procpool::engine::{Failure, ServedPool, Server, ServerSettings, ServerSocket, Watcher};
use tokio::time::Instant;

use super::builders::{self, Size};
use super::keep::{self, WaitingCaller};
use super::keys;
use super::watch::{LAST_WAIT, sleep_until};
use crate::cli::Options;
use crate::exit::Status;
use crate::plan::{Misuse, Plan};
use crate::report::console::Console;
use crate::signals::{Caught, Early, Signals};

/// A server takes at most this many callers.
const MOST_CALLERS: usize = 512;

/// The descriptors of a caller.
const FDS_EACH: usize = 6;

/// A server in the background looks this often whether its socket is still there.
pub const LOOK: Duration = Duration::from_secs(2);

/// A server in the background waits at least this long for its first caller, the one that has started it.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// Serves until the end.
///
/// # Errors
/// The server could not begin.
pub fn serve(options: &Options, path: &Path, early: Option<Early>) -> anyhow::Result<Status> {
    check(options)?;
    let mut starter = WaitingCaller::take();
    let plan = Plan::of(options, Arc::new(AtomicBool::new(false)))?;
    let size = Size::of(&plan.reader.route, options.workers.max_procs);
    let most_callers = builders::allow_callers(size.all_slots(), FDS_EACH, MOST_CALLERS);
    let console = Arc::new(Console::new());
    let log = Arc::new(ServerLog { console: Arc::clone(&console), is_file: starter.is_some() });
    let log = log as Arc<dyn Watcher>;
    let pools = builders::build_served(&plan, options, size, &log)?;
    let socket = socket(path, builders::has_sockets())?;
    let settings = ServerSettings {
        words: keys::joined(&keys::words_of_kind(options)),
        slots: size.all_slots(),
        longest: keys::longest_message(options.input.max_line),
        most_callers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _runtime = runtime.enter();
    let signals = Signals::listen_as_server()?;
    drop(early);
    let server = Server::start(socket, pools.clone(), settings)?;
    let slots = size.all_slots();
    let s = if slots == 1 { "" } else { "s" };
    console.say(&format!("serving at '{}' with {slots} slot{s}", path.display()));
    if let Some(starter) = &mut starter {
        starter.tell();
    }
    let watch = ServerWatch {
        server,
        pools,
        console,
        signals,
        idle: options.commands.server.keep,
        began: Instant::now(),
        place: starter.and_then(|_| OwnSocket::at(path)),
        stage: ServerStage::Open,
    };
    let is_kept = watch.place.is_some();
    let status = runtime.block_on(watch.run());
    if is_kept && status == Status::Success {
        keep::remove_log(path);
    }
    Ok(status)
}

/// The socket to listen on: the one that systemd has opened, or a new one. `is_given`: the variables that say so
/// are for this process.
fn socket(path: &Path, is_given: bool) -> anyhow::Result<ServerSocket> {
    if !is_given {
        return Ok(ServerSocket::bind(path)?);
    }
    let mut given = listenfd::ListenFd::from_env();
    let Some(listener) = given.take_unix_listener(0).context("LISTEN_FDS gives no Unix socket")?
    else {
        return Ok(ServerSocket::bind(path)?);
    };
    if given.len() > 1 {
        anyhow::bail!("LISTEN_FDS gives {} sockets, and a server listens on one", given.len());
    }
    ServerSocket::inherited(listener.into()).context("LISTEN_FDS gives no socket that listens")
}

/// Refuses options that mean nothing to a server.
fn check(options: &Options) -> Result<(), Misuse> {
    if !keys::has_workers(options) {
        return Err("--serve keeps workers: name one with -w, or give code (--python …)".into());
    }
    if !options.command.is_empty() {
        return Err("--serve runs no COMMAND: callers give it, with --connect".into());
    }
    Ok(())
}

/// Prints the messages of a server that are for no caller.
struct ServerLog {
    console: Arc<Console>,
    /// stderr is a file of a server in the background, which must not grow for ever.
    is_file: bool,
}

impl ServerLog {
    fn bound(&self) {
        if self.is_file {
            keep::bound_log();
        }
    }
}

impl Watcher for ServerLog {
    fn worker_stderr(&self, lines: &[u8]) {
        self.bound();
        self.console.pass_on(lines);
    }

    fn note(&self, text: &str) {
        self.bound();
        self.console.say(text);
    }

    fn start_limit_reached(&self, failure: &Failure) {
        self.note(&failure.message);
    }
}

/// How far the end of a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerStage {
    /// It takes callers.
    Open,
    /// It takes no more, and the present ones go on.
    Draining,
    /// Nobody is left, and the workers end.
    Ending,
}

/// Watches over a server.
struct ServerWatch {
    server: Server,
    pools: Vec<ServedPool>,
    console: Arc<Console>,
    signals: Signals,
    /// The server ends after this time without callers.
    idle: Option<Duration>,
    began: Instant,
    /// The socket of a server in the background, which ends if that is gone.
    place: Option<OwnSocket>,
    stage: ServerStage,
}

/// The socket of a server in the background, and what tells it from another in its place.
struct OwnSocket {
    path: PathBuf,
    inode: (u64, u64),
}

impl OwnSocket {
    fn at(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), inode: inode_at(path)? })
    }

    fn is_there(&self) -> bool {
        inode_at(&self.path) == Some(self.inode)
    }
}

fn inode_at(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()))
}

impl ServerWatch {
    async fn run(mut self) -> Status {
        let mut idle_at = self.idle_at();
        let mut look_at = self.look_at();
        loop {
            tokio::select! {
                biased;
                caught = self.signals.next() => if let Some(status) = self.obey(caught) {
                    return self.kill(status).await;
                },
                () = self.server.changed() => idle_at = self.idle_at(),
                () = sleep_until(idle_at) => self.drain(),
                () = sleep_until(look_at) => {
                    look_at = self.look_at();
                    if self.place.as_ref().is_some_and(|place| !place.is_there()) {
                        // The session has ended, and its folder is gone: nobody can find the server.
                        self.drain();
                    }
                }
                () = ended(&self.pools), if self.stage == ServerStage::Ending => return Status::Success,
            }
            if self.server.is_to_end() {
                self.drain();
            }
            if self.stage == ServerStage::Draining && self.server.is_over() {
                self.stage = ServerStage::Ending;
                self.pools.iter().for_each(|served| served.pool.finish());
            }
        }
    }

    /// When to look whether the socket is still there.
    fn look_at(&self) -> Option<Instant> {
        self.place.as_ref().map(|_| Instant::now() + LOOK)
    }

    /// When the server ends if no caller comes.
    fn idle_at(&self) -> Option<Instant> {
        let since = self.server.deserted_since().filter(|_| self.stage == ServerStage::Open)?;
        let since = Instant::from_std(since);
        let has_had_caller = since > self.began;
        let idle = match &self.place {
            Some(_) if !has_had_caller => self.idle?.max(FIRST_WAIT),
            _ => self.idle?,
        };
        since.checked_add(idle)
    }

    fn drain(&mut self) {
        if self.stage == ServerStage::Open {
            self.stage = ServerStage::Draining;
            self.server.close();
        }
    }

    /// Does what a signal asks for. Returns the status if the server is to end at once.
    fn obey(&mut self, caught: Caught) -> Option<Status> {
        match caught {
            Caught::End(signal) if signal == rustix::process::Signal::HUP.as_raw() => {
                self.pools.iter().for_each(|served| served.pool.renew_workers());
            }
            Caught::End(signal) if self.stage != ServerStage::Open => {
                return Some(Status::Signal(signal));
            }
            Caught::End(_) => self.drain(),
            Caught::Quit(signal) => return Some(Status::Signal(signal)),
            Caught::Report => self.console.say(self.server.status().trim_end()),
            Caught::Suspend => self.suspend(),
        }
        None
    }

    /// Stops this process and its workers until a CONT.
    fn suspend(&self) {
        // All pools share their processes and their clock.
        let first = self.pools.first().map(|served| &served.pool);
        first.inspect(|pool| pool.pause());
        self.console.make_way(&mut || self.signals.suspend());
        first.inspect(|pool| pool.resume());
    }

    /// Ends at once: all workers are killed.
    async fn kill(self, status: Status) -> Status {
        self.server.fall_silent();
        self.server.close_now();
        self.pools.iter().for_each(|served| served.pool.kill());
        let _ = tokio::time::timeout(LAST_WAIT, ended(&self.pools)).await;
        status
    }
}

async fn ended(pools: &[ServedPool]) {
    for served in pools {
        served.pool.ended().await;
    }
}
