//! A server: an agent that many coordinators share. It listens on a Unix socket, and each of its callers is a
//! coordinator whose one host is that socket.

pub mod client;
mod door;
mod party;
mod party_work;
pub mod socket;
mod status;
pub mod switchboard;

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use self::door::Door;
use self::socket::ServerSocket;
use self::switchboard::Switchboard;
use crate::pool::Pool;
use crate::process::Wake;
use crate::util::lock::lock;

/// A pool of a server, and where its outcomes go.
#[derive(Clone, Debug)]
pub struct ServedPool {
    /// The pool. Its sink and its watcher are the switchboard.
    pub pool: Pool,
    /// Passes outcomes on to callers.
    pub switchboard: Arc<Switchboard>,
}

/// What a server tells callers, and how many it takes.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The words of a command line that say what its pools are, each with a NUL byte after it.
    pub words: Vec<u8>,
    /// How many jobs run at a time.
    pub slots: usize,
    /// No message of a caller has more bytes.
    pub longest: usize,
    /// There are at most this many callers.
    pub most_callers: usize,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    door: Arc<Door>,
    /// Ends when the door is closed and the socket is gone.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// A thread could not be started, or there is no room for descriptors.
    pub fn start(
        socket: ServerSocket,
        pools: Vec<ServedPool>,
        settings: ServerSettings,
    ) -> io::Result<Self> {
        for served in &pools {
            served.switchboard.serve(&served.pool);
        }
        let door = Arc::new(Door::new(Wake::new()?, pools, settings));
        let open = Arc::clone(&door);
        let thread =
            thread::Builder::new().name("door".into()).spawn(move || open.run(&open, socket))?;
        Ok(Self { door, thread: Mutex::new(Some(thread)) })
    }

    /// Takes no more callers, and removes the socket. The present callers may go on.
    pub fn close(&self) {
        self.door.close(false);
    }

    /// As [`Server::close`], and waits until the socket is gone.
    pub fn close_now(&self) {
        self.door.close(true);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Since when there is no caller; `None`: there is one.
    pub fn deserted_since(&self) -> Option<Instant> {
        self.door.deserted_since()
    }

    /// Whether it was closed, the socket is gone, and nobody is there.
    pub fn is_over(&self) -> bool {
        self.door.is_over()
    }

    /// Sends callers nothing more, so that they take the server for lost.
    pub fn fall_silent(&self) {
        self.door.fall_silent();
    }

    /// Waits until the number of callers changes, or a caller asks for the end.
    pub async fn changed(&self) {
        self.door.changed().await;
    }

    /// Whether somebody has asked for the end.
    pub fn is_to_end(&self) -> bool {
        self.door.is_to_end()
    }

    /// The status, as a line of JSON.
    pub fn status(&self) -> String {
        self.door.status()
    }
}
