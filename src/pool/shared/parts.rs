//! [`Shared`]: the parts that all slots of a pool share, and the few steps that need several parts.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use crate::config::Config;
use crate::config::THIS_HOST;
use crate::job::printed::Spool;
use crate::job::{Failure, Job, Sink, Watcher};
use crate::pool::gates::Gates;
use crate::pool::queue::Queue;
use crate::pool::shared::deliveries::{self, Deliveries};
use crate::pool::shared::estimates::Estimates;
use crate::pool::shared::guarded::{GuardedSink, GuardedWatcher};
use crate::pool::shared::hosts::HostDesks;
use crate::pool::shared::spares::Spares;
use crate::pool::shared::start_ups::StartUps;
use crate::pool::shared::stopping::Stopping;
use crate::pool::underway::RollCall;
use crate::process::Groups;
use crate::util::clock::Moment;

/// The parts that all slots of a pool share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    pub(crate) groups: Arc<Groups>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) files: CommandFiles,
    pub(crate) watcher: Arc<dyn Watcher>,
    /// Starts slots. They are a layer above this.
    starter: Starter,
    pub(crate) stopping: Stopping,
    pub(crate) start_ups: StartUps,
    pub(crate) estimates: Estimates,
    pub(crate) spares: Spares,
    pub(crate) deliveries: Deliveries,
    pub(crate) roll_call: RollCall,
    /// The other machines, if there are any.
    pub(crate) hosts: Option<Arc<HostDesks>>,
}

/// The files that all commands have in common.
pub(crate) struct CommandFiles {
    /// The temporary file for large outputs.
    pub(crate) spool: Arc<Spool>,
}

type Starter = fn(&Arc<Shared>, Vec<usize>);

impl Shared {
    pub(crate) fn new(
        config: Config,
        watcher: Arc<dyn Watcher>,
        sink: Option<Arc<dyn Sink>>,
        sources: Vec<String>,
        starter: Starter,
    ) -> Self {
        let watcher: Arc<dyn Watcher> = Arc::new(GuardedWatcher(watcher));
        let starts_slowly = sink.is_some() && config.commands.is_none() && config.hosts.is_none();
        let sink = sink.map(|sink| GuardedSink::new(sink, Arc::clone(&watcher)));
        let queue = Queue::new(config.max_procs, config.calls.max_queue);
        if starts_slowly {
            queue.start_slowly();
        }
        Self {
            queue,
            gates: Arc::new(Gates::new(config.limits.clone())),
            files: CommandFiles { spool: Arc::default() },
            groups: limited_groups(&config),
            watcher,
            starter,
            stopping: Stopping::new(),
            start_ups: StartUps::new(),
            estimates: Estimates::new(&config),
            spares: Spares::new(config.recycling.standby),
            deliveries: Deliveries::new(sink, sources),
            roll_call: RollCall::default(),
            hosts: config.hosts.clone().map(HostDesks::new),
            config,
        }
    }

    /// The same with the processes, the clock, the gates, the nursery and the count of spares of another pool.
    pub(crate) fn beside(self, other: &Self) -> Self {
        Self {
            groups: Arc::clone(&other.groups),
            gates: Arc::clone(&other.gates),
            start_ups: self.start_ups.beside(&other.start_ups),
            spares: self.spares.beside(&other.spares),
            ..self
        }
    }

    pub(crate) fn start_slots(self: &Arc<Self>, slots: Vec<usize>) {
        (self.starter)(self, slots);
    }

    pub(crate) fn now(&self) -> Moment {
        self.groups.clock.now()
    }

    /// The name of this machine, where jobs also run on others.
    pub(crate) fn this_host(&self) -> Option<&'static str> {
        self.hosts.as_ref().filter(|hosts| !hosts.settings.is_server()).map(|_| THIS_HOST)
    }

    /// Where the program of a command is, if that is known.
    pub(crate) fn program_of(&self, argv: &[OsString]) -> Option<&OsStr> {
        let (name, path) = self.config.process.program.as_ref()?;
        (argv.first() == Some(name)).then_some(path)
    }

    /// Whether a process could not be started only because the machine has no room for it now.
    pub(crate) fn is_crowded(&self, error: &io::Error) -> bool {
        self.start_ups.is_crowded(error, self.now(), &self.groups, &*self.watcher)
    }

    /// Too many workers in a row have died before their first reply. All jobs that wait fail; jobs
    /// for the sink are left. A pool with a sink takes no more of them, unless it is to go on.
    pub(crate) fn give_up(&self, failure: &Failure) {
        let goes_on = self.config.failures.goes_on || self.deliveries.sink().is_none();
        if !goes_on {
            self.queue.close();
        }
        self.deliveries.drop_jobs(self.queue.clear(), failure);
        if goes_on {
            self.start_ups.forget_failures();
        }
        if goes_on || self.start_ups.give_up() {
            self.watcher.start_limit_reached(failure);
        }
    }

    /// Drops jobs that will not run, since the run was ended.
    pub(crate) fn drop_jobs(&self, jobs: impl IntoIterator<Item = Job>) {
        let (tried, fresh) = jobs.into_iter().partition::<Vec<_>, _>(|job| job.attempt > 1);
        self.deliveries.drop_jobs(fresh, &deliveries::unstarted_at_end());
        self.deliveries.drop_jobs(tried, &deliveries::waiting_at_end());
    }

    /// The last slot has left: the pool is as new.
    pub(crate) fn renew(&self) {
        self.stopping.reset();
        self.groups.stop_killing();
    }
}

/// The list of process groups, with what each may use.
fn limited_groups(config: &Config) -> Arc<Groups> {
    let groups = Groups::new(config.reaps_orphans);
    groups.limit_memory(config.failures.max_memory.unwrap_or(0));
    groups
}
