//! The description of a pool, and what can be wrong with it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Commands;
use crate::config::Depth;
use crate::config::Init;
use crate::config::Limits;
use crate::config::{Config, Timeout};
use crate::interpreter::{Code, CodeError, Unchecked};
use crate::job::{Failure, Kind, Sink, Watcher};
use crate::pool::handle::Pool;
use crate::pool::shared::Shared;
use crate::pool::threads;
use crate::process::lookup::{self, ProgramError, Runner};
use crate::protocol::Protocol;

/// A pool that is being described.
#[derive(Clone)]
pub struct Builder {
    config: Result<Config, BuildError>,
    sink: Option<Arc<dyn Sink>>,
    watcher: Arc<dyn Watcher>,
    sources: Vec<String>,
    /// The pool that it shares processes, clock and gates with.
    beside: Option<Pool>,
    /// What is to be checked.
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
        Self {
            config: words.map(|words| Config::new(words.into_iter().map(Into::into).collect())),
            sink: None,
            watcher: Arc::new(Stderr),
            sources: Vec::new(),
            beside: None,
            code: None,
        }
    }

    pub(crate) fn of_commands(commands: Commands) -> Self {
        let mut config = Config::new(Vec::new());
        config.commands = Some(Arc::new(commands));
        Self {
            config: Ok(config),
            sink: None,
            watcher: Arc::new(Stderr),
            sources: Vec::new(),
            beside: None,
            code: None,
        }
    }

    pub(crate) fn of_code(code: &Code) -> Self {
        let config = Ok(Config {
            is_code: true,
            protocol: code.protocol(),
            depth: Depth::Auto,
            // It fails for what it is given to load, and would do so again.
            start_limit: 1,
            ..Config::new(code.worker())
        });
        let (watcher, sources) = (Arc::new(Stderr), Vec::new());
        Self { config, sink: None, watcher, sources, beside: None, code: Some(code.clone()) }
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
        self.set(|config| config.worker.push(arg.into()))
    }

    /// One more variable in the workers' environment.
    #[must_use]
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set(|config| config.env.push((name.into(), value.into())))
    }

    /// How workers are spoken to. Default: `jsonl`.
    #[must_use]
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.set(|config| config.protocol = protocol)
    }

    /// Whether workers have a terminal for their stdout, so that programs that would otherwise hold
    /// their output back in a buffer write each line at once. Default: no.
    #[must_use]
    pub fn pty(self, pty: bool) -> Self {
        self.set(|config| config.pty = pty)
    }

    /// One more thing that each fresh worker is asked, or told, before its first job. One that does
    /// not answer it, or answers with an error, is not fit for work: that is a failed start-up.
    #[must_use]
    pub fn init(self, init: Init) -> Self {
        self.set(|config| config.init.push(init))
    }

    /// At most so many workers at a time, from 1 to 65,536. Default: the number of CPUs.
    #[must_use]
    pub fn max_procs(self, count: usize) -> Self {
        // Each has its place in the queue's tables from the beginning.
        self.set(|config| config.max_procs = count.clamp(1, 1 << 16))
    }

    /// A worker is replaced after so many jobs. 0, the default: never.
    #[must_use]
    pub fn max_reqs(self, count: u64) -> Self {
        self.set(|config| config.max_reqs = count)
    }

    /// …or after up to so many more, at random for each worker, so that workers that were started
    /// together are not replaced together. Default: 0.
    #[must_use]
    pub fn max_reqs_jitter(self, count: u64) -> Self {
        self.set(|config| config.max_reqs_jitter = count)
    }

    /// A worker that has lived so long is replaced once it has no job. Default: it may grow old.
    #[must_use]
    pub fn max_age(self, age: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.max_age = age.into())
    }

    /// A worker whose resident memory is larger, in bytes, is replaced once it has no job. Only its
    /// own memory counts, not that of its children. Linux only; elsewhere it has no effect.
    /// Default: no limit.
    #[must_use]
    pub fn max_rss(self, bytes: impl Into<Option<u64>>) -> Self {
        self.set(|config| config.max_rss = bytes.into())
    }

    /// A worker that has had no job for so long is ended. Default: it may wait for ever.
    #[must_use]
    pub fn idle_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.idle_timeout = time.into())
    }

    /// So many workers may be alive, ready and waiting, to replace those whose time is nearly over,
    /// so that no job waits for a worker to start. 0: a worker is replaced by stopping it first.
    /// Default: one for each slot.
    #[must_use]
    pub fn standby(self, count: usize) -> Self {
        self.set(|config| config.standby = count)
    }

    /// How many requests a worker may have in flight. Default: one. More are faster for short jobs,
    /// but many workers can't deal with them.
    #[must_use]
    pub fn depth(self, depth: Depth) -> Self {
        self.set(|config| {
            config.depth = match depth {
                Depth::Fixed(depth) => Depth::Fixed(depth.max(1)),
                Depth::Auto => Depth::Auto,
            }
        })
    }

    /// What jobs must wait for besides a free worker. Default: nothing.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.set(|config| config.limits = limits)
    }

    /// How much lower the priority of workers and commands is than that of this process, from 0 to
    /// 39. Default: 0.
    #[must_use]
    pub fn nice(self, more: i32) -> Self {
        self.set(|config| config.nice = more)
    }

    /// How long a job may take. Its time begins when its worker has read the request, or when its
    /// command is started. Default: as long as it likes.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.timeout = timeout.into().map(Timeout::Time))
    }

    /// A job may take so many times the median of the jobs that have succeeded, once there are three
    /// of them.
    #[must_use]
    pub fn timeout_by_median(self, times: f64) -> Self {
        self.set(|config| config.timeout = Some(Timeout::Median(times)))
    }

    /// How often a job may be tried again that has failed, unless it says so itself. Default: 0.
    #[must_use]
    pub fn retries(self, count: u32) -> Self {
        self.set(|config| config.retries = count)
    }

    /// The failures after which a job may be tried again, of [`Kind::PASSING`]. Default: all of them
    /// but [`Kind::Spawn`].
    #[must_use]
    pub fn retry_on(self, kinds: Vec<Kind>) -> Self {
        self.set(|config| config.retry_on = kinds)
    }

    /// How long a job waits before its second try, about; twice as long before each further one, and
    /// never longer than a minute. Default: 100 ms.
    #[must_use]
    pub fn retry_delay(self, time: Duration) -> Self {
        self.set(|config| config.retry_delay = time)
    }

    /// How long a worker may take to end, once its stdin is closed and again once it has got TERM.
    /// Default: 5 seconds.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|config| config.grace = grace)
    }

    /// How long a worker may take to start: to read its first request and, before that, to answer
    /// what fresh workers are asked. One that takes longer has failed to start; no job is charged
    /// with that. An interpreter may take so long to check code. Default: 5 minutes; `None`: no limit.
    #[must_use]
    pub fn start_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.start_timeout = time.into())
    }

    /// How many workers in a row may die before their first reply before the jobs that wait are
    /// failed; 0: any number. Default: 5.
    #[must_use]
    pub fn start_limit(self, count: u32) -> Self {
        self.set(|config| config.start_limit = count)
    }

    /// The longest reply, in bytes. Default: 64 MiB.
    #[must_use]
    pub fn max_reply(self, bytes: usize) -> Self {
        self.set(|config| config.max_reply = bytes)
    }

    /// Whether processes are reaped that come to this process since their parents are gone, as they do
    /// to PID 1 of a container. The process must have no children but those of its pools. Default: no.
    #[must_use]
    pub fn reap_orphans(self, reaps: bool) -> Self {
        self.set(|config| config.reaps_orphans = reaps)
    }

    /// Where the outcomes of fed jobs go. Without a sink they go nowhere.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// The pool stands beside another one: pausing and killing, the limits that jobs wait for and the
    /// number of spares are those of both, and its slots are counted behind `slots` others.
    #[must_use]
    pub fn beside(mut self, other: &Pool, slots: usize) -> Self {
        self.beside = Some(other.clone());
        self.set(|config| config.slots_before = slots)
    }

    /// Who is told of what is worth notice. Default: all of it is written to stderr.
    #[must_use]
    pub fn watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = watcher;
        self
    }

    /// What the sources that [`crate::Place`] counts are called in messages.
    #[must_use]
    pub fn sources(mut self, names: Vec<String>) -> Self {
        self.sources = names;
        self
    }

    /// Makes the pool. No worker is started before a job waits for one, but an interpreter checks the
    /// code that there is, and is waited for.
    ///
    /// # Errors
    /// The worker can't be run, as far as can be told without running it.
    pub fn build(self) -> Result<Pool, BuildError> {
        let config = self.config?;
        match &config.commands {
            None => {
                let program = config.worker.first().ok_or(BuildError::Empty)?;
                lookup::check_for(program, Runner::Worker)?;
            }
            Some(commands) if commands.dry_run || commands.in_jobs => {}
            Some(commands) => match commands.template.program() {
                Some(program) if commands.template.finds_as_we_do(program) => {
                    lookup::check(program)?
                }
                // What it is shows when a job is run.
                _ => {}
            },
        }
        let shared = Shared::new(config, self.watcher, self.sink, self.sources, threads::start);
        if let (Some(code), None) = (&self.code, &self.beside) {
            let patience = shared.config.start_timeout.unwrap_or(Duration::MAX);
            code.check(&shared.groups, patience).map_err(|unchecked| match unchecked {
                Unchecked::Wrong(error) => BuildError::Code(error),
                Unchecked::Ended(message) => ProgramError::CannotRun(message).into(),
            })?;
            shared.groups.count_anew();
        }
        Ok(match self.beside {
            Some(other) => Pool::new(other.stand_beside(shared)),
            None => Pool::new(shared),
        })
    }
}

impl Pool {
    /// Begins a pool of workers of a command line, which is split into words as a shell does it,
    /// but run without one.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::Pool::builder("python3 handler.py").max_procs(4).max_reqs(100).build()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(command: &str) -> Builder {
        Builder::new(command)
    }

    /// Begins a pool that runs a command for each job, in a process of its own.
    pub fn commands(commands: Commands) -> Builder {
        Builder::of_commands(commands)
    }

    /// Begins a pool of warm interpreters that run code for each job. [`Builder::build`] has an
    /// interpreter check the code. A window of requests is open at each ([`Depth::Auto`]).
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
    /// The code that is to be run makes no sense to its interpreter.
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
