//! Which side of a server this process is, if any: it serves, calls one, or asks for its status or its end.

use std::ffi::OsString;
use std::path::Path;

use procpool::engine::Visit;

use super::keep::{self, FoundServer};
use super::prometheus::prometheus;
use super::{keys, serve};
use crate::cli::Options;
use crate::cli::options::parse_words;
use crate::cli::values::ResultFormat;
use crate::exit::Status;
use crate::plan::Misuse;
use crate::signals::Early;

/// The options of a caller that are about the pool as well: how many slots it uses, how long its jobs have.
const OF_BOTH: &[&str] = &["max_procs", "grace", "max_line", "max_load", "min_free_memory"];

/// The options that pack lines into jobs. Code must know of them.
const OF_LINES: &[&str] = &["max_args", "each"];

/// Does what the options ask for.
///
/// # Errors
/// The run could not begin.
pub fn run(options: Options, early: Option<Early>) -> anyhow::Result<Status> {
    let server = &options.commands.server;
    let has_server = server.serve.is_some() || server.connect.is_some() || server.keep.is_some();
    if has_server && options.queue.role().is_some() {
        return Err(Misuse::from(
            "a queue has workers of its own: leave --serve, --connect and --keep out",
        )
        .into());
    }
    check(&options)?;
    if let Some(path) = &options.commands.server.status {
        return status(&options, path);
    }
    if let Some(path) = &options.commands.server.stop {
        Visit::to(path)?.stop()?;
        return Ok(Status::Success);
    }
    if let Some(path) = options.commands.server.serve.clone() {
        return serve::serve(&options, &path, early);
    }
    if let Some(time) = options.commands.server.keep {
        return match keep::find(&options, time)? {
            FoundServer::Running(visit) => super::run(options, early, Some(visit)),
            FoundServer::NotStarted(status) => Ok(status),
        };
    }
    match options.commands.server.connect.clone() {
        Some(path) => connect(&options, &path, early),
        None => super::run(options, early, None),
    }
}

/// Checks the options that are used without a run, or with a server.
///
/// # Errors
/// An option has no effect.
pub fn check(options: &Options) -> Result<(), Misuse> {
    let server = &options.commands.server;
    if server.status.is_some() {
        if !matches!(options.output.format, None | Some(ResultFormat::Prometheus)) {
            return Err("--status prints JSON, or --format prometheus".into());
        }
        return check_alone(options, &["status", "format", "color", "profile"]);
    }
    if server.stop.is_some() {
        return check_alone(options, &["stop", "color", "profile"]);
    }
    if server.keep.is_some() {
        return keep::check(options);
    }
    let is_foreign = |id: &&String| {
        keys::is_of_pool(id) && !OF_BOTH.contains(&id.as_str()) && !OF_LINES.contains(&id.as_str())
    };
    match options.line.given.iter().find(is_foreign) {
        Some(id) if server.connect.is_some() => Err(Misuse::new(format!(
            "--{} is for the server: give it with --serve",
            id.replace('_', "-")
        ))),
        _ => Ok(()),
    }
}

/// Refuses options that mean nothing beside the option that is first among these.
fn check_alone(options: &Options, those: &[&str]) -> Result<(), Misuse> {
    let name = those.first().copied().unwrap_or_default();
    let odd =
        options.line.given.iter().find(|id| !those.contains(&id.as_str()) && *id != "command");
    match odd {
        Some(id) => Err(Misuse::new(format!(
            "--{} has no effect with --{name}: leave it out",
            id.replace('_', "-")
        ))),
        None if !options.command.is_empty() => {
            Err(Misuse::new(format!("--{name} runs no COMMAND: leave it out")))
        }
        None => Ok(()),
    }
}

fn status(options: &Options, path: &Path) -> anyhow::Result<Status> {
    let text = Visit::to(path)?.status()?;
    let is_prometheus = options.output.format == Some(ResultFormat::Prometheus);
    Ok(Status::of_text(&if is_prometheus { prometheus(&text)? } else { text }))
}

/// Runs jobs at a server. The server says what its workers are, and the run is as if they were named here.
fn connect(options: &Options, path: &Path, early: Option<Early>) -> anyhow::Result<Status> {
    let visit = Visit::to(path)?;
    let mut words: Vec<OsString> = std::env::args_os().take(1).collect();
    words.extend(visit.words.iter().cloned());
    words.extend(options.commands.hosts.words.iter().skip(1).cloned());
    let mut joined = match parse_words(&words) {
        Ok(joined) => joined,
        Err(exit) => return Ok(Status::from_early_exit(&exit)),
    };
    joined.line.given.clone_from(&options.line.given);
    let is_code = keys::has_workers(&joined) && joined.workers.worker.is_empty();
    if is_code && options.line.given.iter().any(|id| OF_LINES.contains(&id.as_str())) {
        return Err(Misuse::from(
            "-n changes the x of an expression, so it is for the server: give it with --serve",
        )
        .into());
    }
    super::run(joined, early, Some(visit))
}
