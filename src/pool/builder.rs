//! [`Builder`]: the settings of a pool, the errors in them, and the making of the pool.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::command::Commands;
use crate::config::{Config, Depth, Init, Limits, Timeout};
use crate::interpreter::Code;
use crate::job::{Kind, PartsConfig, Sink, Watcher};
use crate::pool::build_error::BuildError;
use crate::pool::handle::Pool;
use crate::pool::stderr::{Voice, WorkerStderr};
use crate::protocol::Protocol;
use crate::util::exit_set::ExitSet;

/// The settings of a pool that is not made yet. [`Builder::build`] checks them all.
///
/// ```
/// # fn main() -> Result<(), procpool::BuildError> {
/// use std::time::Duration;
/// use procpool::Pool;
///
/// let pool = Pool::worker(["sh", "-c", "while read -r line; do echo '{\"result\":42}'; done"])
///     .max_procs(4)
///     .max_reqs(10_000) // a worker is replaced after 10,000 jobs
///     .timeout(Duration::from_secs(30))
///     .env("MODEL", "small")
///     .on_stderr(|slot, pid, text| {
///         eprint!("worker {pid} in slot {slot}: {}", String::from_utf8_lossy(text));
///     })
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "it makes no pool before it is built"]
pub struct Builder {
    pub(super) config: Result<Config, BuildError>,
    pub(super) sink: Option<Arc<dyn Sink>>,
    /// `None`: the voice has the pool's messages.
    pub(super) watcher: Option<Arc<dyn Watcher>>,
    pub(super) voice: Voice,
    pub(super) sources: Vec<String>,
    /// The pool whose processes, clock and gates it shares.
    pub(super) beside: Option<Pool>,
    /// The code that is checked before the pool is made.
    pub(super) code: Option<Code>,
    /// `None`: one for each CPU. They are counted only then, since that takes several files of the system.
    pub(super) max_procs: Option<usize>,
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

    fn of_argv(argv: Vec<OsString>) -> Self {
        Self::with(Ok(Config::new(argv)))
    }

    fn of_commands(commands: Result<Commands, BuildError>) -> Self {
        Self::with(commands.map(|commands| {
            let mut config = Config::new(Vec::new());
            config.commands = Some(Arc::new(commands));
            config
        }))
    }

    fn of_code(code: &Code) -> Self {
        let code = code.clone().absolute();
        let mut config = Config::new(code.worker());
        config.worker.is_code = true;
        config.worker.preload = code.preload;
        config.worker.protocol = code.protocol();
        config.worker.depth = Depth::Auto;
        // A worker that can't load the code would fail again.
        config.failures.start_limit = 1;
        Self { code: Some(code), ..Self::with(Ok(config)) }
    }

    fn with(config: Result<Config, BuildError>) -> Self {
        Self {
            config,
            sink: None,
            watcher: None,
            voice: Voice::default(),
            sources: Vec::new(),
            beside: None,
            code: None,
            max_procs: None,
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Config)) -> Self {
        if let Ok(config) = &mut self.config {
            set(config);
        }
        self
    }

    fn try_set(mut self, set: impl FnOnce(&mut Config) -> Result<(), BuildError>) -> Self {
        if let Ok(config) = &mut self.config
            && let Err(error) = set(config)
        {
            self.config = Err(error);
        }
        self
    }

    /// The parts of a worker's results are given to the sink as they come. `keeps`: the whole result is needed
    /// after that.
    #[doc(hidden)]
    pub fn pass_parts_on(self, keeps: bool) -> Self {
        self.set(|config| {
            config.worker.parts = PartsConfig { are_passed_on: true, are_kept: keeps };
        })
    }

    /// One more argument for the worker.
    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        self.try_set(|config| {
            if config.commands.is_some() {
                return Err(BuildError::NoEffect { setting: "arg" });
            }
            config.worker.argv.push(arg.into());
            Ok(())
        })
    }

    /// One more variable in the environment of the workers or commands. [`Builder::env_clear`] does not
    /// remove it.
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set(|config| config.process.env.push((name.into(), value.into())))
    }

    /// The workers or commands do not inherit the environment of this process. They have the variables of
    /// [`Builder::env`], and workers those of procpool.
    pub fn env_clear(self) -> Self {
        self.set(|config| config.process.clears_env = true)
    }

    /// The directory that workers or commands are started in. Default: the current directory of this
    /// process when the pool is built. A relative path of the program is not relative to this directory,
    /// but to the current one.
    pub fn current_dir(self, path: impl Into<PathBuf>) -> Self {
        self.set(|config| config.process.cwd = Some(path.into()))
    }

    /// A function gets what workers write to stderr: their slot, from 1, their process id, and the text:
    /// whole lines with their ends. An unfinished line comes after 0.1 s, and a line of more than 64 KiB in
    /// pieces. The function is called on the thread that serves the worker, so it should be quick. If it
    /// panics, that is ignored. Default: the text is written to the stderr of this process. What commands
    /// write is in [`CommandOutput`](crate::CommandOutput) instead.
    pub fn on_stderr(
        mut self,
        on_text: impl Fn(usize, u32, &[u8]) + Send + Sync + 'static,
    ) -> Self {
        self.voice.stderr = WorkerStderr::Call(Arc::new(on_text));
        self
    }

    /// The stderr of workers is thrown away. If a worker dies, the message of the failure still has its last lines.
    pub fn stderr_null(mut self) -> Self {
        self.voice.stderr = WorkerStderr::Null;
        self
    }

    /// A function gets the notes of the pool: sentences for a person, such as that a worker that was idle
    /// has died. If it panics, that is ignored. Default: they are written to stderr.
    pub fn on_note(mut self, on_note: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.voice.on_note = Some(Arc::new(on_note));
        self
    }

    /// The protocol of the workers. Default: [`Protocol::JSONL`].
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.set(|config| config.worker.protocol = protocol)
    }

    /// Whether the stdout of a worker is a terminal. Many programs write each line at once to a
    /// terminal, and hold their output back in a buffer otherwise. Default: no.
    pub fn pty(self, pty: bool) -> Self {
        self.set(|config| config.worker.pty = pty)
    }

    /// One more job for each fresh worker before its first job, to load a model, say. A worker that does not
    /// answer it, or answers with an error, is not fit for work: that is a failed start-up.
    pub fn init(self, cmd: &str, args: impl Serialize) -> Self {
        self.try_set(|config| {
            config.worker.init.push(Init::of_call(cmd, &args).map_err(BuildError::Args)?);
            Ok(())
        })
    }

    /// As [`Builder::init`], a message.
    #[doc(hidden)]
    pub fn first_message(self, init: Init) -> Self {
        self.set(|config| config.worker.init.push(init))
    }

    /// One more variable in the environment of workers. In its value, `{%}` is the number of the slot from 1,
    /// and `{%0}` from 0.
    #[doc(hidden)]
    pub fn env_of_slot(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set(|config| config.process.env_of_slot.push((name.into(), value.into())))
    }

    /// The directory of workers, with placeholders as in [`Builder::env_of_slot`].
    #[doc(hidden)]
    pub fn dir_of_slot(self, path: impl Into<OsString>) -> Self {
        self.set(|config| config.process.cwd_of_slot = Some(path.into()))
    }

    /// Divides the CPUs among this many slots. A worker or a command, and all that it starts, run on the CPUs
    /// of its slot. If there are more slots than CPUs, several share one. 0, the default: all run on all
    /// CPUs. Linux only; elsewhere it has no effect.
    pub fn cpu_affinity(self, slots: usize) -> Self {
        self.set(|config| config.process.cpus_for_slots = slots)
    }

    /// How many workers are started at once, before there is a job for them. At most
    /// [`Builder::max_procs`]. Workers that end later are replaced when there is a job. Default: 0.
    pub fn prestart(self, count: usize) -> Self {
        self.set(|config| config.worker.prestart = count)
    }

    /// How many workers there may be at a time, from 1 to 65,536. Default: the number of CPUs.
    pub fn max_procs(self, count: usize) -> Self {
        Self { max_procs: Some(count), ..self }
    }

    /// How many calls may wait in the queue for a worker, at least 1. [`Pool::process`] waits for a place,
    /// and [`Pool::try_process`] fails if there is none. The calls of a [`Pool::pipeline`] or a
    /// [`Pool::stream`] do not count: these have a bound of their own. Default: no limit.
    pub fn max_queue(self, calls: impl Into<Option<usize>>) -> Self {
        self.set(|config| config.calls.max_queue = calls.into())
    }

    /// How long a call may wait in the queue for its first try. Then it fails as [`Kind::Expired`], to within
    /// about 10 ms. Default: no limit.
    pub fn queue_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.calls.queue_timeout = time.into())
    }

    /// How long a job may continue after its call was dropped. If the job ends in time, its worker continues.
    /// Otherwise the worker is ended as after a timeout. A command is ended at once. Default: 1 second.
    pub fn cancel_grace(self, time: Duration) -> Self {
        self.set(|config| config.calls.cancel_grace = time)
    }

    /// After how many jobs a worker is replaced. 0, the default: never.
    pub fn max_reqs(self, count: u64) -> Self {
        self.set(|config| config.recycling.max_reqs = count)
    }

    /// The largest number of jobs that a worker may have beyond [`Builder::max_reqs`]. The number is random
    /// for each worker, so that workers that were started together are not replaced together. Default: 0.
    pub fn max_reqs_jitter(self, count: u64) -> Self {
        self.set(|config| config.recycling.max_reqs_jitter = count)
    }

    /// A worker that is older than this is replaced once it has no job. Default: no limit.
    pub fn max_age(self, age: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.recycling.max_age = age.into())
    }

    /// A worker whose resident memory is larger, in bytes, is replaced once it has no job. Only its
    /// own memory counts, not that of its children. Linux only; elsewhere it has no effect.
    /// Default: no limit.
    pub fn max_rss(self, bytes: impl Into<Option<u64>>) -> Self {
        self.set(|config| config.recycling.max_rss = bytes.into())
    }

    /// A worker that has had no job for this long is ended. Default: no limit.
    pub fn idle_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.recycling.idle_timeout = time.into())
    }

    /// How many spare workers there may be. A spare is started before the time of a worker is over, so
    /// that no job waits for a worker to start. 0: a worker is stopped before its replacement is started.
    /// Default: one for each slot.
    pub fn standby(self, count: usize) -> Self {
        self.set(|config| config.recycling.standby = count)
    }

    /// How many requests a worker may have at a time, at least 1. Default: 1. A larger number makes short jobs
    /// faster, but many workers can't handle two requests at once.
    pub fn depth(self, requests: usize) -> Self {
        self.depth_of(Depth::Fixed(requests))
    }

    /// A worker may have as many requests in flight as its speed asks for: many short jobs, or one long one.
    pub fn depth_auto(self) -> Self {
        self.depth_of(Depth::Auto)
    }

    /// As [`Builder::depth`] or [`Builder::depth_auto`].
    #[doc(hidden)]
    pub fn depth_of(self, depth: Depth) -> Self {
        self.set(|config| config.worker.depth = depth)
    }

    /// What jobs wait for besides a free worker. Default: nothing.
    #[doc(hidden)]
    pub fn limits(self, limits: Limits) -> Self {
        self.set(|config| config.limits = limits)
    }

    /// By how much the priority of workers and commands is lower than that of this process, from 0 to
    /// 39. Default: 0.
    pub fn nice(self, more: i32) -> Self {
        self.set(|config| config.nice = more)
    }

    /// How long a job may take: a [`Duration`] or a [`Timeout`]. Its time begins when its worker has read
    /// the request, or when its command is started; the time that it waits does not count. Default: no
    /// limit.
    pub fn timeout(self, timeout: impl Into<Timeout>) -> Self {
        self.set(|config| {
            config.failures.timeout = Some(timeout.into()).filter(|time| *time != Timeout::Never);
        })
    }

    /// How long a worker or a command may print nothing while it has a job, neither to stdout nor to stderr.
    /// Then the job fails as [`Kind::Timeout`]. Default: no limit.
    pub fn silence(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.failures.silence = time.into())
    }

    /// How much memory the process group of a worker or a command may use while it has a job, in bytes:
    /// its children count, and memory that they share counts once. It is measured every 0.1 s. A group
    /// that uses more is killed, and the job fails as [`Kind::Memory`]. Linux only; elsewhere it has no
    /// effect. Default: no limit.
    pub fn max_memory(self, bytes: impl Into<Option<u64>>) -> Self {
        self.set(|config| config.failures.max_memory = bytes.into())
    }

    /// How many times a failed job is tried again, unless the job sets that itself. Default: 0.
    pub fn retries(self, count: u32) -> Self {
        self.set(|config| config.failures.retries = count)
    }

    /// After which failures a job is tried again: some of [`Kind::PASSING`]. Default: all of these but
    /// [`Kind::Spawn`].
    pub fn retry_on(self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.set(|config| config.failures.retry_on = kinds.into_iter().collect())
    }

    /// The exit statuses of commands after which a job is not tried again. Default: none.
    #[doc(hidden)]
    pub fn no_retry_exit(self, statuses: ExitSet) -> Self {
        self.set(|config| config.failures.no_retry_exit = statuses)
    }

    /// How long a job waits before its second attempt. It waits about twice as long before each further
    /// attempt, and no longer than about a minute. Default: 100 ms.
    pub fn retry_delay(self, time: Duration) -> Self {
        self.set(|config| config.failures.retry_delay = time)
    }

    /// How long a worker may take to end after its stdin is closed, and again after it gets TERM.
    /// Default: 5 seconds.
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|config| config.grace = grace)
    }

    /// How long a worker may take to start: to answer its init messages and to read its first request. A
    /// worker that takes longer has failed to start; no job is charged with that. An interpreter may
    /// take this long to check code. Default: 5 minutes; `None`: no limit.
    pub fn start_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.set(|config| config.failures.start_timeout = time.into())
    }

    /// The pool gives up once this many workers in a row have died before their first reply. Then all
    /// jobs that wait fail. 0: never. Default: 5.
    pub fn start_limit(self, count: u32) -> Self {
        self.set(|config| config.failures.start_limit = count)
    }

    /// The longest reply, in bytes. Default: 64 MiB.
    pub fn max_reply(self, bytes: usize) -> Self {
        self.set(|config| config.worker.max_reply = bytes)
    }

    /// Whether orphans are reaped. These are processes that become children of this process when their
    /// parents end, as for PID 1 of a container. This process must have no children but those of its
    /// pools. Default: no.
    #[doc(hidden)]
    pub fn reap_orphans(self, reaps: bool) -> Self {
        self.set(|config| config.reaps_orphans = reaps)
    }

    /// The machines that run the jobs, instead of [`Builder::max_procs`]: each has its own slots.
    #[cfg(feature = "unstable-engine")]
    #[doc(hidden)]
    pub fn hosts(self, hosts: crate::config::Hosts) -> Self {
        let others = hosts.hosts.iter().map(|host| host.slots.unwrap_or(1)).sum::<usize>();
        self.max_procs(hosts.local_slots + others)
            .set(|config| config.hosts = Some(Arc::new(hosts)))
    }

    /// The name of this machine among others: jobs find it in `PROCPOOL_HOST`. Default: nothing.
    #[cfg(feature = "unstable-engine")]
    #[doc(hidden)]
    pub fn host_name(self, name: &str) -> Self {
        self.env("PROCPOOL_HOST", name)
    }

    /// A pool whose workers do not start fails the jobs that wait, and takes jobs again. Default: it takes no
    /// more jobs from its feeders.
    #[cfg(feature = "unstable-engine")]
    #[doc(hidden)]
    pub fn goes_on(self, goes_on: bool) -> Self {
        self.set(|config| config.failures.goes_on = goes_on)
    }

    /// How many slots are counted before those of this pool, as on other machines. Default: none.
    #[cfg(feature = "unstable-engine")]
    #[doc(hidden)]
    pub fn slots_before(self, slots: usize) -> Self {
        self.set(|config| config.slots_before = slots)
    }

    /// Where the outcomes of fed jobs go. Without a sink they are lost.
    #[doc(hidden)]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Joins the pool to another one. To pause or kill one of them pauses or kills both. Limits and the
    /// number of spares hold for both together. The numbers of this pool's slots begin after `slots`.
    #[doc(hidden)]
    pub fn beside(mut self, other: &Pool, slots: usize) -> Self {
        self.beside = Some(other.clone());
        self.set(|config| config.slots_before = slots)
    }

    /// Who gets notes, stderr of workers, and other news. Default: all of it is written to stderr.
    #[doc(hidden)]
    pub fn watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// The names of the sources that [`crate::Place`] counts, for messages.
    #[doc(hidden)]
    pub fn sources(mut self, names: Vec<String>) -> Self {
        self.sources = names;
        self
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

    /// Describes a pool of workers by their program and its arguments.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::Pool::worker(["/opt/my tools/resize", "--quiet"]).build()?;
    /// # Ok(()) }
    /// ```
    pub fn worker<W: Into<OsString>>(argv: impl IntoIterator<Item = W>) -> Builder {
        Builder::of_argv(argv.into_iter().map(Into::into).collect())
    }

    /// Describes a pool of warm interpreters that run code for each job. Each interpreter may have several
    /// requests in flight, as with [`Builder::depth_auto`].
    pub fn code(code: &Code) -> Builder {
        Builder::of_code(code)
    }

    /// Describes a pool that runs a command for each job, in a process of its own. The result of a job is
    /// a [`CommandOutput`](crate::CommandOutput). `{}` stands for all args of the job, `{1}` for the first,
    /// `{name}` for a field of an object; without any of these the args are appended. No shell is run. The
    /// `cmd` of a call is ignored.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procpool::{CommandOutput, Pool};
    ///
    /// let pool = Pool::command(["wc", "-c", "--", "{}"]).build()?;
    /// let output: CommandOutput = pool.process("", ["/etc/passwd"]).await?;
    /// assert!(output.stdout.ends_with(b"/etc/passwd\n"));
    ///
    /// if let Err(failure) = pool.process::<CommandOutput>("", ["/no/such/file"]).await {
    ///     assert_eq!(failure.exit_code(), Some(1));
    ///     assert!(failure.output().is_some_and(|output| !output.stderr.is_empty()));
    /// }
    /// # pool.shutdown().await; Ok(()) }
    /// ```
    pub fn command<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Builder {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        if words.first().is_none_or(|program| program.is_empty()) {
            return Builder::with(Err(BuildError::Empty));
        }
        if let Some(word) = words.iter().find(|word| word.as_bytes().contains(&0)) {
            return Builder::with(Err(BuildError::Nul(word.clone())));
        }
        Builder::of_commands(Commands::of_words(&words).map_err(Into::into))
    }

    /// Describes a pool that runs a command for each job, which names it: `cmd` is the program, and the
    /// args are its arguments. Otherwise it is like [`Pool::command`].
    pub fn commands() -> Builder {
        Builder::of_commands(Commands::named_by_jobs().map_err(Into::into))
    }

    /// Describes a pool that runs these commands.
    #[doc(hidden)]
    pub fn commands_of(commands: Commands) -> Builder {
        Builder::of_commands(Ok(commands))
    }
}
