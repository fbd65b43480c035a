//! `procpool --agent`: the end of a link that a coordinator starts on another machine. It gets the
//! coordinator's command line over the link, and makes the pool that the coordinator would.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use procpool::engine::{AgentEnd, AgentPool, AgentTask, Sink, Watcher, run_agent};

use crate::cli::options::parse_words;
use crate::cli::{EarlyExit, Options};
use crate::descriptors::{self, Stream};
use crate::exit::Status;
use crate::plan::Plan;
use crate::run::{builders, hosts};

/// The word that makes this program an agent.
const AGENT: &str = "--agent";

/// Runs as an agent if the command line says so; `None`: it does not.
pub fn run() -> Option<Status> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != AGENT {
        return None;
    }
    let words: Vec<OsString> = words.collect();
    let status = match words.as_slice() {
        [] => serve(),
        [check, hash] if check == "--check" => check_copy(&hash.to_string_lossy()),
        _ => return None,
    };
    Some(status.unwrap_or_else(Status::from_error))
}

/// Checks that this program is the one that was sent.
fn check_copy(hash: &str) -> anyhow::Result<Status> {
    let own = std::fs::read(std::env::current_exe()?)?;
    if procpool::engine::program_hash(&own) != hash {
        anyhow::bail!("the copy of procpool is damaged");
    }
    Ok(Status::Success)
}

fn serve() -> anyhow::Result<Status> {
    let input = descriptors::copy(Stream::Stdin)?;
    let output = descriptors::copy(Stream::Stdout)?;
    Ok(match run_agent(input, output, &make)? {
        AgentEnd::Finished => Status::Success,
        AgentEnd::Abandoned => Status::Trouble,
    })
}

/// Makes the pool of an agent.
fn make(
    task: &AgentTask,
    sink: Arc<dyn Sink>,
    watcher: Arc<dyn Watcher>,
) -> Result<AgentPool, Box<dyn Error>> {
    let words = task.task.strip_suffix(b"\0").unwrap_or_default().split(|&byte| byte == 0);
    let mut words = words.map(|word| std::ffi::OsStr::from_bytes(word).to_owned());
    let index = words.next().and_then(|word| word.to_str()?.parse().ok()).unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let mut options = parse_words(&words).map_err(|error| text_of(&error))?;
    adapt(&mut options, task);
    if let Some(folder) = options.output.storage.tmpdir.as_ref().filter(|folder| folder.is_dir()) {
        procpool::engine::set_temporary_folder(folder);
    }
    builders::allow_descriptors(task.slots);
    descriptors::keep_from_workers(&options);
    let plan = Plan::of(&options, Arc::new(AtomicBool::new(false)))?;
    let pool = builders::build_agent(&plan, &options, (task, index), &watcher, &sink)?;
    let header = plan.commands.map(|commands| Arc::clone(&commands.header));
    Ok(AgentPool { pool, header })
}

fn text_of(error: &EarlyExit) -> String {
    format!("its procpool does not understand the command line: {error:?}")
}

/// The coordinator does a part of the work itself: it tries jobs again, and keeps to a rate.
fn adapt(options: &mut Options, task: &AgentTask) {
    options.workers.max_procs = Some(task.slots);
    options.failures.retries = 0;
    options.throttling.delay = None;
    options.throttling.rate = None;
    hosts::name_host(options, &task.host);
}
