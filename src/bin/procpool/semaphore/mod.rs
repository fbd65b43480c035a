//! `--semaphore NAME`: one limit for the commands of several procpools. Each command that runs has a place: a
//! locked file. The procpool that waits for the command holds the lock, and the system frees it when that
//! procpool ends.

mod folder;
mod holder;
mod places;

use std::ffi::OsString;
use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use self::places::{Places, Wait};
use crate::cli::Options;
use crate::cli::options::parse_words;
use crate::cli::semaphore::SemaphoreOptions;
use crate::cli::values::Patience;
use crate::exit::Status;
use crate::plan::{Misuse, Plan};
use crate::report::console::Console;

/// The word that makes this program hold a place, which is its stdin, while a command runs.
const HOLDER: &str = "--semaphore-holder";

/// The options that have an effect with a semaphore.
const ALLOWED: [&str; 16] = [
    "command",
    "semaphore",
    "fg",
    "wait",
    "semaphore_timeout",
    "max_procs",
    "shell",
    "replace",
    "env",
    "env_only",
    "env_all",
    "cwd",
    "nice",
    "grace",
    "color",
    "profile",
];

/// Whether an option has an effect with a semaphore.
pub fn has_effect(id: &str) -> bool {
    ALLOWED.contains(&id)
}

/// Runs as the holder of a place if the command line says so; `None`: it does not.
pub fn hold() -> Option<Status> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    if words.next()? != HOLDER {
        return None;
    }
    let words: Vec<OsString> = [program].into_iter().chain(words).collect();
    let run = || {
        let options = parse_words(&words).map_err(|exit| Misuse::new(exit.reason()))?;
        let plan = check(&options)?;
        holder::run(&options, &plan)
    };
    Some(run().unwrap_or_else(Status::from_error))
}

/// Does what `--semaphore` asks for.
///
/// # Errors
/// The command line is wrong, or there is no place for the files of the semaphore.
pub fn run(options: &Options, name: &str) -> anyhow::Result<Status> {
    let given = &options.commands.semaphore;
    if given.wait && options.command.is_empty() {
        return wait(given, name);
    }
    let plan = check(options)?;
    holder::check(options, &plan)?;
    let places = Places::open(name)?;
    let most = options.workers.max_procs.unwrap_or(1);
    let place = match places.take(most, limit(given))? {
        Wait::Done(place) => Some(place),
        Wait::TimedOut if matches!(given.semaphore_timeout, Some(Patience::GiveUp(_))) => {
            Console::new()
                .say(&format!("semaphore {name}: no place was free in time: nothing was run"));
            return Ok(Status::JobsFailed);
        }
        Wait::TimedOut => {
            Console::new()
                .say(&format!("semaphore {name}: no place was free in time: it runs without"));
            None
        }
    };
    if given.fg {
        // The place is free when this process ends.
        let status = holder::run(options, &plan);
        drop(place);
        return status;
    }
    start_holder(options, place)?;
    if given.wait { wait(given, name) } else { Ok(Status::Success) }
}

/// Waits until no command has a place.
fn wait(given: &SemaphoreOptions, name: &str) -> anyhow::Result<Status> {
    match Places::open(name)?.wait_for_all(limit(given))? {
        Wait::Done(()) => Ok(Status::Success),
        Wait::TimedOut => {
            Console::new().say(&format!("semaphore {name}: commands still run"));
            Ok(Status::JobsFailed)
        }
    }
}

/// How long to wait for a place.
fn limit(given: &SemaphoreOptions) -> Option<std::time::Duration> {
    given.semaphore_timeout.map(|patience| {
        let (Patience::RunAnyway(time) | Patience::GiveUp(time)) = patience;
        time
    })
}

/// Checks the command line, and that the command can be run.
fn check(options: &Options) -> anyhow::Result<Plan> {
    let refused = options.line.given.iter().find(|id| !has_effect(id));
    if let Some(id) = refused {
        let name = id.replace('_', "-");
        let why = format!(
            "--{name} has no effect with --semaphore, which runs one command: leave it out"
        );
        return Err(Misuse::new(why).into());
    }
    if options.command.is_empty() {
        return Err(Misuse::from(
            "--semaphore runs a COMMAND: name one, or wait for all with --wait",
        )
        .into());
    }
    let plan = Plan::of(options, std::sync::Arc::default())?;
    let has_lists = options.command.iter().any(|word| options.input.lists.sign(word).is_some());
    if has_lists || plan.commands.as_ref().is_some_and(|commands| commands.template.has_args()) {
        let why = "--semaphore runs COMMAND once and without args: leave out ::: and placeholders (-I @@ \
                   makes {} plain text)";
        return Err(Misuse::from(why).into());
    }
    Ok(plan)
}

/// Starts a procpool that runs the command in the background. It gets the place as its stdin.
fn start_holder(options: &Options, place: Option<File>) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program can't be found")?;
    let mut words = options.commands.hosts.words.iter();
    let _name = words.next();
    let stdin = place.map_or_else(Stdio::null, Stdio::from);
    let holder = Command::new(program).arg(HOLDER).args(words).stdin(stdin).spawn();
    holder.map(drop).context("the command can't be started in the background")
}
