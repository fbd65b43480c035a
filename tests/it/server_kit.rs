//! The tools of the tests of servers: a server that is ended with the test, and its callers.

use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Crew, Output, Running, Test, json};

/// A server, and the folder of its socket.
pub(crate) struct Served {
    pub(crate) crew: Crew,
    pub(crate) server: Option<Running>,
}

impl Served {
    /// A server with faulty workers that have these flags.
    pub(crate) fn with_workers(slots: usize, flags: &str, args: &[&str]) -> Self {
        let crew = Crew::new();
        let worker = crew.worker(flags);
        Self::start(crew, slots, &[&["-w", &worker], args].concat())
    }

    /// A server with these arguments.
    pub(crate) fn with(slots: usize, args: &[&str]) -> Self {
        Self::start(Crew::new(), slots, args)
    }

    pub(crate) fn start(crew: Crew, slots: usize, args: &[&str]) -> Self {
        let mut served = Self { crew, server: None };
        served.start_again(slots, args);
        served
    }

    /// Starts a server at the same socket, and waits until it listens.
    pub(crate) fn start_again(&mut self, slots: usize, args: &[&str]) {
        let server = Test::new()
            .args(["--serve", &self.socket(), "-j", &slots.to_string()])
            .args(args)
            .any_stderr()
            .any_status()
            .patience(120)
            .spawn();
        server.await_stderr("serving at");
        self.server = Some(server);
    }

    pub(crate) fn socket(&self) -> String {
        self.crew.path("s")
    }

    /// A caller.
    pub(crate) fn call(&self) -> Test {
        Test::new().args(["--connect", &self.socket()])
    }

    /// A connection that says nothing of its own.
    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).expect("the server listens")
    }

    pub(crate) fn status(&self) -> Value {
        let output = Test::new().args(["--status", &self.socket()]).any_stdout().run();
        json(output.lines()[0])
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.server.as_ref().expect("a server").signal(signal);
    }

    /// Waits for the end of the server.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Output, Crew) {
        (self.server.take().expect("a server").finish(), self.crew)
    }

    /// Asserts that a caller still gets what it asks for.
    #[track_caller]
    pub(crate) fn assert_well(&self) {
        self.call().args(["echo", ":::", "well"]).stdout(RECORD).run();
    }
}

/// What `echo ::: well` prints.
const RECORD: &str = "{\"id\":1,\"ok\":true,\"result\":[\"well\"]}\n";
