//! An agent: runs the jobs of a coordinator, and ends with it. It hears the coordinator on one stream and
//! answers on another.

mod cpus;
mod leashes;
pub(crate) mod outbox;
mod own_pool;
pub(crate) mod reporting;
pub(crate) mod session;
pub(crate) mod work;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::outbox::LinkOutbox;
use self::own_pool::OwnPool;
use self::session::{Session, SessionEnd, SessionLimits};
use self::work::Work;
use crate::job::{Sink, Watcher};
use crate::link::frame::LONGEST;
use crate::link::from_agent::FromAgent;
use crate::link::greeting::greeting;
use crate::link::to_agent::Setup;
use crate::pool::Pool;
use crate::process::widen;

/// A coordinator sends the task within this time. Otherwise the agent ends.
const SETUP_PATIENCE: Duration = Duration::from_secs(60);

/// The task of an agent.
#[derive(Clone, Debug)]
pub struct AgentTask {
    /// The name of its host.
    pub host: String,
    /// How many jobs run at a time.
    pub slots: usize,
    /// How many slots of other machines are numbered before its own.
    pub slots_before: usize,
    /// The words to run: [`Hosts::task`](crate::Hosts::task) of the coordinator.
    pub task: Vec<u8>,
}

/// The pool that an agent runs jobs in.
#[derive(Debug)]
pub struct AgentPool {
    /// The pool. It tries no job again: the coordinator does.
    pub pool: Pool,
    /// Where the names of args are put, if the pool's commands need them.
    pub header: Option<Arc<OnceLock<Vec<Vec<u8>>>>>,
}

/// How an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEnd {
    /// Its coordinator wanted nothing more of it.
    Finished,
    /// Its coordinator is gone, or talks nonsense.
    Abandoned,
}

/// Makes the pool of an agent.
type Make<'a> = &'a dyn Fn(
    &AgentTask,
    Arc<dyn Sink>,
    Arc<dyn Watcher>,
) -> Result<AgentPool, Box<dyn std::error::Error>>;

/// Runs an agent: it hears the coordinator on `input` and answers on `output`, until the coordinator
/// wants nothing more or is gone. Then all of its processes are gone as well. `make` makes the pool.
///
/// # Errors
/// A thread could not be started.
pub fn run_agent(input: OwnedFd, output: OwnedFd, make: Make<'_>) -> io::Result<AgentEnd> {
    // sshd gives an agent narrow pipes.
    [&input, &output].into_iter().for_each(widen);
    let outbox = LinkOutbox::start(output, &greeting(cpus::count()))?;
    let limits = SessionLimits {
        silence: SETUP_PATIENCE,
        longest_silence: Duration::MAX,
        message: None,
        longest: LONGEST,
    };
    let mut session = Session::new(input, outbox, limits);
    let (outbox, is_ending) = (Arc::clone(&session.outbox), Arc::clone(&session.is_ending));
    let end = session.run(&mut |setup| {
        let task = prepare(setup, &outbox);
        let work = OwnPool::make(&task, &outbox, &is_ending, make)?;
        outbox.say(&FromAgent::Ready { slots: task.slots as u64 });
        Ok(Box::new(work) as Box<dyn Work>)
    });
    Ok(match end {
        SessionEnd::Finished => AgentEnd::Finished,
        SessionEnd::Abandoned => AgentEnd::Abandoned,
    })
}

/// Goes to the folder of a task.
fn prepare(setup: &Setup<'_>, outbox: &LinkOutbox) -> AgentTask {
    let folder = Path::new(OsStr::from_bytes(setup.folder));
    if std::env::set_current_dir(folder).is_err() {
        stay_home(folder, outbox);
    }
    let slots = setup.slots.and_then(|slots| usize::try_from(slots).ok());
    AgentTask {
        host: setup.host.to_owned(),
        slots: slots.unwrap_or_else(cpus::count),
        slots_before: usize::try_from(setup.slots_before).unwrap_or_default(),
        task: setup.task.to_vec(),
    }
}

/// The folder is not there: the home folder takes its place.
fn stay_home(folder: &Path, outbox: &LinkOutbox) {
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
    let _ = std::env::set_current_dir(&home);
    outbox.say(&FromAgent::Note(&format!(
        "there is no folder '{}': jobs run in '{}'",
        folder.display(),
        Path::new(&home).display()
    )));
}
