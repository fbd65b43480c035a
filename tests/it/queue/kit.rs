//! A server of NATS for a test, and runs of the procpool that can talk to it.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::common::{Running, Test, free_port, lines_of, need, wait_for};

/// The build with the feature `nats`.
fn program() -> Option<PathBuf> {
    let program = std::env::var_os("PROCPOOL_WITH_QUEUES").map(PathBuf::from);
    if program.is_none() {
        let required = std::env::var_os("PROCPOOL_TEST_REQUIRE").is_some_and(|what| what == "all");
        assert!(
            !required,
            "procpool with the feature nats is not installed: name it in PROCPOOL_WITH_QUEUES"
        );
        println!("skipped: procpool with the feature nats is not installed");
    }
    program
}

/// A server that is killed at the end of the test.
pub(crate) struct QueueServer {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    args: Vec<String>,
    child: Option<Child>,
}

impl QueueServer {
    /// A server. `None`: it is not installed, or there is no build that can talk to it.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_| Vec::new())
    }

    /// A server with arguments that know its folder.
    pub(crate) fn with(args: impl FnOnce(&str) -> Vec<String>) -> Option<Self> {
        let mut server = Self::stopped(args)?;
        server.restart();
        Some(server)
    }

    /// A server that is not started.
    pub(crate) fn stopped(args: impl FnOnce(&str) -> Vec<String>) -> Option<Self> {
        if !need("nats-server") {
            return None;
        }
        let program = program()?;
        let folder = TempDir::new().expect("a folder");
        let args = args(folder.path().to_str().expect("UTF-8"));
        Some(Self { folder, program, port: free_port(), args, child: None })
    }

    /// Starts it on its folder.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let child = Command::new("nats-server")
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--store_dir", &self.path("store"), "--log", &self.path("log")])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the server starts"));
        let port = self.port;
        wait_for("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("there is room");
        path
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}/jobs", self.port)
    }

    /// A run of procpool.
    pub(crate) fn test(&self) -> Test {
        let test = Test::program(&self.program);
        ["NATS_CREDS", "NATS_NKEY", "NATS_TOKEN", "NATS_USER", "NATS_PASSWORD", "NATS_CA"]
            .into_iter()
            .fold(test, |test, name| test.env(name, ""))
    }

    pub(crate) fn to(&self) -> Test {
        self.test().args(["--to", &self.url()])
    }

    pub(crate) fn via(&self) -> Test {
        self.test().args(["--via", &self.url()])
    }

    pub(crate) fn from(&self) -> Test {
        self.test().args(["--from", &self.url()])
    }

    /// A worker machine that goes on until the test ends.
    pub(crate) fn machine(&self, args: &[&str]) -> Running {
        // What a machine was given that is killed with the test before goes to another one soon.
        let wait = if args.contains(&"--ack-wait") { &[][..] } else { &["--ack-wait", "1s"] };
        self.from().args(wait).args(args).any_stderr().any_status().spawn()
    }

    /// How many jobs have been run, if each adds a line to the file `ran`.
    pub(crate) fn ran(&self) -> Vec<String> {
        let mut ran = lines_of(&self.path("ran"));
        ran.sort();
        ran
    }

    /// A command that says in the file `ran` that it was run, and prints its arg.
    pub(crate) fn noting(&self, then: &str) -> [String; 3] {
        let script = format!("echo \"$0\" >>'{}'; {then}echo \"$0\"", self.path("ran"));
        ["sh".to_owned(), "-c".to_owned(), script]
    }
}

impl Drop for QueueServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The numbers from 1 on, a line each.
pub(crate) fn numbers(count: usize) -> String {
    (1..=count).map(|number| format!("{number}\n")).collect()
}
