//! From settings to a pool: all settings are checked, and the pool is made.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Depth, RecyclingConfig, Timeout};
use crate::interpreter::{Code, Unchecked};
use crate::job::{Kind, Watcher};
use crate::pool::build_error::BuildError;
use crate::pool::builder::Builder;
use crate::pool::handle::Pool;
use crate::pool::shared::Shared;
use crate::pool::threads;
use crate::process::lookup::{self, ProgramError, Runner};
use crate::protocol::Protocol;

/// The most slots of a pool: each has its place in the queue's tables from the beginning.
const MOST_PROCS: usize = 1 << 16;

impl Builder {
    /// Checks all settings and makes the pool. It starts no process and does not block, so it may be called
    /// on a thread that runs futures. No worker is started before a job waits for one, but for
    /// [`Builder::prestart`].
    ///
    /// # Errors
    /// A setting makes no sense, or the workers can't be run, as far as can be known without running them.
    pub fn build(self) -> Result<Pool, BuildError> {
        let (pool, _) = self.make()?;
        pool.prestart();
        Ok(pool)
    }

    /// As [`Builder::build`], but if the workers run code, an interpreter checks it first. This blocks until
    /// it has: some 20 ms, and [`Builder::start_timeout`] at most. After [`Builder::build`] the first job
    /// fails if the code is wrong.
    ///
    /// # Errors
    /// As for [`Builder::build`]. The interpreter does not accept the code.
    pub fn build_checked(self) -> Result<Pool, BuildError> {
        let (pool, code) = self.make()?;
        if let Some(code) = code {
            let shared = pool.shared();
            let patience = shared.config.failures.start_timeout.unwrap_or(Duration::MAX);
            code.check(&shared.groups, patience).map_err(|unchecked| match unchecked {
                Unchecked::Wrong(error) => BuildError::from(error),
                Unchecked::Ended(message) => ProgramError::CannotRun(message).into(),
            })?;
            shared.groups.count_anew();
        }
        pool.prestart();
        Ok(pool)
    }

    /// Makes the pool. Returns also the code that an interpreter has not checked.
    fn make(self) -> Result<(Pool, Option<Code>), BuildError> {
        let mut config = self.config?;
        let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
        config.max_procs = self.max_procs.unwrap_or_else(cpus);
        if let Some(code) = &self.code {
            code.check_path()?;
        }
        check_values(&config)?;
        check_words(&config)?;
        if config.commands.is_some() {
            check_effects(&config)?;
        }
        if self.watcher.is_none() {
            // The command stays in its directory. Other programs may go elsewhere.
            config.process.home = std::env::current_dir().ok();
        }
        resolve_directory(&mut config)?;
        let runs_none = config.hosts.as_ref().is_some_and(|hosts| hosts.local_slots == 0);
        if !runs_none {
            check_program(&mut config)?;
        }
        let voice = self.voice;
        let watcher = self.watcher.unwrap_or_else(|| Arc::new(voice) as Arc<dyn Watcher>);
        let shared = Shared::new(config, watcher, self.sink, self.sources, threads::start);
        Ok(match self.beside {
            Some(other) => (other.share_with(shared), None),
            // Agents check code where it runs.
            None => (Pool::new(shared), self.code.filter(|_| !runs_none)),
        })
    }
}

/// Checks that all numbers are in their ranges.
fn check_values(config: &Config) -> Result<(), BuildError> {
    let is_number = |number: f64| number.is_finite() && number > 0.0;
    let timeout = match config.failures.timeout {
        Some(Timeout::Median(times)) => is_number(times),
        _ => true,
    };
    let retry_on = config.failures.retry_on.iter().all(|kind| Kind::PASSING.contains(kind));
    let checks = [
        ("max_procs", (1..=MOST_PROCS).contains(&config.max_procs), "from 1 to 65,536"),
        ("depth", config.worker.depth != Depth::Fixed(0), "at least 1"),
        ("max_queue", config.calls.max_queue != Some(0), "at least 1"),
        ("prestart", config.worker.prestart <= config.max_procs, "at most max_procs"),
        ("timeout", timeout, "a number above 0"),
        ("retry_on", retry_on, "some of Kind::PASSING"),
        ("nice", (0..=39).contains(&config.nice), "from 0 to 39"),
        ("max_reply", config.worker.max_reply > 0, "at least 1"),
        ("limits", config.limits.max_load.is_none_or(|load| load.is_finite()), "a number"),
    ];
    match checks.into_iter().find(|(_, is_right, _)| !is_right) {
        Some((setting, _, range)) => Err(BuildError::OutOfRange { setting, range }),
        None => Ok(()),
    }
}

/// Checks the words and variables that a process is given.
fn check_words(config: &Config) -> Result<(), BuildError> {
    let has_nul = |text: &OsStr| text.as_bytes().contains(&0);
    let place = &config.process;
    let cwd = place.cwd.as_ref().map(|cwd| cwd.as_os_str());
    let variables = place.env.iter().flat_map(|(name, value)| [name, value]);
    let words = config.worker.argv.iter().chain(variables).map(OsString::as_os_str).chain(cwd);
    if let Some(word) = words.into_iter().find(|word| has_nul(word)) {
        return Err(BuildError::Nul(word.to_owned()));
    }
    let is_no_name = |name: &OsStr| name.is_empty() || name.as_bytes().contains(&b'=');
    match place.env.iter().find(|(name, _)| is_no_name(name)) {
        Some((name, _)) => Err(BuildError::EnvName(name.clone())),
        None => Ok(()),
    }
}

/// Refuses settings that a pool of commands does not heed.
fn check_effects(config: &Config) -> Result<(), BuildError> {
    let RecyclingConfig { max_reqs, max_reqs_jitter, max_age, max_rss, idle_timeout, standby } =
        &config.recycling;
    let worker = &config.worker;
    let settings = [
        ("protocol", worker.protocol != Protocol::default()),
        ("pty", worker.pty),
        ("init", !worker.init.is_empty()),
        ("depth", worker.depth != Depth::Fixed(1)),
        ("prestart", worker.prestart > 0),
        ("max_reqs", *max_reqs > 0),
        ("max_reqs_jitter", *max_reqs_jitter > 0),
        ("max_age", max_age.is_some()),
        ("max_rss", max_rss.is_some()),
        ("idle_timeout", idle_timeout.is_some()),
        ("standby", *standby != usize::MAX),
    ];
    match settings.into_iter().find(|(_, is_set)| *is_set) {
        Some((setting, _)) => Err(BuildError::NoEffect { setting }),
        None => Ok(()),
    }
}

/// Makes the paths absolute that would mean something else in the directory to start in.
fn resolve_directory(config: &mut Config) -> Result<(), BuildError> {
    let place = &mut config.process;
    if let Some(path) = &place.cwd {
        let wrong = |error| BuildError::Directory { path: path.clone(), error: Arc::new(error) };
        if !path.metadata().map_err(wrong)?.is_dir() {
            return Err(wrong(io::ErrorKind::NotADirectory.into()));
        }
        place.cwd = Some(std::path::absolute(path).map_err(wrong)?);
    } else if place.cwd_of_slot.is_none() {
        return Ok(());
    }
    if let Some(program) = config.worker.argv.first_mut()
        && program.as_bytes().contains(&b'/')
        && let Ok(absolute) = std::path::absolute(&program)
    {
        *program = absolute.into_os_string();
    }
    Ok(())
}

/// Checks whether the program of the workers, or of all commands, can be run.
fn check_program(config: &mut Config) -> Result<(), BuildError> {
    let Some(commands) = &config.commands else {
        let program = config.worker.argv.first().ok_or(BuildError::Empty)?;
        if sets_path(config) && !program.as_bytes().contains(&b'/') {
            // The system looks for it in another PATH.
            return Ok(());
        }
        return Ok(lookup::check_for(program, Runner::Worker)?);
    };
    if commands.dry_run || commands.in_jobs || sets_path(config) {
        return Ok(());
    }
    let template = &commands.template;
    match template.program() {
        Some(program) if template.finds_as_we_do(program) => {
            let path = lookup::find(program, Runner::Command)?;
            config.process.program = path.map(|path| (program.to_owned(), path.into_os_string()));
            Ok(())
        }
        // Whether it can be run shows when a job is run.
        _ => Ok(()),
    }
}

/// Whether the processes have a PATH of their own.
fn sets_path(config: &Config) -> bool {
    let place = &config.process;
    match place.env.iter().rfind(|(name, _)| name == "PATH") {
        Some((_, path)) => Some(path) != std::env::var_os("PATH").as_ref(),
        None => place.clears_env,
    }
}
