//! The settings of a pool, with their defaults. They do not change once the pool is built.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use crate::command::Commands;
use crate::job::{Job, Kind, PartsConfig};
use crate::process::CpuShare;
use crate::protocol::Protocol;
use crate::util::exit_set::ExitSet;
use crate::util::lock::lock;

/// The settings of a pool. [`crate::Builder`] makes them.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) worker: WorkerConfig,
    /// The command that is run for each job if there is no worker.
    pub(crate) commands: Option<Arc<Commands>>,
    pub(crate) recycling: RecyclingConfig,
    pub(crate) failures: FailureConfig,
    pub(crate) calls: CallConfig,
    pub(crate) process: ProcessConfig,
    /// What a job waits for before it starts.
    pub(crate) limits: Limits,
    /// The pool has at most this many workers at a time, at least 1.
    pub(crate) max_procs: usize,
    /// How many slots of other pools are counted before those of this one.
    pub(crate) slots_before: usize,
    /// How much lower the priority of workers and commands is than that of this process.
    pub(crate) nice: i32,
    /// How long a worker or a command may take to end before it is killed.
    pub(crate) grace: Duration,
    /// Orphans that become children of this process are reaped.
    pub(crate) reaps_orphans: bool,
    /// The other machines, if there are any.
    pub(crate) hosts: Option<Arc<Hosts>>,
}

/// The program of a worker, and how procpool talks to it.
#[derive(Clone, Debug)]
pub(crate) struct WorkerConfig {
    /// The program and its arguments. It is empty if commands are run instead.
    pub(crate) argv: Vec<OsString>,
    /// The worker is one of procpool's own, which run the user's code.
    pub(crate) is_code: bool,
    /// Workers are forked from a process that has loaded the code.
    pub(crate) preload: bool,
    /// The worker's stdout is a terminal.
    pub(crate) pty: bool,
    pub(crate) protocol: Protocol,
    /// The messages that a fresh worker is sent before its first job.
    pub(crate) init: Vec<Init>,
    /// How many requests a worker may have in flight.
    pub(crate) depth: Depth,
    /// The longest reply, in bytes.
    pub(crate) max_reply: usize,
    /// What happens to the parts of a result that come before its end.
    pub(crate) parts: PartsConfig,
    /// How many workers are started before there is a job.
    pub(crate) prestart: usize,
}

/// The surroundings of a process when it is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessConfig {
    /// Additions to the environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Further additions, with placeholders for the slot.
    pub(crate) env_of_slot: Vec<(OsString, OsString)>,
    /// The directory of workers, with placeholders for the slot.
    pub(crate) cwd_of_slot: Option<OsString>,
    /// The CPUs are divided among this many slots; 0: each slot has all of them.
    pub(crate) cpus_for_slots: usize,
    /// The environment of this process is not passed on.
    pub(crate) clears_env: bool,
    /// The directory that they are started in; `None`: that of this process when the pool was made.
    pub(crate) cwd: Option<PathBuf>,
    /// The directory of this process when the pool was made, if that is known.
    pub(crate) home: Option<PathBuf>,
    /// The program of all commands, and where it is, if every job runs the same one and the system would search for
    /// it as we do.
    pub(crate) program: Option<(OsString, OsString)>,
}

/// How long calls wait, and how long dropped ones may run on.
#[derive(Clone, Debug)]
pub(crate) struct CallConfig {
    /// How many calls may wait in the queue; `None`: any number.
    pub(crate) max_queue: Option<usize>,
    /// How long a call may wait in the queue, unless it says so itself.
    pub(crate) queue_timeout: Option<Duration>,
    /// How long a job may go on whose call was dropped, before its worker is ended.
    pub(crate) cancel_grace: Duration,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self { max_queue: None, queue_timeout: None, cancel_grace: Duration::from_secs(1) }
    }
}

/// When a worker is replaced.
#[derive(Clone, Debug)]
pub(crate) struct RecyclingConfig {
    /// A worker is replaced after this many jobs; 0: never.
    pub(crate) max_reqs: u64,
    /// A worker gets up to this many jobs more, at random.
    pub(crate) max_reqs_jitter: u64,
    /// A worker that is older is replaced.
    pub(crate) max_age: Option<Duration>,
    /// A worker that holds more memory, in bytes, is replaced.
    pub(crate) max_rss: Option<u64>,
    /// A worker that has had no job for this long is ended.
    pub(crate) idle_timeout: Option<Duration>,
    /// How many workers may be started before those that they replace have ended.
    pub(crate) standby: usize,
}

/// When a job or a start-up has failed, and when a job is tried again.
#[derive(Clone, Debug)]
pub(crate) struct FailureConfig {
    /// How long a job may take, unless the job sets that itself.
    pub(crate) timeout: Option<Timeout>,
    /// A worker or command may print nothing for this long while it has a job.
    pub(crate) silence: Option<Duration>,
    /// The processes of a job may use this much memory, in bytes.
    pub(crate) max_memory: Option<u64>,
    /// How often a job may be tried again, unless the job sets that itself.
    pub(crate) retries: u32,
    /// The failures after which a job may be tried again.
    pub(crate) retry_on: Vec<Kind>,
    /// The exit statuses of commands that are not tried again.
    pub(crate) no_retry_exit: ExitSet,
    /// How long a job waits before its second try, about; twice as long before each further one.
    pub(crate) retry_delay: Duration,
    /// How long a worker may take to start: to read its first request.
    pub(crate) start_timeout: Option<Duration>,
    /// The pool gives up after this many start-up failures in a row; 0: never.
    pub(crate) start_limit: u32,
    /// After that, a pool with a sink takes jobs again. Pools without a sink always do.
    pub(crate) goes_on: bool,
}

impl fmt::Debug for Config {
    /// Only the difference from other pools: all settings are a page.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.worker.argv.first();
        f.debug_struct("Config")
            .field("program", &program)
            .field("max_procs", &self.max_procs)
            .finish_non_exhaustive()
    }
}

impl ProcessConfig {
    /// The CPUs of a slot, which counts from 1.
    pub(crate) fn cpus(&self, slot: usize) -> Option<CpuShare> {
        let slots = self.cpus_for_slots;
        (slots > 0).then(|| CpuShare { slot: slot.saturating_sub(1), slots })
    }

    /// The directory to start a process in; `None`: the one that this process is in.
    pub(crate) fn directory(&self) -> Option<OsString> {
        if let Some(cwd) = &self.cwd {
            return Some(cwd.clone().into_os_string());
        }
        let home = self.home.as_ref()?;
        // This process may have gone elsewhere since, and relative paths must mean what they meant.
        let has_moved = std::env::current_dir().is_ok_and(|now| now != *home);
        has_moved.then(|| home.clone().into_os_string())
    }
}

impl Config {
    /// Whether output is passed on while its job goes on.
    pub(crate) fn is_live(&self) -> bool {
        let has_live_commands = self.commands.as_ref().is_some_and(|commands| commands.live);
        has_live_commands || self.worker.parts.are_passed_on
    }

    /// The default settings of a pool with this worker.
    pub(crate) fn new(argv: Vec<OsString>) -> Self {
        Self {
            worker: WorkerConfig::new(argv),
            commands: None,
            recycling: RecyclingConfig::default(),
            failures: FailureConfig::default(),
            calls: CallConfig::default(),
            process: ProcessConfig::default(),
            limits: Limits::default(),
            max_procs: 1,
            slots_before: 0,
            nice: 0,
            grace: Duration::from_secs(5),
            reaps_orphans: false,
            hosts: None,
        }
    }
}

impl WorkerConfig {
    fn new(argv: Vec<OsString>) -> Self {
        Self {
            argv,
            is_code: false,
            preload: false,
            pty: false,
            protocol: Protocol::default(),
            init: Vec::new(),
            depth: Depth::Fixed(1),
            max_reply: 64 << 20,
            parts: PartsConfig::default(),
            prestart: 0,
        }
    }
}

impl RecyclingConfig {
    /// Whether it can be foreseen when a worker will have served its time.
    pub(crate) fn foresees_ends(&self) -> bool {
        self.max_reqs > 0 || self.max_age.is_some()
    }
}

impl Default for RecyclingConfig {
    fn default() -> Self {
        Self {
            max_reqs: 0,
            max_reqs_jitter: 0,
            max_age: None,
            max_rss: None,
            idle_timeout: None,
            standby: usize::MAX,
        }
    }
}

impl Default for FailureConfig {
    fn default() -> Self {
        Self {
            timeout: None,
            silence: None,
            max_memory: None,
            retries: 0,
            retry_on: vec![Kind::Error, Kind::Exit, Kind::Crash, Kind::Timeout, Kind::Protocol],
            no_retry_exit: ExitSet::default(),
            retry_delay: Duration::from_millis(100),
            start_timeout: Some(Duration::from_secs(300)),
            start_limit: 5,
            goes_on: false,
        }
    }
}

/// The name of this machine among others.
pub const THIS_HOST: &str = ":";

/// The machines that run the jobs of a pool.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// The other machines. Each has its own slots.
    pub hosts: Vec<Host>,
    /// How many slots this machine has; 0: it runs no job.
    pub local_slots: usize,
    /// The words that an agent runs. The program that is started as an agent reads it.
    pub task: Vec<u8>,
    /// The folder in which agents work, if they have it.
    pub folder: PathBuf,
    /// The program that runs as an agent. A host that has none gets a copy of it.
    pub program: PathBuf,
    /// A host that gives no sign of life for this long is lost.
    pub timeout: Duration,
    /// A job that ran on a host that was lost is run again elsewhere.
    pub rerun: bool,
}

impl Hosts {
    /// How many machines there are, with this one if it runs jobs.
    pub(crate) fn count(&self) -> usize {
        self.hosts.len() + usize::from(self.local_slots > 0)
    }

    /// Whether a server on this machine runs the jobs. It is no other machine to the user.
    pub(crate) fn is_server(&self) -> bool {
        self.hosts.iter().any(|host| host.line.is_some())
    }
}

/// Another machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// How many jobs it runs at a time; `None`: as many as it has CPUs.
    pub slots: Option<usize>,
    /// The words that start a program there. The name and arguments of the program come after them. The
    /// launcher's stdin and stdout are those of the program.
    pub launcher: Vec<OsString>,
    /// The words of a command that is run here before the first connection; none: nothing is.
    pub before: Vec<OsString>,
    /// The connection to a server on this machine: nothing is launched.
    pub line: Option<ServerLine>,
}

/// A connection to a server that is open already. It is used once.
#[derive(Clone)]
pub struct ServerLine {
    open: Arc<Mutex<Option<OpenLine>>>,
    longest: usize,
}

/// A connected socket, and the bytes that have come over it.
type OpenLine = (OwnedFd, Vec<u8>);

impl ServerLine {
    /// A connected socket, and the bytes that have come after the greeting. `longest`: the server takes no message
    /// with more bytes.
    pub fn new(socket: OwnedFd, bytes: Vec<u8>, longest: usize) -> Self {
        Self { open: Arc::new(Mutex::new(Some((socket, bytes)))), longest }
    }

    /// Takes the socket, and the bytes that have come over it.
    pub(crate) fn take(&self) -> Option<OpenLine> {
        lock(&self.open).take()
    }

    /// The server takes no message with more bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }
}

impl fmt::Debug for ServerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerLine")
    }
}

/// How long a job may take. A [`Duration`] turns into [`Timeout::Time`].
///
/// A job's time begins when its worker has read the request, or when its command is started. The time
/// that it waits in the queue does not count.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Timeout {
    /// There is no limit.
    Never,
    /// This long.
    Time(Duration),
    /// This multiple of the median time of the jobs that have succeeded, once there are three.
    Median(f64),
}

impl From<Duration> for Timeout {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl From<Option<Duration>> for Timeout {
    fn from(time: Option<Duration>) -> Self {
        time.map_or(Self::Never, Self::Time)
    }
}

/// A message that a fresh worker is sent before its first job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The message as a person wrote it.
    pub(crate) line: String,
    /// Command and args, as JSON; `None`: the line itself is the message.
    pub(crate) texts: Option<(String, String)>,
    /// The worker answers the message.
    pub(crate) has_reply: bool,
}

impl Init {
    /// A call that the worker answers.
    ///
    /// # Errors
    /// The args can't be written as JSON. The text says why.
    pub(crate) fn of_call(cmd: &str, args: &impl Serialize) -> Result<Self, String> {
        let text = |error: serde_json::Error| error.to_string();
        let cmd_text = serde_json::to_string(cmd).map_err(text)?;
        let args = serde_json::to_string(args).map_err(text)?.replace(['\n', '\r'], " ");
        let line = format!("{cmd} {args}");
        Ok(Self { line, texts: Some((cmd_text, args)), has_reply: true })
    }

    /// The message as a job.
    pub(crate) fn job(&self) -> Job {
        match &self.texts {
            Some((cmd, args)) => Job::new(0, cmd, args, ""),
            None => Job::message(0, self.line.as_bytes()),
        }
    }
}

/// How many requests a worker may have in flight: a fixed number, or as many as its measured speed
/// asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// This many, at least 1.
    Fixed(usize),
    /// A few milliseconds of work: many short jobs, or one long one.
    Auto,
}

/// What a job waits for before it starts, besides a free worker.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// At least this much time passes from one start to the next.
    pub interval: Option<Duration>,
    /// No job starts while the load average of the last minute is above this.
    pub max_load: Option<f64>,
    /// No job starts while fewer bytes of memory than this are available.
    pub min_free_memory: Option<u64>,
    /// Each job takes a token of the jobserver, if `make` has started procpool and has a jobserver.
    pub jobserver: bool,
}
