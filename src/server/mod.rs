//! A server: an agent that many coordinators share. It listens on a Unix socket, and each of its callers is a
//! coordinator whose one host is that socket.

pub mod client;
mod door;
pub mod exchange;
mod party;
mod party_work;
pub mod socket;
mod status;

use std::io;
use std::sync::Arc;
use std::thread;

use self::door::Door;
use self::exchange::Exchange;
use self::socket::ServerSocket;
use crate::pool::Pool;
use crate::process::Wake;

/// A pool of a server, and where its outcomes go.
#[derive(Clone, Debug)]
pub struct ServedPool {
    /// The pool. Its sink and its watcher are the exchange.
    pub pool: Pool,
    /// Passes outcomes on to callers.
    pub exchange: Arc<Exchange>,
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
            served.exchange.serve(&served.pool);
        }
        let door = Arc::new(Door::new(Wake::new()?, pools, settings));
        let open = Arc::clone(&door);
        thread::Builder::new().name("door".into()).spawn(move || open.run(socket))?;
        Ok(Self { door })
    }

    /// Takes no more callers. The present ones may go on.
    pub fn close(&self) {
        self.door.close();
    }

    /// How many callers there are.
    pub fn callers(&self) -> usize {
        self.door.callers()
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
