//! Starting a worker: its process and environment, start-up failures, and the pauses after them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::job::{Done, Failure, Job, Kind, Why};
use crate::pool::events;
use crate::pool::shared::Shared;
use crate::pool::shared::nursery::NotStarted;
use crate::pool::slot::death::append_last_words;
use crate::pool::slot::environment::{for_slot, has_slot, outer_environment, variable};
use crate::pool::slot::retire::report_end;
use crate::pool::slot::steps::{OVER_TICK, Slot, unbundled};
use crate::pool::slot::warm_up::{Unfit, warm_up};
use crate::process::{
    ForkSpec, Process, ProcessOutput, ProcessStdin, Spec, Stop, describe, describe_exited,
};
use crate::util::clock::Moment;
use crate::worker::{Worker, WorkerId};

/// The pause after the first start-up failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many variables a worker has about its slot.
const NUMBERS: usize = 2;

/// The pause after the machine had no room for a process.
pub(super) const CROWDED_PAUSE: Duration = Duration::from_millis(100);

/// What is known of a worker before it has a process.
#[derive(Clone, Copy)]
pub(super) struct Birth {
    id: WorkerId,
    moment: Moment,
    /// How many start-up failures had been counted.
    failures_before: u32,
}

impl Slot {
    /// Starts a worker for the jobs in hand. If that fails the jobs go back, and the slot pauses.
    pub(super) fn start_worker(&mut self) -> Option<Worker> {
        let failures_before = self.shared.start_ups.failures();
        match self.spawn_worker() {
            Ok(worker) => self.warmed_up(worker, failures_before),
            Err(error) => {
                self.not_spawned(&error, failures_before);
                None
            }
        }
    }

    /// Starts the process of a worker.
    pub(super) fn spawn_worker(&mut self) -> Result<Worker, NotStarted> {
        let birth = self.next_birth();
        let process = if self.shared.config.worker.preload {
            let spec = self.fork_spec()?;
            self.fork_worker(spec)?
        } else {
            self.start_process()?
        };
        Ok(self.enter(process, Birth { moment: self.now(), ..birth }))
    }

    /// The next worker of this slot begins.
    pub(super) fn next_birth(&mut self) -> Birth {
        self.generation += 1;
        let id = WorkerId { slot: self.number(), generation: self.generation };
        Birth { id, moment: self.now(), failures_before: self.shared.start_ups.failures() }
    }

    /// The process is a worker from now on.
    pub(super) fn enter(&self, process: Process, birth: Birth) -> Worker {
        let shared = &*self.shared;
        let Birth { id, moment, failures_before } = birth;
        let worker = Worker::new(process, &shared.config, moment, failures_before, id);
        shared.roll_call.workers.add(&worker.card);
        events::worker_started(id.slot, worker.card.pid);
        worker
    }

    fn start_process(&self) -> io::Result<Process> {
        let shared = &*self.shared;
        let own = self.own_environment();
        let (numbers, others) = own.split_at(NUMBERS);
        let env = [numbers, &outer_environment(shared), others].concat();
        let place = &shared.config.process;
        let cwd = match &place.cwd_of_slot {
            Some(text) => Some(for_slot(text, self.number())),
            None => place.directory(),
        };
        let spec = Spec {
            argv: &shared.config.worker.argv,
            program: None,
            env: &env,
            clears_env: place.clears_env,
            cwd: cwd.as_deref(),
            stdin: ProcessStdin::Pipe,
            output: if shared.config.worker.pty {
                ProcessOutput::PlainTerminal
            } else {
                ProcessOutput::Pipes
            },
            slot: self.number(),
            cpus: place.cpus(self.number()),
            wake: &self.wake,
            is_brief: false,
        };
        Process::start(&spec, &shared.groups)
    }

    /// How a process that has loaded the code is to fork a worker.
    pub(super) fn fork_spec(&self) -> io::Result<ForkSpec> {
        let place = &self.shared.config.process;
        let number = self.number();
        let cwd = place.cwd_of_slot.as_ref().map(|text| for_slot(text, number));
        if cwd.as_ref().is_some_and(|cwd| !Path::new(cwd).is_dir()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut env = self.own_environment();
        // The others are those of the process that has loaded the code.
        let fixed = &place.env_of_slot;
        env.retain(|(name, _)| !fixed.iter().any(|(fixed, text)| fixed == name && !has_slot(text)));
        let (cpus, wake) = (place.cpus(number), Arc::clone(&self.wake));
        Ok(ForkSpec { env, cwd, slot: number, cpus, wake })
    }

    /// The additions to the environment that are those of this slot: [`NUMBERS`] of them are always there.
    fn own_environment(&self) -> Vec<(OsString, OsString)> {
        let mut env = vec![
            variable("PROCPOOL_SLOT", self.number().to_string()),
            variable("PROCPOOL_GENERATION", self.generation.to_string()),
        ];
        let of_slot = self.shared.config.process.env_of_slot.iter();
        env.extend(of_slot.map(|(name, text)| (name.clone(), for_slot(text, self.number()))));
        env
    }

    /// The process of a worker could not be started.
    fn not_spawned(&mut self, error: &NotStarted, failures_before: u32) {
        let error = match error {
            NotStarted::Io(error) => error,
            NotStarted::Unwanted => return self.drop_jobs(),
            NotStarted::Parent(message) => {
                let jobs = std::mem::take(&mut self.jobs);
                return self.start_failed(jobs, message.clone(), failures_before);
            }
        };
        let jobs = std::mem::take(&mut self.jobs);
        if self.shared.is_crowded(error) {
            self.put_back(jobs.into_iter());
            return self.pause(CROWDED_PAUSE);
        }
        let program = self.shared.config.worker.argv[0].to_string_lossy();
        let mut message = format!("the worker '{program}' could not be started: {error}");
        if let Some(text) = &self.shared.config.process.cwd_of_slot {
            let folder = for_slot(text, self.number());
            if !Path::new(&folder).is_dir() {
                message = format!(
                    "the worker '{program}' could not be started in '{}', which is no folder",
                    folder.display()
                );
            }
        }
        self.start_failed(jobs, message, failures_before);
    }

    /// Warms a fresh worker up. If that fails it gets no job.
    fn warmed_up(&mut self, mut worker: Worker, failures_before: u32) -> Option<Worker> {
        let result = self.shared.start_ups.while_warming(|| {
            warm_up(&mut worker, &self.shared, Some(&self.wake), &AtomicBool::new(false))
        });
        match result {
            Ok(()) => {
                learn_from_start(&self.shared, &worker);
                Some(worker)
            }
            Err(unfit) => {
                self.end_unfit(worker, unfit, failures_before);
                None
            }
        }
    }

    /// Ends a worker that is not fit for work, and puts the jobs in hand back.
    fn end_unfit(&mut self, mut worker: Worker, unfit: Unfit, failures_before: u32) {
        let shared = &*self.shared;
        let pid = worker.process.pid();
        let status = worker.process.stop(
            Stop::Terminate,
            shared.config.grace,
            &shared.groups,
            Some(&self.wake),
            &*shared.watcher,
        );
        worker.set_why(if matches!(unfit, Unfit::Failed(_)) { Why::Unfit } else { Why::Cancelled });
        report_end(shared, &worker);
        match unfit {
            Unfit::Failed(message) => {
                let mut message = format!(
                    "the worker (pid {pid}) is not fit for work: {message}; it {}",
                    if worker.process.has_exited() {
                        describe_exited(status)
                    } else {
                        describe(status)
                    }
                );
                append_last_words(&mut message, &worker);
                let jobs = std::mem::take(&mut self.jobs);
                self.start_failed(jobs, message, failures_before);
            }
            Unfit::Unwanted => self.drop_jobs(),
        }
    }

    /// A worker died before its first reply, or could not be started. After too many such failures in a
    /// row the pool gives up; otherwise `jobs` go back and the slot pauses.
    pub(super) fn start_failed(
        &mut self,
        jobs: VecDeque<Job>,
        message: String,
        failures_before: u32,
    ) {
        let shared = &*self.shared;
        if shared.stopping.has_begun() {
            self.jobs = jobs;
            return self.drop_jobs();
        }
        let failures = shared.start_ups.count_failure(failures_before);
        let limit = shared.config.failures.start_limit;
        if limit > 0 && failures >= limit {
            let hosts = shared.hosts.as_ref();
            return match hosts.and_then(|hosts| hosts.set_local_aside()) {
                Some(is_new) => self.sit_out(jobs, is_new.then_some(&*message)),
                None => self.give_up(jobs, &message, failures),
            };
        }
        self.put_back(jobs.into_iter());
        self.flush();
        let doublings = failures.saturating_sub(1).min(16);
        self.pause((FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE));
    }

    /// No worker starts on this machine, and others run the jobs. Returns when no more jobs will come.
    fn sit_out(&mut self, jobs: VecDeque<Job>, message: Option<&str>) {
        if let Some(message) = message {
            self.shared.watcher.note(&format!("this machine is set aside: {message}"));
        }
        self.put_back(jobs.into_iter());
        self.flush();
        self.step_aside();
        while self.may_get_jobs() {
            self.wake.wait(Some(OVER_TICK));
        }
    }

    /// Too many start-ups in a row have failed: `jobs` fail, and all jobs that wait.
    fn give_up(&mut self, jobs: VecDeque<Job>, message: &str, failures: u32) {
        let shared = Arc::clone(&self.shared);
        let failure = Failure::new(Kind::Spawn, why_given_up(&shared, message, failures));
        let jobs = unbundled(jobs);
        for job in &jobs {
            let outcome = Err(&failure);
            shared.deliveries.deliver(&Done {
                job,
                outcome,
                printed: None,
                run: None,
                unproven: None,
            });
        }
        self.finished += jobs.len();
        self.flush();
        // A caller of a server hears of this before its last job is gone.
        shared.give_up(&failure);
        for job in jobs {
            shared.deliveries.answer(job, Err(&failure));
        }
    }
}

fn why_given_up(shared: &Shared, message: &str, failures: u32) -> String {
    let config = &shared.config;
    if config.worker.is_code {
        return format!("the code can't be loaded: {message}");
    }
    let times =
        if failures == 1 { "once".to_owned() } else { format!("{failures} times in a row") };
    let line = command_line(&config.worker.argv);
    format!("{message} ({times}); to see why, run it by hand: {line}")
}

/// Learns from the start of a worker that is fit for work.
fn learn_from_start(shared: &Shared, worker: &Worker) {
    let init = &shared.config.worker.init;
    // A worker that was asked nothing may still be starting: its first reply will show when it was ready.
    if !init.is_empty() {
        shared.estimates.learn_start_time(shared.now().since(worker.born()));
    }
    if init.iter().any(|init| init.has_reply) {
        // It has answered, so it holds no replies back.
        shared.start_ups.end_silence();
    }
}

/// A command line, as it can be pasted into a shell.
fn command_line(argv: &[OsString]) -> String {
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    shell_words::join(words)
}
