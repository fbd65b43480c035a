//! Which side of a server this process is, if any: it serves, calls one, or asks for its status or its end.

use std::ffi::OsString;
use std::path::Path;

use procpool::engine::Visit;

use super::keep::{self, FoundServer};
use super::prometheus::prometheus;
use super::sides::{ServerRole, refuse_commands};
use super::{keys, serve};
use crate::cli::options::parse_words;
use crate::cli::typed::typed_in;
use crate::cli::values::ResultFormat;
use crate::cli::{EarlyExit, Options};
use crate::exit::Status;
use crate::guardian;
use crate::plan::{self, Misuse};
use crate::report::console::Console;
use crate::signals::Early;

/// Does what the options ask for.
///
/// # Errors
/// The run could not begin.
pub fn run(options: Options, early: Option<Early>) -> anyhow::Result<Status> {
    let Some(role) = ServerRole::of(&options) else { return super::run(options, early, None) };
    guardian::dismiss();
    role.check(&options)?;
    let server = &options.commands.server;
    match role {
        ServerRole::Status => {
            refuse_command(role, &options)?;
            status(&options, server.status.as_deref().unwrap_or(Path::new("")))
        }
        ServerRole::Stop => {
            refuse_command(role, &options)?;
            stop(server.stop.as_deref().unwrap_or(Path::new("")))
        }
        ServerRole::Serve => {
            let path = server.serve.clone().unwrap_or_default();
            serve::serve(&options, &path, early)
        }
        ServerRole::Keep => match keep::find(&options, server.keep.unwrap_or_default())? {
            FoundServer::Running(visit) => super::run(options, early, Some(visit)),
            FoundServer::NotStarted(status) => Ok(status),
        },
        ServerRole::Connect => {
            let path = server.connect.clone().unwrap_or_default();
            connect(&options, &path, early)
        }
    }
}

fn refuse_command(role: ServerRole, options: &Options) -> Result<(), Misuse> {
    if options.command.is_empty() {
        return Ok(());
    }
    Err(Misuse::new(format!("{role} runs no COMMAND: leave it out")))
}

fn status(options: &Options, path: &Path) -> anyhow::Result<Status> {
    let text = Visit::to(path)?.status()?;
    let is_prometheus = options.output.format == Some(ResultFormat::Prometheus);
    Ok(Status::of_text(&if is_prometheus { prometheus(&text)? } else { text }))
}

/// Asks the server to end, and waits for that. Says what it waits for if that takes long.
fn stop(path: &Path) -> anyhow::Result<Status> {
    let status = Visit::to(path)?.status()?;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
    Visit::to(path)?.stop(|| {
        let callers = status["callers"].as_u64().unwrap_or_default();
        let s = if callers == 1 { "" } else { "s" };
        Console::new().say(&format!(
            "waiting for {callers} caller{s} of the server to finish; kill {} ends it at once",
            status["pid"]
        ));
    })?;
    Ok(Status::Success)
}

/// Runs jobs at a server. The server says what its workers are, and the run is as if they were named here.
fn connect(options: &Options, path: &Path, early: Option<Early>) -> anyhow::Result<Status> {
    let visit = Visit::to(path)?;
    let program: Vec<OsString> = std::env::args_os().take(1).collect();
    let of_server = [&program[..], &visit.words].concat();
    let given = &options.commands.hosts.words[1..];
    let joined = join(options, &of_server, given).and_then(|joined| {
        if options.line.presets == 0 {
            return Ok(joined);
        }
        // What an option of a preset means is known only now.
        let idle = idle_presets(&joined, &visit.words, &options.line.own);
        let (presets, own) = given.split_at(options.line.presets);
        let presets = without(presets, &idle);
        let mut joined = join(options, &of_server, &[&presets, own].concat())?;
        joined.line.given.retain(|id| !idle.contains(id));
        Ok(joined)
    });
    let joined = match joined {
        Ok(joined) => joined,
        Err(exit) => {
            refuse_commands(options)?;
            return Ok(Status::from_early_exit(&exit));
        }
    };
    if let Some(why) = refusal_of_lines(&joined, &visit.words) {
        return Err(Misuse::new(why).into());
    }
    super::run(joined, early, Some(visit))
}

/// The command line of a caller, with the words of the server before it.
fn join(options: &Options, of_server: &[OsString], own: &[OsString]) -> Result<Options, EarlyExit> {
    let mut joined = parse_words(&[of_server, own].concat())?;
    joined.line.given.clone_from(&options.line.given);
    Ok(joined)
}

/// The options of presets that mean nothing to the workers of this server. `own`: the ids of the options of the
/// command line.
fn idle_presets(joined: &Options, of_server: &[OsString], own: &[String]) -> Vec<String> {
    let mut idle = plan::without_effect(joined);
    if refusal_of_lines(joined, of_server).is_some() {
        idle.extend(["max_args", "each", "max_line"].map(str::to_owned));
    }
    idle.retain(|id| !own.contains(id));
    idle
}

/// The words of presets without these options.
fn without(presets: &[OsString], ids: &[String]) -> Vec<OsString> {
    let program = [OsString::from("procpool")];
    let mut words = Vec::new();
    for option in typed_in(&[&program[..], presets].concat()) {
        if !ids.contains(&option.id) {
            option.push_to(&mut words);
        }
    }
    words
}

/// Why the server can't take the lines as the caller wants to send them; `None`: it can.
fn refusal_of_lines(joined: &Options, of_server: &[OsString]) -> Option<String> {
    let given = |id: &str| joined.line.given.iter().any(|given| given == id);
    if plan::has_expression(joined) && (given("max_args") || given("each")) {
        let why =
            "-n changes the x of an expression, so it is for the server: give it with --serve";
        return Some(why.to_owned());
    }
    if !given("max_line") {
        return None;
    }
    let most = keys::longest_line(of_server);
    (joined.input.max_line > most).then(|| {
        format!(
            "--max-line is more than the {most} bytes that the server takes: give it with --serve"
        )
    })
}
