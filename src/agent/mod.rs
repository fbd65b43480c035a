//! An agent: runs the jobs of a coordinator in a pool of its own, and ends with it. It hears the
//! coordinator on one stream and answers on another.

mod cpus;
mod leashes;
mod outbox;
mod reporting;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use self::leashes::Leashes;
use self::outbox::LinkOutbox;
use self::reporting::LinkReporter;
use crate::job::{Job, Sink, Watcher};
use crate::link::from_agent::FromAgent;
use crate::link::incoming::Incoming;
use crate::link::to_agent::{Setup, ToAgent};
use crate::pool::Pool;
use crate::process::Stop;
use crate::util::block_on::block_on;

/// A coordinator sends the task within this time. Otherwise the agent ends.
const SETUP_PATIENCE: Duration = Duration::from_secs(60);

/// Killed processes have this long to disappear. After that the agent ends in any case.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// A stream that says nothing is looked at this often, at least.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

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
    let outbox = LinkOutbox::start(output)?;
    let agent = Agent {
        input,
        outbox,
        incoming: Incoming::default(),
        heard: Instant::now(),
        timeout: SETUP_PATIENCE,
        pool: None,
        reporter: None,
        leashes: Leashes::default(),
        fed: Vec::new(),
        is_paused: false,
        is_ending: Arc::default(),
    };
    Ok(agent.run(make))
}

/// An agent.
struct Agent {
    input: OwnedFd,
    outbox: Arc<LinkOutbox>,
    incoming: Incoming,
    /// When anything came from the coordinator.
    heard: Instant,
    /// The coordinator is gone if nothing comes for this long.
    timeout: Duration,
    pool: Option<AgentPool>,
    reporter: Option<Arc<LinkReporter>>,
    leashes: Leashes,
    /// Jobs that have come and go to the pool together.
    fed: Vec<Job>,
    is_paused: bool,
    /// The last word will be said when the pool has ended.
    is_ending: Arc<AtomicBool>,
}

impl Agent {
    fn run(mut self, make: Make<'_>) -> AgentEnd {
        loop {
            if self.outbox.is_over() {
                let has_finished = self.is_ending.load(Ordering::Acquire);
                self.kill();
                return if has_finished { AgentEnd::Finished } else { AgentEnd::Abandoned };
            }
            let is_alive = self.listen() && self.obey(make);
            if !is_alive {
                self.kill();
                return AgentEnd::Abandoned;
            }
        }
    }

    /// Waits until something comes, and reads it. Returns whether the coordinator is there.
    fn listen(&mut self) -> bool {
        let silence = self.heard.elapsed();
        let wait = if self.is_paused { LONGEST_WAIT } else { self.timeout.saturating_sub(silence) };
        let is_readable = self.outbox.end.wait_or_read(self.input.as_fd(), Some(wait));
        if !is_readable {
            return self.is_paused || self.heard.elapsed() < self.timeout || self.outbox.is_over();
        }
        let into = self.incoming.end();
        into.reserve(64 << 10);
        match rustix::io::read(&self.input, rustix::buffer::spare_capacity(into)) {
            Ok(0) => false,
            Ok(_) => {
                self.heard = Instant::now();
                true
            }
            Err(error) => error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN,
        }
    }

    /// Obeys all messages that have come. Returns whether each had a meaning.
    fn obey(&mut self, make: Make<'_>) -> bool {
        let mut incoming = std::mem::take(&mut self.incoming);
        let read = incoming.each(|kind, message| self.do_one(ToAgent::read(kind, message)?, make));
        self.incoming = incoming;
        self.feed();
        read.is_ok()
    }

    /// Obeys a message. `None`: it has no meaning now.
    fn do_one(&mut self, message: ToAgent<'_>, make: Make<'_>) -> Option<()> {
        match message {
            ToAgent::Setup(setup) if self.pool.is_none() => self.set_up(&setup, make),
            ToAgent::Ping(stamp) => self.outbox.say(&FromAgent::Pong(Some(stamp))),
            // Its task was refused.
            _ if self.is_ending.load(Ordering::Acquire) && self.pool.is_none() => {}
            message => return self.work(message),
        }
        Some(())
    }

    /// Obeys a message for the pool. `None`: the message has no meaning now.
    fn work(&mut self, message: ToAgent<'_>) -> Option<()> {
        if !matches!(message, ToAgent::Job(_)) {
            // The order counts: what is recalled may have come just now.
            self.feed();
        }
        let (AgentPool { pool, header }, reporter) = (self.pool.as_ref()?, self.reporter.as_ref()?);
        match message {
            ToAgent::Job(job) => {
                self.fed.push(self.leashes.put_on(job, &self.outbox));
                return Some(());
            }
            ToAgent::Cancel(seq) => {
                if self.leashes.cut(seq) {
                    pool.wake_slots();
                }
            }
            ToAgent::Header(names) => {
                if let Some(header) = header {
                    let _ = header.set(names.into_iter().map(<[u8]>::to_vec).collect());
                }
            }
            ToAgent::Recall(most) => {
                give_back(pool, reporter, usize::try_from(most).unwrap_or(usize::MAX));
                self.outbox.say(&FromAgent::Recalled);
            }
            ToAgent::Stop { after, means } => {
                give_back(pool, reporter, usize::MAX);
                if means == Stop::Kill {
                    pool.kill();
                } else {
                    pool.end_after(after, means);
                }
                self.end();
            }
            ToAgent::Finish => {
                pool.finish();
                self.end();
            }
            ToAgent::Pause => {
                pool.pause();
                self.is_paused = true;
            }
            ToAgent::Resume => {
                pool.resume();
                self.is_paused = false;
                self.heard = Instant::now();
            }
            ToAgent::Setup(_) | ToAgent::Ping(_) => return None,
        }
        Some(())
    }

    /// Gives the jobs that have come to the pool.
    fn feed(&mut self) {
        let Some(AgentPool { pool, .. }) = &self.pool else { return };
        if !self.fed.is_empty() && pool.feed_now(&mut self.fed).is_err() {
            for job in self.fed.drain(..) {
                let (seq, count) = (job.seq, job.count() as u64);
                self.outbox.say(&FromAgent::Returned { seq, count });
            }
        }
    }

    /// Makes the pool.
    fn set_up(&mut self, setup: &Setup<'_>, make: Make<'_>) {
        self.timeout = setup.timeout;
        self.outbox.set_pause(crate::pool::pause_of_heart(setup.timeout));
        let folder = Path::new(OsStr::from_bytes(setup.folder));
        if std::env::set_current_dir(folder).is_err() {
            self.stay_home(folder);
        }
        let slots = setup.slots.and_then(|slots| usize::try_from(slots).ok());
        let task = AgentTask {
            host: setup.host.to_owned(),
            slots: slots.unwrap_or_else(cpus::count),
            slots_before: usize::try_from(setup.slots_before).unwrap_or_default(),
            task: setup.task.to_vec(),
        };
        let reporter = Arc::new(LinkReporter {
            outbox: Arc::clone(&self.outbox),
            has_workers: AtomicBool::new(true),
        });
        let sink = Arc::clone(&reporter) as Arc<dyn Sink>;
        let watcher = Arc::clone(&reporter) as Arc<dyn Watcher>;
        match make(&task, sink, watcher) {
            Ok(made) => {
                reporter.has_workers.store(!made.pool.has_commands(), Ordering::Relaxed);
                self.pool = Some(made);
                self.reporter = Some(reporter);
                self.outbox.say(&FromAgent::Ready { slots: task.slots as u64 });
            }
            Err(error) => {
                self.is_ending.store(true, Ordering::Release);
                self.outbox.say_last(&FromAgent::Refused(&error.to_string()));
            }
        }
    }

    /// The folder is not there: the home folder takes its place.
    fn stay_home(&self, folder: &Path) {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
        let _ = std::env::set_current_dir(&home);
        self.outbox.say(&FromAgent::Note(&format!(
            "there is no folder '{}': jobs run in '{}'",
            folder.display(),
            Path::new(&home).display()
        )));
    }

    /// When the pool has ended, the last word is said.
    fn end(&self) {
        if self.is_ending.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(AgentPool { pool, .. }) = &self.pool else { return };
        let (pool, outbox) = (pool.clone(), Arc::clone(&self.outbox));
        let end = move || {
            block_on(pool.ended());
            outbox.say_last(&FromAgent::Bye);
        };
        if thread::Builder::new().name("end".into()).spawn(end).is_err() {
            self.outbox.say_last(&FromAgent::Bye);
        }
    }

    /// Kills all processes, and waits until they are gone.
    fn kill(&self) {
        let Some(AgentPool { pool, .. }) = &self.pool else { return };
        pool.kill();
        let (sender, gone) = std::sync::mpsc::channel();
        let pool = pool.clone();
        let wait = move || {
            block_on(pool.ended());
            let _ = sender.send(());
        };
        if thread::Builder::new().name("end".into()).spawn(wait).is_ok() {
            let _ = gone.recv_timeout(KILL_PATIENCE);
        }
    }
}

/// Gives up to `most` jobs back that no slot has taken, those that came last.
fn give_back(pool: &Pool, reporter: &LinkReporter, most: usize) {
    pool.recall(most).iter().for_each(|job| reporter.give_back(job));
}
