//! [`Builder`]: the settings of a pool, the errors in them, and the making of the pool.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Commands;
use crate::config::{Config, Depth, Hosts, Init, Limits, Timeout};
use crate::interpreter::{Code, CodeError, Unchecked};
use crate::job::{Failure, Kind, Sink, Watcher};
use crate::pool::handle::Pool;
use crate::pool::shared::Shared;
use crate::pool::threads;
use crate::process::lookup::{self, ProgramError, Runner};
use crate::protocol::Protocol;

/// The settings of a pool that is not made yet.
#[derive(Clone)]
pub struct Builder {
    config: Result<Config, BuildError>,
    sink: Option<Arc<dyn Sink>>,
    watcher: Arc<dyn Watcher>,
    sources: Vec<String>,
    /// The pool whose processes, clock and gates it shares.
    beside: Option<Pool>,
    /// The code that is checked before the pool is made.
    code: Option<Code>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(command: &str) -> Self {
        let words = shell_words::split(command).map_err(|_| BuildError::Quotes(command.into()));
        Self::with(words.map(|words| Config::new(words.into_iter().map(Into::into).collect())))
    }

    pub(crate) fn of_commands(commands: Commands) -> Self {
        let mut config = Config::new(Vec::new());
        config.commands = Some(Arc::new(commands));
        Self::with(Ok(config))
    }

    pub(crate) fn of_code(code: &Code) -> Self {
        let mut config = Config::new(code.worker());
        config.worker.is_code = true;
        config.worker.protocol = code.protocol();
        config.worker.depth = Depth::Auto;
        // A worker that can't load the code would fail again.
        config.failures.start_limit = 1;
        Self { code: Some(code.clone()), ..Self::with(Ok(config)) }
    }

    fn with(config: Result<Config, BuildError>) -> Self {
        Self {
            config,
            sink: None,
            watcher: Arc::new(Stderr),
            sources: Vec::new(),
            beside: None,
            code: None,
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    /// One more argument for the worker.
    #[must_use]
    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        self.set(|config| config.worker.argv.push(arg.into()))
    }

    /// One more variable in the workers' environment.
    #[must_use]
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set(|config| config.worker.env.push((name.into(), value.into())))
    }

    /// The protocol of the workers. Default: `jsonl`.
    #[must_use]
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.set(|config| config.worker.protocol = protocol)
    }

    /// Whether the stdout of a worker is a terminal. Many programs write each line at once to a
    /// terminal, and hold their output back in a buffer otherwise. Default: no.
    #[must_use]
    pub fn pty(self, pty: bool) -> Self {
        self.set(|config| config.worker.pty = pty)
    }

    /// One more message for each fresh worker before its first job. A worker that does not answer it, or
    /// answers with an error, is not fit for work: that is a failed start-up.
    #[must_use]
    pub fn init(self, init: Init) -> Self {
        self.set(|config| config.worker.init.push(init))
    }

    /// How many workers there may be at a time, from 1 to 65,536. Default: the number of CPUs.
    #[must_use]
    pub fn max_procs(self, count: usize) -> Self {
        // Each slot has its place in the queue's tables from the beginning.
        self.set(|config| config.max_procs = count.clamp(1, 1 << 16))
    }

    /// After how many jobs a worker is replaced. 0, the default: never.
    #[must_use]
    pub fn max_reqs(self, count: u64) -> Self {
        self.set(|config| config.recycling.max_reqs = count)
    }

    /// How many jobs more than [`Builder::max_reqs`] a worker may have at most. The number is random
    /// for each worker, so that workers that were started together are not replaced together. Default:
    /// 0.
    #[must_use]
    pub fn max_reqs_jitter(self, count: u64) -> Self {
        self.set(|config| config.recycling.max_reqs_jitter = count)
    }

    /// A worker that is older than this is replaced once it has no job. Default: no limit.
    #[must_use]
    pub fn max_age(self, age: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.recycling.max_age = age.into())
    }

    /// A worker whose resident memory is larger, in bytes, is replaced once it has no job. Only its
    /// own memory counts, not that of its children. Linux only; elsewhere it has no effect.
    /// Default: no limit.
    #[must_use]
    pub fn max_rss(self, bytes: impl Into<Option<u64>>) -> Self {
        self.set(|config| config.recycling.max_rss = bytes.into())
    }

    /// A worker that has had no job for this long is ended. Default: no limit.
    #[must_use]
    pub fn idle_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.recycling.idle_timeout = time.into())
    }

    /// How many spare workers there may be. A spare is started before the time of a worker is over, so
    /// that no job waits for a worker to start. 0: a worker is stopped before its successor is started.
    /// Default: one for each slot.
    #[must_use]
    pub fn standby(self, count: usize) -> Self {
        self.set(|config| config.recycling.standby = count)
    }

    /// How many requests a worker may have in flight. Default: one. More are faster for short jobs, but
    /// many workers can't handle more than one.
    #[must_use]
    pub fn depth(self, depth: Depth) -> Self {
        self.set(|config| {
            config.worker.depth = match depth {
                Depth::Fixed(depth) => Depth::Fixed(depth.max(1)),
                Depth::Auto => Depth::Auto,
            }
        })
    }

    /// What jobs wait for besides a free worker. Default: nothing.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.set(|config| config.limits = limits)
    }

    /// By how much the priority of workers and commands is lower than that of this process, from 0 to
    /// 39. Default: 0.
    #[must_use]
    pub fn nice(self, more: i32) -> Self {
        self.set(|config| config.nice = more)
    }

    /// How long a job may take. Its time begins when its worker has read the request, or when its
    /// command is started. Default: no limit.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.failures.timeout = timeout.into().map(Timeout::Time))
    }

    /// How long a job may take, as a multiple of the median of the jobs that have succeeded. There is no
    /// limit before three jobs have succeeded.
    #[must_use]
    pub fn timeout_by_median(self, times: f64) -> Self {
        self.set(|config| config.failures.timeout = Some(Timeout::Median(times)))
    }

    /// How many times a job that has failed is tried again, unless the job sets that itself. Default:
    /// 0.
    #[must_use]
    pub fn retries(self, count: u32) -> Self {
        self.set(|config| config.failures.retries = count)
    }

    /// After which failures a job is tried again: some of [`Kind::PASSING`]. Default: all of these but
    /// [`Kind::Spawn`].
    #[must_use]
    pub fn retry_on(self, kinds: Vec<Kind>) -> Self {
        self.set(|config| config.failures.retry_on = kinds)
    }

    /// How long a job waits before its second try. It waits about twice as long before each further try,
    /// and no longer than about a minute. Default: 100 ms.
    #[must_use]
    pub fn retry_delay(self, time: Duration) -> Self {
        self.set(|config| config.failures.retry_delay = time)
    }

    /// How long a worker may take to end after its stdin is closed, and again after it gets TERM.
    /// Default: 5 seconds.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|config| config.grace = grace)
    }

    /// How long a worker may take to start: to answer its init messages and to read its first request. A
    /// worker that takes longer has failed to start; no job is charged with that. An interpreter may
    /// take this long to check code. Default: 5 minutes; `None`: no limit.
    #[must_use]
    pub fn start_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.failures.start_timeout = time.into())
    }

    /// The pool gives up once this many workers in a row have died before their first reply. Then all
    /// jobs that wait fail. 0: never. Default: 5.
    #[must_use]
    pub fn start_limit(self, count: u32) -> Self {
        self.set(|config| config.failures.start_limit = count)
    }

    /// The longest reply, in bytes. Default: 64 MiB.
    #[must_use]
    pub fn max_reply(self, bytes: usize) -> Self {
        self.set(|config| config.worker.max_reply = bytes)
    }

    /// Whether orphans are reaped. These are processes that become children of this process when their
    /// parents end, as for PID 1 of a container. This process must have no children but those of its
    /// pools. Default: no.
    #[must_use]
    pub fn reap_orphans(self, reaps: bool) -> Self {
        self.set(|config| config.reaps_orphans = reaps)
    }

    /// The machines that run the jobs, instead of [`Builder::max_procs`]: each has its own slots.
    #[must_use]
    pub fn hosts(self, hosts: Hosts) -> Self {
        let others = hosts.hosts.iter().map(|host| host.slots.unwrap_or(1)).sum::<usize>();
        self.max_procs(hosts.local_slots + others)
            .set(|config| config.hosts = Some(Arc::new(hosts)))
    }

    /// What this machine is called among others: jobs find it in `PROCPOOL_HOST`. Default: nothing.
    #[must_use]
    pub fn host_name(self, name: &str) -> Self {
        self.set(|config| config.host_name = Some(("PROCPOOL_HOST".into(), name.into())))
    }

    /// How many slots are counted before those of this pool, as on other machines. Default: none.
    #[must_use]
    pub fn slots_before(self, slots: usize) -> Self {
        self.set(|config| config.slots_before = slots)
    }

    /// Where the outcomes of fed jobs go. Without a sink they are lost.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Joins the pool to another one. To pause or kill one of them pauses or kills both. Limits and the
    /// number of spares hold for both together. The numbers of this pool's slots begin after `slots`.
    #[must_use]
    pub fn beside(mut self, other: &Pool, slots: usize) -> Self {
        self.beside = Some(other.clone());
        self.set(|config| config.slots_before = slots)
    }

    /// Who gets notes, stderr of workers, and other news. Default: all of it is written to stderr.
    #[must_use]
    pub fn watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = watcher;
        self
    }

    /// The names of the sources that [`crate::Place`] counts, for messages.
    #[must_use]
    pub fn sources(mut self, names: Vec<String>) -> Self {
        self.sources = names;
        self
    }

    /// Makes the pool. No worker is started before a job waits for one. If the workers run code, this
    /// waits until an interpreter has checked it.
    ///
    /// # Errors
    /// The worker can't be run. Some causes show only later, when it is started.
    pub fn build(self) -> Result<Pool, BuildError> {
        let config = self.config?;
        let runs_none = config.hosts.as_ref().is_some_and(|hosts| hosts.local_slots == 0);
        if !runs_none {
            check_program(&config)?;
        }
        let shared = Shared::new(config, self.watcher, self.sink, self.sources, threads::start);
        if let (Some(code), None, false) = (&self.code, &self.beside, runs_none) {
            let patience = shared.config.failures.start_timeout.unwrap_or(Duration::MAX);
            code.check(&shared.groups, patience).map_err(|unchecked| match unchecked {
                Unchecked::Wrong(error) => BuildError::Code(error),
                Unchecked::Ended(message) => ProgramError::CannotRun(message).into(),
            })?;
            shared.groups.count_anew();
        }
        Ok(match self.beside {
            Some(other) => Pool::new(other.share_with(shared)),
            None => Pool::new(shared),
        })
    }
}

impl Pool {
    /// Describes a pool of workers. Their command line is split into words as a shell does it, but run
    /// without a shell.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::Pool::builder("python3 handler.py").max_procs(4).max_reqs(100).build()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(command: &str) -> Builder {
        Builder::new(command)
    }

    /// Describes a pool that runs a command for each job, in a process of its own.
    pub fn commands(commands: Commands) -> Builder {
        Builder::of_commands(commands)
    }

    /// Describes a pool of warm interpreters that run code for each job. [`Builder::build`] has an
    /// interpreter check the code. Each interpreter may have several requests in flight
    /// ([`Depth::Auto`]).
    pub fn code(code: &Code) -> Builder {
        Builder::of_code(code)
    }
}

/// Why a pool could not be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The command line has an opening quote without a closing one.
    Quotes(String),
    /// The command line is empty.
    Empty,
    /// The worker's program can't be run.
    Program(ProgramError),
    /// The interpreter does not accept the code.
    Code(CodeError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quotes(line) => {
                write!(f, "the worker's command line has an unclosed quote: {line}")
            }
            Self::Empty => f.write_str("the worker's command line is empty"),
            Self::Program(error) => error.fmt(f),
            Self::Code(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<ProgramError> for BuildError {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

/// Checks whether the program of the workers, or of all commands, can be run.
fn check_program(config: &Config) -> Result<(), BuildError> {
    let Some(commands) = &config.commands else {
        let program = config.worker.argv.first().ok_or(BuildError::Empty)?;
        return Ok(lookup::check_for(program, Runner::Worker)?);
    };
    if commands.dry_run || commands.in_jobs {
        return Ok(());
    }
    let template = &commands.template;
    match template.program() {
        Some(program) if template.finds_as_we_do(program) => Ok(lookup::check(program)?),
        // If another program can't be run, that shows when a job runs it.
        _ => Ok(()),
    }
}

/// Writes everything to stderr.
struct Stderr;

impl Watcher for Stderr {
    fn worker_stderr(&self, lines: &[u8]) {
        let _ = io::Write::write_all(&mut io::stderr().lock(), lines);
    }

    fn note(&self, text: &str) {
        let _ = io::Write::write_all(
            &mut io::stderr().lock(),
            format!("procpool: {text}\n").as_bytes(),
        );
    }

    fn start_limit_reached(&self, _: &Failure) {}
}
