//! How many pools and slots a run has, and what the options set in each pool.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use anyhow::Context as _;
use procpool::engine::input::route::Route;
use procpool::engine::input::{Reader, Source};
use procpool::engine::{
    AgentTask, Builder, Commands, Hosts, Init, Limits, Pool, Protocol, ServedPool, Sink,
    Switchboard, Timeout, Watcher,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::Options;
use crate::plan::{Plan, WorkerFolder, WorkerPlace};
use crate::pools::Pools;
use crate::queue::QueueEnd;
use crate::run::hosts;

/// A pool has at most this many slots.
const MOST_SLOTS: usize = 1 << 16;

/// The variables of socket activation, which are for the server and not for its workers.
const OF_SOCKETS: [&str; 5] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "LISTEN_FDS_FIRST_FD"];

/// The numbers of pools and slots.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pools: usize,
    /// The slots of each pool.
    slots: usize,
    /// Each pool is for a share of the keys.
    is_by_key: bool,
}

impl Size {
    /// A pool for each kind of worker has as many slots as the user asks for. A pool for a share of the keys has
    /// one.
    pub fn of(choice: &Route, max_procs: Option<usize>) -> Self {
        let slots = || max_procs.unwrap_or_else(num_cpus::get);
        match choice {
            Route::Key { count, .. } => Self { pools: *count, slots: 1, is_by_key: true },
            Route::Names(names) => Self { pools: names.len(), slots: slots(), is_by_key: false },
            Route::One => Self { pools: 1, slots: slots(), is_by_key: false },
        }
    }

    /// The same with hosts that have slots of their own.
    pub fn with_hosts(self, hosts: Option<&Hosts>) -> Self {
        let Some(hosts) = hosts else { return self };
        let others = hosts.hosts.iter().map(|host| host.slots.unwrap_or(1));
        Self { slots: hosts.local_slots + others.sum::<usize>(), ..self }
    }

    /// The same with as many slots as may be asked for later.
    pub fn with_room(self, options: &Options) -> Self {
        match options.throttling.procs_file {
            Some(_) => Self { slots: self.slots.max(options.most_procs()), ..self },
            None => self,
        }
    }

    /// How many workers the pool with this index starts before it has a job, of `count`.
    fn prestarted(self, index: usize, count: usize, hosts: Option<&Hosts>) -> usize {
        let slots = hosts.map_or(self.slots, |hosts| hosts.local_slots);
        // Pools for shares of the keys are all of one kind.
        if self.is_by_key { count.saturating_sub(index).min(1) } else { count.min(slots) }
    }

    /// The slots of all pools.
    pub fn all_slots(self) -> usize {
        self.pools * self.slots
    }
}

/// Builds the pools. `watcher` and `sink` get the events and outcomes of all of them.
///
/// # Errors
/// The command or a worker can't be run.
pub fn build(
    plan: &Plan,
    options: &Options,
    size: Size,
    hosts: Option<&Hosts>,
    watcher: &Arc<dyn Watcher>,
    sink: &Arc<dyn Sink>,
    queue: Option<Arc<QueueEnd>>,
) -> anyhow::Result<Pools> {
    if options.queue.submits() {
        return Ok(Pools::new(Vec::new(), queue));
    }
    let sources = source_names(&plan.reader);
    let limit = size.slots;
    let size = size.with_room(options);
    let described = |pool: Builder| {
        set(pool, options, size.all_slots())
            .limits(plan.limits.clone())
            .sources(sources.clone())
            .watcher(Arc::clone(watcher))
            .sink(Arc::clone(sink))
            .max_procs(size.slots.clamp(1, MOST_SLOTS))
    };
    // Each kind of worker has a connection of its own.
    let on_hosts = |index: usize, pool: Builder| -> anyhow::Result<Builder> {
        let Some(hosts) = hosts else { return Ok(pool) };
        let pool = pool.host_name(procpool::engine::THIS_HOST);
        Ok(pool.hosts(hosts::of_pool(hosts, index)?))
    };
    // There is a builder for each pool, or one builder for all of them.
    let builders = kinds(plan, options).into_iter().map(described).cycle().take(size.pools);
    let mut pools: Vec<Pool> = Vec::new();
    for (index, builder) in builders.enumerate() {
        let builder = on_hosts(index, builder)?;
        let builder = builder.prestart(size.prestarted(index, options.workers.prestart, hosts));
        let builder = match pools.first() {
            Some(first) => builder.beside(first, index * size.slots),
            None => builder,
        };
        pools.push(builder.build_checked()?);
    }
    let pools = Pools::new(pools, queue);
    if limit < size.slots {
        pools.limit(limit);
    }
    Ok(pools)
}

/// Builds the pools of a server, each with a switchboard for its outcomes. `log` gets the messages that are for no
/// caller.
///
/// # Errors
/// A worker can't be run.
pub fn build_served(
    plan: &Plan,
    options: &Options,
    size: Size,
    log: &Arc<dyn Watcher>,
) -> anyhow::Result<Vec<ServedPool>> {
    let limits = Limits { jobserver: false, ..plan.limits.clone() };
    let mut served: Vec<ServedPool> = Vec::new();
    let kinds = kinds(plan, options);
    let all_slots = kinds.len() * size.slots;
    for (index, builder) in kinds.into_iter().enumerate() {
        let switchboard = Switchboard::new(Arc::clone(log));
        let builder = set(builder, options, all_slots)
            .prestart(size.prestarted(index, options.workers.prestart, None))
            .limits(limits.clone())
            .watcher(Arc::clone(&switchboard) as Arc<dyn Watcher>)
            .sink(Arc::clone(&switchboard) as Arc<dyn Sink>)
            .max_procs(size.slots.clamp(1, MOST_SLOTS))
            .goes_on(true);
        let builder = match served.first() {
            Some(first) => builder.beside(&first.pool, index * size.slots),
            None => builder,
        };
        served.push(ServedPool { pool: builder.build_checked()?, switchboard });
    }
    Ok(served)
}

/// Builds the pool of an agent: the one with this index.
///
/// # Errors
/// The command or the worker can't be run.
pub fn build_agent(
    plan: &Plan,
    options: &Options,
    (task, index): (&AgentTask, usize),
    watcher: &Arc<dyn Watcher>,
    sink: &Arc<dyn Sink>,
) -> anyhow::Result<Pool> {
    let kind = kinds(plan, options).into_iter().nth(index).context("there is nothing to run")?;
    let limits = Limits { jobserver: false, ..plan.limits.clone() };
    let pool = set(kind, options, task.slots + task.slots_before)
        .prestart(options.workers.prestart.min(task.slots))
        .host_name(&task.host)
        .limits(limits)
        .sources(source_names(&plan.reader))
        .watcher(Arc::clone(watcher))
        .sink(Arc::clone(sink))
        .max_procs(task.slots)
        .slots_before(task.slots_before);
    Ok(pool.build()?)
}

/// Builds a pool for one job of a command.
///
/// # Errors
/// The command can't be run.
pub fn of_one_command(
    commands: Commands,
    options: &Options,
    watcher: &Arc<dyn Watcher>,
    sink: &Arc<dyn Sink>,
) -> anyhow::Result<Pool> {
    let pool = set(Pool::commands_of(commands), options, 1).max_procs(1);
    Ok(pool.watcher(Arc::clone(watcher)).sink(Arc::clone(sink)).build_checked()?)
}

/// The names of the inputs in messages.
pub fn source_names(reader: &Reader) -> Vec<String> {
    reader.sources.iter().map(Source::name).collect()
}

/// The kinds of pools: one for commands or code, or one for each worker.
fn kinds(plan: &Plan, options: &Options) -> Vec<Builder> {
    if let Some(commands) = &plan.commands {
        return vec![Pool::commands_of((**commands).clone())];
    }
    if let Some(code) = &plan.code {
        return vec![surrounded(Pool::code(code), &plan.surroundings)];
    }
    let worker = |line: &String| {
        let pool = worker(line, &plan.protocol, &plan.first, options.workers.pty);
        surrounded(pool, &plan.surroundings)
    };
    plan.workers.iter().map(worker).collect()
}

/// The pool in its environment and directory.
fn surrounded(pool: Builder, surroundings: &WorkerPlace) -> Builder {
    let env = surroundings.env.iter();
    let pool = env.fold(pool, |pool, (name, value)| pool.env_of_slot(name, value));
    match &surroundings.cwd {
        Some(WorkerFolder::One(path)) => pool.current_dir(path),
        Some(WorkerFolder::OfSlot(text)) => pool.dir_of_slot(text),
        None => pool,
    }
}

/// The pool of one worker.
fn worker(line: &str, protocol: &Protocol, first: &[Init], pty: bool) -> Builder {
    let pool = Pool::builder(line).protocol(protocol.clone()).pty(pty);
    first.iter().fold(pool, |pool, init| pool.first_message(init.clone()))
}

/// Sets the options that workers and commands share.
fn set(pool: Builder, options: &Options, slots: usize) -> Builder {
    let pool = match options.failures.timeout {
        Some(Timeout::Time(time)) if !time.is_zero() => pool.timeout(time),
        Some(Timeout::Median(times)) => pool.timeout(Timeout::Median(times)),
        _ => pool,
    };
    let pool = match options.workers.pipeline {
        Some(depth) => pool.depth_of(depth),
        None => pool,
    };
    let pool = match options.workers.start_limit {
        Some(limit) => pool.start_limit(limit),
        None => pool,
    };
    let names = options.commands.env_only.as_deref();
    let is_served = options.commands.server.serve.is_some() && has_sockets();
    let pool = if is_served || names.is_some() {
        let is_socket = |name: &OsStr| is_served && OF_SOCKETS.iter().any(|one| name == *one);
        let kept = std::env::vars_os()
            .filter(|(name, _)| !is_socket(name) && names.is_none_or(|names| is_kept(names, name)));
        kept.fold(pool.env_clear(), |pool, (name, value)| pool.env(name, value))
    } else {
        pool
    };
    let pool = if options.output.live {
        // The record of a job has its whole result.
        pool.pass_parts_on(options.output.results.is_some())
    } else {
        pool
    };
    pool.max_reqs(options.workers.max_reqs)
        .max_reqs_jitter(options.recycling.max_reqs_jitter)
        .max_age(options.recycling.max_age.filter(|age| !age.is_zero()))
        .max_rss(options.recycling.max_rss.map(|bytes| bytes as u64))
        .idle_timeout(options.recycling.idle_timeout.filter(|time| !time.is_zero()))
        .standby(options.recycling.standby.unwrap_or(usize::MAX))
        .retries(options.failures.retries)
        .retry_on(options.failures.retry_on.iter().map(|kind| kind.0))
        .no_retry_exit(options.failures.no_retry_exit.unwrap_or_default())
        .retry_delay(options.failures.retry_delay)
        .grace(options.failures.grace)
        .start_timeout(Some(options.workers.start_timeout).filter(|time| !time.is_zero()))
        .max_reply(options.workers.max_reply)
        .silence(options.failures.silence.filter(|time| !time.is_zero()))
        .max_memory(options.failures.max_memory.map(|bytes| bytes as u64))
        .cpu_affinity(if options.commands.cpu_affinity { slots } else { 0 })
        .nice(options.throttling.nice.unwrap_or_default())
        .reap_orphans(adopts_orphans())
}

/// Whether the process that has started this one has opened sockets for it, and for no other process.
pub fn has_sockets() -> bool {
    let is_own = |pid: OsString| pid == std::process::id().to_string().as_str();
    std::env::var_os("LISTEN_FDS").is_some() && std::env::var_os("LISTEN_PID").is_some_and(is_own)
}

/// Whether `--env-only` with these names lets jobs have a variable.
fn is_kept(names: &[String], variable: &OsStr) -> bool {
    let is_named = |name: &String| match name.strip_suffix('*') {
        Some(begin) => variable.as_bytes().starts_with(begin.as_bytes()) && !begin.is_empty(),
        None => variable == name.as_str(),
    };
    variable == "PATH" || variable == "HOME" || names.iter().any(is_named)
}

/// Whether the orphans among the descendants of this process become its children.
fn adopts_orphans() -> bool {
    #[cfg(target_os = "linux")]
    if rustix::process::child_subreaper().is_ok_and(|subreaper| subreaper.is_some()) {
        return true;
    }
    rustix::process::getpid().is_init()
}

/// Raises the limit of open files for `slots` slots and at most `most` callers, with `fds` descriptors each. Returns
/// how many callers there is room for.
pub fn allow_callers(slots: usize, fds: usize, most: usize) -> usize {
    allow_descriptors(slots + (fds * most + 640).div_ceil(10));
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Those who have just connected take some as well.
    (limit.saturating_sub(640 + 10 * slots) / fds).clamp(8, most)
}

/// Raises the limit of open files for this number of slots, as far as the system allows it. A worker takes three
/// descriptors for its pipes and one for its exit, its slot takes two, and a spare worker takes as many again.
pub fn allow_descriptors(slots: usize) {
    let wanted = 64 + 10 * u64::try_from(slots).unwrap_or(u64::MAX / 16);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // If the limit stays too low, the workers that can't be started report it.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
    }
}
