//! One slot: take a job, keep its worker, deliver the outcome, recycle. A slot is a thread that
//! owns its worker's pipes and waits in one place: for its worker, a deadline, or a wake-up.

mod command;
pub(crate) mod warm_up;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::command::Commands;
use crate::command::command_line as shell_line;
use crate::job::caller::{self, Caller};
use crate::job::printed::Printed;
use crate::job::{Done, Failure, Job, Kind, Run, Value, Why};
use crate::pool::gates::jobserver::Token;
use crate::pool::queue::{Ask, Taken};
use crate::pool::roll::{Seen, Underway};
use crate::pool::shared::{Shared, SparePermit};
use crate::pool::slot::warm_up::{Unfit, Warming, warm_up};
use crate::process::lookup::{self, Runner};
use crate::process::stops::Stopped;
use crate::process::{Process, Spec, Stop, Transfer, Wake, describe};
use crate::util::clock::Moment;
use crate::util::random::random;
use crate::util::text::quote;
use crate::worker::buffering;
use crate::worker::{Answer, EARLY, Flight, Reading, Violation, Worker};
use command::{Cut, Ended, Running};

/// A process whose pipes have closed is given so long to exit, so that its status can be told.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// A worker that never answered is remarked on after so long.
const SILENCE: Duration = Duration::from_secs(10);

/// A worker that has answered before, and leaves a request unread for longer than its job may take,
/// is ended after so long at the earliest.
const UNREAD: Duration = Duration::from_secs(10);

/// Where no job is left, whoever reads the input is given so long to read on or find its end before a
/// spare is started.
const INPUT_PATIENCE: Duration = Duration::from_millis(50);

/// A worker that was given no job, and may be starting still, has so long to end of itself.
const SPARE_PATIENCE: Duration = Duration::from_millis(500);

/// The pause after the first start-up failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A job waits for another try no longer than this, about.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// The pause of a slot for whose worker the machine has no room.
const CROWDED_PAUSE: Duration = Duration::from_millis(100);

/// How a worker showed that it is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Exited,
    ClosedStdout,
    ClosedStdin,
    /// It wanted the terminal, and will not go on.
    Stopped(Stopped),
}

/// A slot of a pool.
pub(crate) struct Slot {
    /// Counted from 0 inside, from 1 outside.
    index: usize,
    shared: Arc<Shared>,
    wake: Arc<Wake>,
    worker: Option<Worker>,
    /// The worker that is to take the place of the present one.
    spare: Option<Spare>,
    /// There is none, since it could not be started.
    spare_failed: bool,
    /// It is not started yet, since the input may be at its end.
    awaits_input: bool,
    generation: u64,
    /// Jobs taken from the queue, for the worker that is to be started for them.
    jobs: VecDeque<Job>,
    /// The last command was done in next to no time.
    is_quick: bool,
    /// When a job is to be tried again that nobody else may be awake for.
    due: Moment,
    /// Jobs finished since the queue was last told.
    finished: usize,
    /// The right to run a job, where make gives it.
    token: Option<Token>,
    /// Up to when it has said what it runs.
    roll: Seen,
    /// Outcomes that callers are yet to be told: not before the queue knows that this slot is free,
    /// or else a caller's next job would have another worker started.
    answers: Vec<(Caller, caller::Answer)>,
}

/// A worker that was started ahead. There are only so many of them in a pool.
struct Spare {
    state: SpareState,
    _permit: SparePermit,
}

enum SpareState {
    Ready(Box<Worker>),
    /// It is still being asked what fresh workers are asked.
    Warming(Warming),
}

impl Spare {
    /// The worker, as soon as it is ready.
    fn worker(self) -> Option<Worker> {
        match self.state {
            SpareState::Ready(worker) => Some(*worker),
            SpareState::Warming(warming) => warming.finish(),
        }
    }

    fn ready(&self) -> Option<&Worker> {
        match &self.state {
            SpareState::Ready(worker) => Some(worker),
            SpareState::Warming(_) => None,
        }
    }

    /// The worker if it is ready; otherwise it is given up.
    fn abandon(self) -> Option<Worker> {
        match self.state {
            SpareState::Ready(worker) => Some(*worker),
            SpareState::Warming(warming) => warming.abandon(),
        }
    }
}

impl Slot {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, wake: Arc<Wake>) -> Self {
        let roll = shared.roll.seen(shared.config.slots_before + index + 1);
        Self {
            index,
            shared,
            wake,
            worker: None,
            spare: None,
            spare_failed: false,
            awaits_input: false,
            generation: 0,
            jobs: VecDeque::new(),
            is_quick: true,
            due: Moment::NEVER,
            finished: 0,
            token: None,
            roll,
            answers: Vec::new(),
        }
    }

    /// What the slot is called outside.
    fn number(&self) -> usize {
        self.shared.config.slots_before + self.index + 1
    }

    /// Passes on what has been delivered.
    fn flush(&mut self) {
        self.shared.flush();
        for (caller, answer) in self.answers.drain(..) {
            caller.reply(answer);
        }
    }

    /// Works until the queue is closed and empty; then the worker is retired.
    pub(crate) fn run(mut self) {
        while self.turn() {}
        let spare = self.spare.take().and_then(Spare::abandon);
        for worker in [spare, self.worker.take()].into_iter().flatten() {
            if worker.has_started {
                self.end_in_its_own_time(worker);
            } else {
                self.shared.retire_within(worker, SPARE_PATIENCE);
            }
        }
        self.flush();
    }

    /// One round: take jobs, hand them to the worker, wait, deal with what happened. Returns
    /// whether there is anything left to do.
    fn turn(&mut self) -> bool {
        let (shared, worker) = (&*self.shared, self.worker.as_ref());
        shared.roll.answer(&mut self.roll, |slot| {
            worker.map_or_else(Vec::new, |worker| underway(shared, worker, slot))
        });
        if let Some(commands) = self.shared.config.commands.clone() {
            return self.command_turn(&commands);
        }
        if self.take() == Taken::Leave && self.in_flight() == 0 {
            return false;
        }
        if !self.jobs.is_empty() {
            if !self.pass_gates() {
                return true;
            }
            if self.worker.is_none() && self.forget_abandoned() {
                return true;
            }
            let is_new = self.worker.is_none();
            if is_new && !self.start() {
                return true;
            }
            self.look_out();
            self.hand_over();
            let has_room = |worker: &Worker| worker.room(self.shared.now()) > 0;
            if self.in_flight() == 0 || (is_new && self.worker.as_ref().is_some_and(has_room)) {
                // A fresh worker may have more than the job it was started for; and if nobody waits
                // for the jobs any more, the queue must be told.
                return true;
            }
        }
        let Some(worker) = &mut self.worker else {
            self.flush();
            self.rest();
            return true;
        };
        if worker.has_unsent() && worker.send() == Transfer::Closed {
            self.stdin_closed();
            return true;
        }
        self.wait();
        true
    }

    fn in_flight(&self) -> usize {
        self.worker.as_ref().map_or(0, |worker| worker.flights.len())
    }

    /// Takes as many jobs as the worker may have now.
    fn take(&mut self) -> Taken {
        let has_gates = self.shared.gates.are_there();
        if self.in_flight() == 0 {
            self.token = None;
        } else if has_gates {
            return Taken::Wait;
        }
        let is_spent = |worker: &Worker| worker.is_spent && worker.flights.is_empty();
        if self.worker.as_ref().is_some_and(is_spent) {
            // It would get no job, and hold the slot for ever.
            self.retire();
        }
        let now = self.shared.now();
        self.due = Moment::NEVER;
        let (max, max_bytes) = match &self.worker {
            _ if has_gates => (1, 1),
            Some(worker) => (worker.room(now), worker.room_bytes()),
            None => (1, 1),
        };
        if max == 0 {
            return Taken::Wait;
        }
        let ask = Ask {
            warm: self.worker.is_some(),
            busy: self.in_flight() > 0,
            finished: std::mem::take(&mut self.finished),
            now,
            max,
            max_bytes,
            portion: self.worker.as_ref().map_or(1, Worker::portion),
        };
        let (taken, due) = self.shared.queue.take(self.index, ask, &mut self.jobs);
        self.due = due;
        taken
    }

    /// Waits for a wake-up, or until a job is to be tried again.
    fn rest(&self) {
        match self.due {
            Moment::NEVER => self.wake.wait(None),
            due => self.wake.wait(due.until(self.shared.now())),
        }
    }

    /// Starts a worker for the jobs in hand. If that fails they go back, and a pause is made.
    fn start(&mut self) -> bool {
        self.flush();
        if self.shared.now() >= self.shared.stop_at() {
            // The run is over: no worker is needed any more.
            self.drop_jobs();
            return false;
        }
        let spare = self.spare.take().and_then(Spare::worker);
        self.promote(spare);
        if self.worker.is_some() {
            return true;
        }
        let failures_before = self.shared.start_failures();
        match self.new_worker() {
            Ok(worker) => self.make_fit(worker, failures_before),
            Err(error) => {
                let program = self.shared.config.worker[0].to_string_lossy();
                let message = format!("the worker '{program}' could not be started: {error}");
                let jobs = std::mem::take(&mut self.jobs);
                if self.shared.is_crowded(&error) {
                    self.put_back(jobs.into_iter());
                    self.pause(CROWDED_PAUSE);
                    return false;
                }
                self.start_failed(jobs, message, failures_before);
                false
            }
        }
    }

    /// Asks a fresh worker what it is to be asked; without that it gets no job.
    fn make_fit(&mut self, mut worker: Worker, failures_before: u32) -> bool {
        let shared = Arc::clone(&self.shared);
        let unfit = warm_up(&mut worker, &shared, Some(&self.wake), &AtomicBool::new(false));
        let Err(unfit) = unfit else {
            // One that was asked nothing may be starting still: its first reply will tell.
            if !shared.config.init.is_empty() {
                shared.learn_start_time(shared.now().since(worker.born));
            }
            if shared.config.init.iter().any(|init| init.has_reply) {
                // One that answers holds no replies back.
                shared.remark_on_silence();
            }
            self.worker = Some(worker);
            return true;
        };
        let pid = worker.process.pid();
        let (grace, watcher, wake) = (shared.config.grace, &*shared.watcher, Some(&*self.wake));
        let status = worker.process.stop(Stop::Terminate, grace, &shared.groups, wake, watcher);
        worker.why = if matches!(unfit, Unfit::Failed(_)) { Why::Unfit } else { Why::Cancelled };
        shared.worker_ended(&worker);
        let jobs = std::mem::take(&mut self.jobs);
        match unfit {
            Unfit::Failed(message) => {
                let mut message = format!(
                    "the worker (pid {pid}) is not fit for work: {message}; it {}",
                    describe(status)
                );
                append_last_words(&mut message, &worker);
                self.start_failed(jobs, message, failures_before);
            }
            Unfit::Unwanted => {
                self.jobs = jobs;
                self.drop_jobs();
            }
        }
        false
    }

    /// Puts jobs back to where they came from; once the run was ended they are dropped.
    fn put_back(&self, jobs: impl DoubleEndedIterator<Item = Job>) {
        let left = self.shared.queue.put_back(self.index, jobs);
        self.shared.drop_jobs(left);
    }

    /// Forgets those of the jobs in hand that nobody waits for any more. Returns whether none is left.
    fn forget_abandoned(&mut self) -> bool {
        let (before, index) = (count(&self.jobs), self.index);
        self.jobs.retain(|job| {
            if let Some(caller) = &job.caller {
                caller.is_at(index);
            }
            !job.is_abandoned()
        });
        self.finished += before - count(&self.jobs);
        self.jobs.is_empty()
    }

    /// Waits until the jobs in hand may start. If the run ends before, or nobody waits for them any
    /// more, they are dropped.
    fn pass_gates(&mut self) -> bool {
        if !self.shared.gates.are_there() {
            return true;
        }
        if self.forget_abandoned() {
            return false;
        }
        self.flush();
        let shared = Arc::clone(&self.shared);
        let jobs = &self.jobs;
        let is_over = || shared.is_stopping() || jobs.iter().all(Job::is_abandoned);
        let (clock, watcher) = (&shared.groups.clock, &*shared.watcher);
        match shared.gates.pass(clock, watcher, &self.wake, is_over) {
            Some(token) => {
                self.token = token;
                true
            }
            None => {
                self.forget_abandoned();
                self.drop_jobs();
                false
            }
        }
    }

    /// The run is over: the jobs in hand are not run any more.
    fn drop_jobs(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        self.finished += count(&jobs);
        self.shared.drop_jobs(jobs);
    }

    /// One round of a slot that runs a command for each job.
    fn command_turn(&mut self, commands: &Commands) -> bool {
        match self.take() {
            Taken::Leave => return false,
            Taken::Wait => {
                self.flush();
                self.rest();
            }
            Taken::Jobs => {
                if self.pass_gates()
                    && let Some(job) = self.jobs.pop_front()
                {
                    self.run_job(commands, job);
                }
            }
        }
        true
    }

    /// Runs the command of a job, from its start to its end.
    fn run_job(&mut self, commands: &Commands, job: Job) {
        let shared = Arc::clone(&self.shared);
        if let Some(caller) = &job.caller {
            caller.is_at(self.index);
        }
        if job.is_abandoned() {
            self.finished += 1;
            return;
        }
        if shared.is_stopping() {
            self.finished += 1;
            return shared.drop_jobs([job]);
        }
        let start = shared.now();
        let (command, input) = match commands.of(&job, self.number()) {
            Ok(command) => command,
            Err(error) => {
                let message = error.to_string();
                let place = crate::job::naming::place(job.place, shared.sources());
                let message = place.map_or(message.clone(), |place| format!("{place}: {message}"));
                return self.command_over(job, (0, start), Some((Kind::Invalid, message)), None);
            }
        };
        if commands.dry_run {
            let printed = Printed::line(&shared.spool, &commands.typed(&command, &input));
            return self.command_over(job, (0, start), None, Some(&Arc::new(printed)));
        }
        self.flush();
        if commands.confirm && !shared.watcher.confirms(&shell_line(&command)) {
            let declined = (Kind::Cancelled, "it was not confirmed".to_owned());
            return self.command_over(job, (0, start), Some(declined), None);
        }
        let start = shared.now();
        let running = match Running::start(&shared, commands, &job, &command, input, &self.wake) {
            Ok(running) => running,
            Err(error) if shared.is_crowded(&error) => {
                self.put_back([job].into_iter());
                return self.pause(CROWDED_PAUSE);
            }
            Err(error) => {
                let runner = if commands.in_jobs { Runner::Job } else { Runner::Command };
                let message = lookup::not_started(&command, runner, &error);
                let failure = (Kind::Spawn, message);
                return self.command_over(job, (0, start), Some(failure), None);
            }
        };
        let pid = running.pid();
        let ended = running.attend(&self.wake, &mut self.is_quick, &mut self.roll);
        let timeout = job.timeout.or_else(|| shared.timeout());
        if ended.cut == Some(Cut::Abandoned) {
            if ended.is_left_behind {
                let name = shared.name(&job);
                shared.watcher.note(&format!("{name}: it {} (pid {pid})", describe(None)));
            }
            self.finished += 1;
            return;
        }
        let mut failure = self.why_failed(&ended, timeout);
        if let Some((_, message)) = failure.as_mut().filter(|_| ended.is_left_behind) {
            message.push_str(&format!("; it {} (pid {pid})", describe(None)));
        }
        let printed = Some(&ended.printed).filter(|_| ended.cut != Some(Cut::NotKept));
        self.command_over(job, (pid, start), failure, printed);
    }

    /// Why a command that was started has failed, if it has.
    fn why_failed(&self, ended: &Ended, timeout: Option<Duration>) -> Option<(Kind, String)> {
        match ended.cut {
            None if ended.status.is_some_and(|status| status.success()) => None,
            // It has exited, and whatever traces it keeps the status.
            None if ended.status.is_none() => {
                Some((Kind::Exit, "it has exited, and its status can't be told".to_owned()))
            }
            None => Some((Kind::Exit, format!("it {}", describe(ended.status)))),
            Some(Cut::TimedOut) => {
                let limit = humantime::format_duration(timeout.unwrap_or_default());
                let ended = if ended.is_left_behind { "" } else { ", and was ended" };
                Some((Kind::Timeout, format!("it took longer than {limit}{ended}")))
            }
            Some(Cut::NotKept) => {
                let error = ended.trouble.as_ref().map(ToString::to_string).unwrap_or_default();
                let message = format!(
                    "what a command printed could not be kept in a temporary file in '{}': \
                     {error}; make room there, or set TMPDIR to another folder",
                    std::env::temp_dir().display()
                );
                self.shared.watcher.output_lost(&message);
                Some((Kind::Cancelled, "what it printed could not be kept".to_owned()))
            }
            Some(Cut::Stopped) => {
                let stopped = ended.stopped.as_ref().map(ToString::to_string).unwrap_or_default();
                Some((Kind::Exit, format!("it {stopped}; {}", Stopped::advice())))
            }
            Some(Cut::Cancelled | Cut::Abandoned) => {
                Some((Kind::Cancelled, "it was running when the run was ended".to_owned()))
            }
        }
    }

    /// A job's command is over, or never ran.
    fn command_over(
        &mut self,
        job: Job,
        (pid, start): (u32, Moment),
        failure: Option<(Kind, String)>,
        printed: Option<&Arc<Printed>>,
    ) {
        let failure = failure.map(|(kind, message)| Failure::new(kind, message));
        let outcome = failure.as_ref().map_or(Ok(Value::NULL), Err);
        let ran = Ran { slot: self.number(), pid, start, clock: start, now: self.shared.now() };
        let is_over = deliver(&self.shared, ran, job, outcome, printed, &mut self.answers);
        self.finished += usize::from(is_over);
    }

    fn new_worker(&mut self) -> io::Result<Worker> {
        let shared = &*self.shared;
        let failures_before = shared.start_failures();
        self.generation += 1;
        let variable = |name: &str, value: String| (name.into(), value.into());
        let mut env = vec![
            variable("PROCPOOL_SLOT", (self.number()).to_string()),
            variable("PROCPOOL_GENERATION", self.generation.to_string()),
            variable("PROCPOOL_PROTOCOL", shared.config.protocol.label()),
        ];
        if std::env::var_os("PYTHONUNBUFFERED").is_none() {
            env.push(variable("PYTHONUNBUFFERED", "1".into()));
        }
        if shared.config.is_code && shared.config.protocol.label() == "sh" {
            // It waits by itself for what code leaves running.
            let millis = shared.config.grace.as_millis().min(u128::from(u32::MAX));
            env.push(variable("PROCPOOL_GRACE", millis.to_string()));
        }
        env.extend_from_slice(&shared.config.env);
        let argv = &shared.config.worker;
        let spec = Spec {
            argv,
            program: None,
            env: &env,
            cwd: None,
            has_stdin: true,
            pty: shared.config.pty,
            wake: &self.wake,
        };
        let process = Process::start(&spec, &shared.groups)?;
        let mut worker = Worker::new(process, &shared.config, shared.now(), failures_before);
        worker.place = (self.number(), self.generation);
        Ok(worker)
    }

    /// Looks whether a worker without a job has printed something all the same, which would be taken for
    /// the reply to the next one. Such a worker gets none.
    fn look_out(&mut self) {
        let Some(worker) = self.worker.as_mut().filter(|worker| worker.may_mislead()) else {
            return;
        };
        if !worker.process.may_be_read() {
            worker.has_rested(self.shared.now());
        } else if let Transfer::Moved(_) = worker.read() {
            self.receive();
        }
        if self.worker.as_ref().is_some_and(|worker| !worker.unasked().is_empty()) {
            self.printed_unasked();
        }
        if self.worker.is_none() {
            let jobs = std::mem::take(&mut self.jobs);
            self.shared.queue.put_back(self.index, jobs.into_iter());
        }
    }

    /// The worker has printed something though it had no job: it is not used any more. If it has never
    /// answered, the next one will do the same, and so will all others: that is the failure of the
    /// job that it was to be given.
    fn printed_unasked(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        let job = match worker.replies {
            0 => self.jobs.pop_front(),
            _ => None,
        };
        match job {
            Some(mut job) => {
                if job.count() > 1 {
                    let first = job.split_off_first(1);
                    self.jobs.push_front(std::mem::replace(&mut job, first));
                }
                let (pid, bytes) = (worker.process.pid(), quote(worker.unasked()));
                let message = format!("{EARLY}: {bytes}{}", buffering::FOR_REPLIES);
                let now = self.shared.now();
                let ran = Ran { slot: self.number(), pid, start: now, clock: now, now };
                let failure = Failure::new(Kind::Protocol, message);
                let answers = &mut self.answers;
                let is_over = deliver(&self.shared, ran, job, Err(&failure), None, answers);
                self.finished += usize::from(is_over);
            }
            None => self.shared.printed_unasked(&mut worker),
        }
        worker.why = Why::Protocol;
        self.dismiss(worker, Stop::Terminate);
    }

    fn hand_over(&mut self) {
        let now = self.shared.now();
        if self.worker.as_ref().is_some_and(|worker| worker.is_unordered) {
            self.jobs = each(std::mem::take(&mut self.jobs));
        }
        while let Some(job) = self.jobs.pop_front() {
            if let Some(caller) = &job.caller {
                caller.is_at(self.index);
            }
            if job.is_abandoned() {
                self.finished += 1;
            } else if let Some(worker) = &mut self.worker
                && let Err(refused) = worker.accept(job, now)
            {
                let (job, message) = *refused;
                match job.count() {
                    1 => self.not_asked(job, message),
                    // Those of it that can be told are, one by one.
                    _ => {
                        let others = std::mem::take(&mut self.jobs);
                        self.jobs = each([job].into());
                        self.jobs.extend(others);
                    }
                }
            }
        }
    }

    /// A job can't be told to a worker, which is its outcome.
    fn not_asked(&mut self, job: Job, message: String) {
        let place = crate::job::naming::place(job.place, self.shared.sources());
        let message = place.map_or(message.clone(), |place| format!("{place}: {message}"));
        let failure = Failure::new(Kind::Invalid, message);
        let now = self.shared.now();
        let ran = Ran { slot: self.number(), pid: 0, start: now, clock: now, now };
        let is_over = deliver(&self.shared, ran, job, Err(&failure), None, &mut self.answers);
        self.finished += usize::from(is_over);
    }

    /// Waits for the worker, a deadline or a wake-up, and deals with what came.
    fn wait(&mut self) {
        self.flush();
        self.prepare_spare();
        let timeout = match self.deadline().min(self.due) {
            Moment::NEVER => None,
            deadline => deadline.until(self.shared.now()),
        };
        let Some(worker) = &mut self.worker else { return };
        if let Some(rest) = worker.rest_time() {
            self.wake.wait_briefly(rest);
        }
        let spare = self.spare.as_ref().and_then(Spare::ready).map(|worker| &worker.process);
        let ready = worker.process.wait(Some(&self.wake), worker.has_unsent(), spare, timeout);
        let pid = worker.process.pid();
        let watcher = &*self.shared.watcher;
        worker.words_before = worker.process.stderr_count();
        if ready.stderr {
            worker.process.forward_stderr(watcher);
        }
        if let Some(Spare { state: SpareState::Ready(spare), .. }) = &mut self.spare
            && ready.other_stderr
        {
            spare.process.forward_stderr(watcher);
        }
        if ready.stdout {
            match worker.read() {
                Transfer::Moved(_) => self.receive(),
                Transfer::Closed => return self.worker_ended(End::ClosedStdout),
                Transfer::Blocked => {}
            }
        }
        // Its last reply may have made room for its successor.
        let is_same = self.worker.as_ref().is_some_and(|worker| worker.process.pid() == pid);
        if ready.exited && is_same {
            return self.worker_ended(End::Exited);
        }
        if ready.stdin_closed && is_same {
            return self.stdin_closed();
        }
        if is_same && let Some(stopped) = self.worker_stopped() {
            return self.worker_ended(End::Stopped(stopped));
        }
        if self.front_is_abandoned() {
            return self.fail_oldest(None, Stop::Terminate);
        }
        // Not before the replies that have come: one that is late but there counts.
        let deadline = self.deadline();
        if deadline != Moment::NEVER && self.shared.now() >= deadline {
            self.deadline_passed();
        }
    }

    /// Whether the worker has been stopped since it wanted the terminal.
    fn worker_stopped(&self) -> Option<Stopped> {
        let worker = self.worker.as_ref()?;
        let who = || {
            let job = worker.flights.front().map(|flight| self.shared.name(&flight.job));
            let on = job.map(|job| format!(" on {job}")).unwrap_or_default();
            format!("the worker (pid {}){on}", worker.process.pid())
        };
        self.shared.stopped_for_terminal(&worker.process, who)
    }

    /// Starts the worker that is to replace the present one, if it is time for that.
    fn prepare_spare(&mut self) {
        let (now, due) = (self.shared.now(), self.spare_due());
        if due == Moment::NEVER || now < due {
            return;
        }
        let turn_began = self.worker.as_ref().map_or(now, |worker| worker.turn_began);
        let is_fed = self.shared.is_fed() && now < turn_began.after(INPUT_PATIENCE);
        if is_fed && self.shared.queue.may_get_jobs() {
            self.awaits_input = true;
            return;
        }
        self.start_spare();
    }

    /// Starts the worker that is to replace the present one, if a job may be left for it.
    fn start_spare(&mut self) {
        self.awaits_input = false;
        let Some(permit) = SparePermit::get(&self.shared) else { return };
        // The present one takes what it may have, and the other spares at least a job each.
        let left = self.worker.as_ref().map_or(0, |worker| worker.left(&self.shared.config));
        if !self.shared.queue.has_more_than(left.saturating_add(self.shared.spares() - 1)) {
            self.spare_failed = true;
            return;
        }
        // If it can't be started now, that will be told when it is needed.
        match self.new_worker() {
            Ok(worker) => {
                let state = match self.shared.config.init.is_empty() {
                    true => Some(SpareState::Ready(Box::new(worker))),
                    false => Warming::start(worker, &self.shared).map(SpareState::Warming),
                };
                self.spare_failed = state.is_none();
                self.spare = state.map(|state| Spare { state, _permit: permit });
            }
            Err(_) => self.spare_failed = true,
        }
    }

    /// When the worker is to be started that replaces the present one: so early that it will be
    /// ready when it is needed.
    fn spare_due(&self) -> Moment {
        let (shared, Some(worker)) = (&self.shared, &self.worker) else { return Moment::NEVER };
        let is_wanted = self.spare.is_none() && !self.spare_failed && !worker.flights.is_empty();
        if !is_wanted || shared.config.standby == 0 || shared.is_stopping() {
            return Moment::NEVER;
        }
        let due = worker.end(&shared.config, shared.pace()).before(shared.start_time());
        if !self.awaits_input {
            return due;
        }
        due.max(worker.turn_began.after(INPUT_PATIENCE))
    }

    /// When something must be done even if nothing happens.
    fn deadline(&self) -> Moment {
        let (shared, config) = (&self.shared, &self.shared.config);
        let Some(worker) = &self.worker else { return Moment::NEVER };
        let Some(flight) = worker.flights.front() else {
            let idle = config.idle_timeout.map(|time| worker.turn_began.after(time));
            let age = config.max_age.map(|age| worker.born.after(age));
            return idle.into_iter().chain(age).min().unwrap_or(Moment::NEVER);
        };
        let mut deadline = shared.stop_at().min(self.first_deadline(worker, flight));
        deadline = deadline.min(self.next_look(worker)).min(self.read_deadline(worker));
        if shared.spares_left() {
            deadline = deadline.min(self.spare_due());
        }
        if shared.is_silent() {
            deadline = deadline.min(worker.turn_began.after(SILENCE));
        }
        deadline
    }

    /// When the time of the first job is over.
    fn first_deadline(&self, worker: &Worker, oldest: &Flight) -> Moment {
        let deadline = self.job_deadline(worker, oldest);
        match worker.is_unordered {
            true => worker
                .flights
                .iter()
                .map(|flight| self.job_deadline(worker, flight))
                .fold(deadline, Moment::min),
            false => deadline,
        }
    }

    /// When the oldest job's time is over. It runs from the moment that the job became the one that
    /// the worker is on, with a worker that works on several at a time from when it got it, but not
    /// before it has read the request.
    fn job_deadline(&self, worker: &Worker, flight: &Flight) -> Moment {
        let timeout = self.timeout_of(flight);
        timeout.map_or(Moment::NEVER, |timeout| worker.clock(flight).after(timeout))
    }

    fn timeout_of(&self, flight: &Flight) -> Option<Duration> {
        flight.job.timeout.or_else(|| self.shared.timeout())
    }

    /// When to look next how much the worker has read, where the time of a job depends on it.
    fn next_look(&self, worker: &Worker) -> Moment {
        let count = if worker.is_unordered { worker.flights.len() } else { 1 };
        let flights = worker.flights.iter().take(count);
        match flights.filter_map(|flight| self.timeout_of(flight)).min() {
            Some(timeout) => worker.next_look(timeout),
            // The median of what jobs take is yet to be learnt.
            None if self.shared.config.timeout.is_some() => worker.next_look(SILENCE),
            None => Moment::NEVER,
        }
    }

    /// Until when the worker is to have read something of its oldest request.
    fn read_deadline(&self, worker: &Worker) -> Moment {
        let Some(flight) = worker.flights.front() else { return Moment::NEVER };
        let is_late = worker.is_unread && (worker.has_started || worker.is_flooding());
        let timeout = self.timeout_of(flight).filter(|_| is_late);
        let deadline =
            timeout.map_or(Moment::NEVER, |timeout| worker.turn_began.after(timeout.max(UNREAD)));
        deadline.min(self.start_deadline(worker))
    }

    /// Until when the worker is to have started, unless it has.
    fn start_deadline(&self, worker: &Worker) -> Moment {
        match self.shared.config.start_timeout {
            // A spare may have waited for longer than that, and has to have a moment to read.
            Some(limit) if !worker.has_started => {
                worker.born.after(limit).max(worker.turn_began.after(limit.min(UNREAD)))
            }
            _ => Moment::NEVER,
        }
    }

    fn deadline_passed(&mut self) {
        let now = self.shared.now();
        if self.look(now) {
            return;
        }
        let late = self.worker.as_ref().filter(|worker| worker.is_unordered).and_then(|worker| {
            worker.flights.iter().position(|flight| now >= self.job_deadline(worker, flight))
        });
        if let (Some(late), Some(worker)) = (late, &mut self.worker)
            && let Some(flight) = worker.flights.remove(late)
        {
            worker.flights.push_front(flight);
        }
        let Some(worker) = &self.worker else { return };
        let Some(flight) = worker.flights.front() else { return self.retire_unused(now) };
        if now >= self.shared.stop_at() {
            return self.cancel();
        }
        if now >= self.read_deadline(worker) {
            return self.request_unread();
        }
        if now >= self.job_deadline(worker, flight) {
            let timeout = self.timeout_of(flight);
            let limit = humantime::format_duration(timeout.unwrap_or_default());
            let unfinished = match worker.unfinished() {
                said if said.is_empty() => said,
                said => format!("; {said}"),
            };
            let message =
                format!("it took longer than {limit}, so its worker was ended{unfinished}");
            let failure = Failure::new(Kind::Timeout, message);
            return self.fail_oldest(Some(failure), Stop::Terminate);
        }
        let is_silent = self.shared.is_silent() && now >= worker.turn_began.after(SILENCE);
        if is_silent && self.shared.remark_on_silence() {
            self.remark_on_silence(worker, flight);
        }
    }

    /// Says what a worker may be waiting for that has never answered. Code of the user's, in a worker of
    /// procpool's, is slow and nothing else.
    fn remark_on_silence(&self, worker: &Worker, flight: &Flight) {
        let config = &self.shared.config;
        if config.is_code {
            return;
        }
        let (pid, job) = (worker.process.pid(), self.shared.name(&flight.job));
        let (state, why) = match (worker.reading() != Reading::Nothing, worker.unfinished()) {
            (true, said) if said.is_empty() => {
                ("has read its request but not answered", buffering::silence(config))
            }
            (true, said) => (
                "has read its request but not answered",
                format!("So far {said}: a reply that has no end is not taken for one."),
            ),
            (false, said) if said.is_empty() => {
                ("has not read its request", "It may be starting still.".to_owned())
            }
            (false, said) => {
                ("has not read its request", format!("It may be starting still; {said}."))
            }
        };
        self.shared.watcher.note(&format!(
            "{job}: the worker (pid {pid}) {state} for {} s. {why} Waiting on.",
            SILENCE.as_secs()
        ));
    }

    /// Looks how much the worker has read, where something depends on that now. Returns whether it is
    /// too early for all else.
    fn look(&mut self, now: Moment) -> bool {
        let Some(worker) = &self.worker else { return false };
        let Some(oldest) = worker.flights.front() else { return false };
        let deadline = self.first_deadline(worker, oldest).min(self.read_deadline(worker));
        if now < deadline.min(self.next_look(worker)) || worker.is_read() {
            return false;
        }
        if let Some(worker) = &mut self.worker {
            worker.look(now);
        }
        now < self.deadline()
    }

    /// The worker has not read the request of its oldest job in time. One that never read anything has
    /// failed to start.
    fn request_unread(&mut self) {
        let Some(worker) = &self.worker else { return };
        let now = self.shared.now();
        if now < self.start_deadline(worker) {
            let waited = now.since(worker.turn_began).as_secs();
            let message =
                format!("the worker did not read its request for {waited} s, and was ended");
            return self.fail_oldest(Some(Failure::new(Kind::Timeout, message)), Stop::Terminate);
        }
        let Some(mut worker) = self.worker.take() else { return };
        let limit = self.shared.config.start_timeout.unwrap_or_default();
        let mut message = format!(
            "the worker (pid {}) did not start within {}: it had not read its first request",
            worker.process.pid(),
            humantime::format_duration(limit)
        );
        append_last_words(&mut message, &worker);
        let (jobs, before) = (worker.take_jobs(), worker.failures_before);
        self.dismiss(worker, Stop::Terminate);
        self.start_failed(jobs, message, before);
    }

    /// The worker has closed its stdin, or does not read it any more. What it has read it may answer.
    fn stdin_closed(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        worker.be_deaf();
        if worker.flights.is_empty() || worker.reading() != Reading::All {
            self.worker_ended(End::ClosedStdin);
        }
    }

    /// Hands on the replies that have come, and sees to a worker that must not go on.
    fn receive(&mut self) {
        let slot = self.number();
        let Some(worker) = &mut self.worker else {
            return;
        };
        let (shared, pid) = (&*self.shared, worker.process.pid());
        let now = shared.now();
        let since = worker.turn_clock();
        let ran = |start, clock: Moment| Ran { slot, pid, start, clock: clock.max(since), now };
        let max_reply = shared.config.max_reply;
        let was_spent = worker.is_spent;
        let received = worker.receive(max_reply, now, |said| {
            self.finished += take_answer(shared, said, ran, &mut self.answers);
        });
        match received {
            Ok(received) => {
                if received.answered > 0 {
                    shared.worker_answered();
                    shared.learn_pace(worker.pace());
                }
                if let Some(id) = received.stale.filter(|_| !was_spent) {
                    shared.watcher.note(&format!(
                        "the worker in slot {slot} (pid {pid}) answered request {id} twice: it is \
                         replaced after the job it is on"
                    ));
                }
                if worker.replies == received.answered as u64 {
                    shared.learn_start_time(now.since(worker.born));
                }
                if worker.is_deaf && !worker.flights.is_empty() {
                    self.stdin_closed();
                } else if worker.has_served(&shared.config, now) && worker.flights.is_empty() {
                    self.retire();
                }
            }
            Err(violation) => self.protocol_broken(&violation),
        }
    }

    /// A worker without a job has been idle for long enough, or is old.
    fn retire_unused(&mut self, now: Moment) {
        let age = self.shared.config.max_age;
        if let Some(worker) = &mut self.worker {
            let is_old = age.is_some_and(|age| now >= worker.born.after(age));
            worker.why = if is_old { Why::MaxAge } else { Why::Idle };
        }
        self.retire();
    }

    /// The worker has served its time: the spare takes its place, while it ends in the background.
    fn retire(&mut self) {
        if std::mem::take(&mut self.awaits_input) {
            self.start_spare();
        }
        let Some(worker) = self.worker.take() else { return };
        self.end_in_its_own_time(worker);
        self.spare_failed = false;
        // One that is not ready yet is waited for when there is a job for it.
        if let Some(spare) = self.spare.take_if(|spare| spare.ready().is_some()) {
            // One that has died is nobody's failed job.
            self.promote(spare.worker());
        }
    }

    /// Has a worker end in the background or, where another one may not be started before, waits for
    /// that.
    fn end_in_its_own_time(&mut self, worker: Worker) {
        // Those that take their time to end must not pile up.
        if self.shared.config.standby == 0 || self.shared.queue.is_crowded() {
            self.dismiss(worker, Stop::Retire);
        } else {
            self.shared.retire(worker);
        }
    }

    /// The spare, if there is one, is the worker from now on.
    fn promote(&mut self, spare: Option<Worker>) {
        self.worker = match spare {
            Some(mut spare) if spare.process.has_exited() => {
                spare.why = Why::Died;
                self.dismiss(spare, Stop::Kill);
                None
            }
            Some(mut spare) => {
                // It was waiting, not idle.
                spare.begin_turn(self.shared.now());
                Some(spare)
            }
            None => None,
        };
    }

    fn protocol_broken(&mut self, violation: &Violation) {
        if self.worker.as_ref().is_some_and(|worker| !worker.unasked().is_empty()) {
            return self.printed_unasked();
        }
        let message =
            format!("{}: {}{}", violation.what, quote(&violation.bytes), buffering::FOR_REPLIES);
        if let Some(worker) = self.worker.as_mut().filter(|_| violation.is_surplus) {
            let bytes = quote(&violation.bytes);
            self.shared.doubt(worker, &format!("printed more than it was asked for ({bytes})"));
        }
        if self.in_flight() == 0 {
            let pid = self.worker.as_ref().map_or(0, |worker| worker.process.pid());
            self.shared.watcher.note(&format!(
                "the worker in slot {} (pid {pid}) is replaced: {message}",
                self.number()
            ));
        }
        let failure = Failure::new(Kind::Protocol, message);
        self.fail_oldest(Some(failure), Stop::Terminate);
    }

    /// Ends the worker. The oldest job fails, or is forgotten where nobody waits for it; the others
    /// go to other workers.
    fn fail_oldest(&mut self, failure: Option<Failure>, stop: Stop) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        worker.why = match failure.as_ref().map(|failure| failure.kind) {
            Some(Kind::Timeout) => Why::Timeout,
            Some(_) => Why::Protocol,
            None => Why::Cancelled,
        };
        if let Some(flight) = worker.take_oldest() {
            match &failure {
                Some(failure) => self.fail(&worker, flight, failure),
                None => self.finished += 1,
            }
        }
        let others = worker.take_jobs();
        self.put_back(others.into_iter());
        self.dismiss(worker, stop);
    }

    /// The run is over and so is the time that running jobs had left.
    fn cancel(&mut self) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        worker.why = Why::Cancelled;
        self.cancel_jobs(&mut worker);
        self.dismiss(worker, self.shared.stop_means());
    }

    fn cancel_jobs(&mut self, worker: &mut Worker) {
        let failure = Failure::new(Kind::Cancelled, "it was running when the run was ended");
        while let Some(flight) = worker.take_oldest() {
            self.fail(worker, flight, &failure);
        }
    }

    /// The worker has exited, or closed a pipe, which is as good.
    fn worker_ended(&mut self, end: End) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let was_idle = worker.flights.is_empty();
        if worker.replies > 0 {
            // What it has not read is done by others, who need not wait for its end.
            let taken = worker.taken();
            self.put_back(worker.take_unread(taken).into_iter());
        }
        self.step_aside();
        let watcher = &*shared.watcher;
        let is_stopped = matches!(end, End::Stopped(_));
        let exited = end == End::Exited
            || (!is_stopped
                && worker.await_exit(&shared.groups, Some(&self.wake), EXIT_PATIENCE, watcher));
        let taken = worker.taken();
        if !exited && !is_stopped && worker.flights.is_empty() {
            return self.idle_worker_ended(worker, end);
        }
        let first = if exited { Stop::Kill } else { Stop::Terminate };
        let grace = shared.config.grace;
        let wake = Some(&*self.wake);
        let status = worker.process.stop(first, grace, &shared.groups, wake, watcher);
        self.take_last_replies(&mut worker);
        worker.why = if shared.groups.is_killing() { Why::Cancelled } else { Why::Died };
        shared.worker_ended(&worker);
        // Not before: the replies that were still to be read change which job is the oldest.
        let begun = worker.had_begun(taken);
        let pid = worker.process.pid();
        let mut message = match (exited, &end) {
            (true, _) => format!("the worker (pid {pid}) {}", describe(status)),
            (false, End::ClosedStdin) => {
                format!("the worker (pid {pid}) closed its stdin but went on running")
            }
            (false, End::Stopped(stopped)) => format!("the worker (pid {pid}) {stopped}"),
            (false, _) => format!("the worker (pid {pid}) closed its stdout but went on running"),
        };
        if worker.flights.is_empty() {
            if !worker.unasked().is_empty() && !shared.groups.is_killing() {
                shared.printed_unasked(&mut worker);
            }
            let is_well = status.is_some_and(|status| status.success()) && !is_stopped;
            if was_idle && !is_well && !shared.groups.is_killing() {
                let slot = self.number();
                let advice = if is_stopped { Stopped::advice() } else { "" };
                let then = if is_stopped { "; " } else { "" };
                watcher
                    .note(&format!("in slot {slot}, {message} while it had no job{then}{advice}"));
            }
            return;
        }
        message.push_str(" before it answered");
        if !worker.rest().is_empty() {
            message.push_str("; its last output was ");
            message.push_str(&quote(worker.rest()));
            message.push_str(&worker.likely_framing());
        }
        append_last_words(&mut message, &worker);
        if is_stopped {
            message = format!("{message}; {}", Stopped::advice());
        }
        self.settle(worker, begun, message);
    }

    /// A worker that is on no job closed a pipe and went on running.
    fn idle_worker_ended(&mut self, worker: Worker, end: End) {
        let what = if end == End::ClosedStdin { "stdin" } else { "stdout" };
        self.shared.watcher.note(&format!(
            "in slot {}, the worker (pid {}) closed its {what} between two jobs but went on \
             running: it is replaced",
            self.number(),
            worker.process.pid()
        ));
        self.end_in_its_own_time(worker);
    }

    /// Deals out the blame for a worker that died. The oldest job had its turn if the worker had
    /// begun to read it; the others had not.
    fn settle(&mut self, mut worker: Worker, begun: bool, message: String) {
        if self.shared.groups.is_killing() {
            return self.cancel_jobs(&mut worker);
        }
        let (replies, failures_before) = (worker.replies, worker.failures_before);
        let failure = Failure::new(Kind::Crash, message.clone());
        while begun && let Some(flight) = worker.take_oldest() {
            self.fail(&worker, flight, &failure);
            // Of a worker that works on several jobs at a time, any may be to blame.
            if !worker.is_unordered {
                break;
            }
        }
        let others = worker.take_jobs();
        drop(worker);
        // One that had begun its job had started: what it died of is that job's.
        match begun || replies > 0 {
            false => self.start_failed(others, message, failures_before),
            true => self.put_back(others.into_iter()),
        }
    }

    /// What a dead worker printed before its end counts.
    fn take_last_replies(&mut self, worker: &mut Worker) {
        let (shared, slot, pid) = (&*self.shared, self.number(), worker.process.pid());
        let mut left = shared.config.max_reply;
        loop {
            // What had been read already comes first.
            let now = shared.now();
            let max_reply = shared.config.max_reply;
            let since = worker.turn_clock();
            let ran = |start, clock: Moment| Ran { slot, pid, start, clock: clock.max(since), now };
            let received = worker.receive(max_reply, now, |said| {
                self.finished += take_answer(shared, said, ran, &mut self.answers);
            });
            let Ok(received) = received else { return };
            if received.answered > 0 {
                shared.worker_answered();
            }
            match worker.read() {
                // A process that left the group may hold the pipe and flood it.
                Transfer::Moved(count) if count < left => left -= count,
                _ => return,
            }
        }
    }

    /// A worker died before its first reply, or could not be started. After too many in a row the
    /// pool gives up; otherwise `jobs` go back and a pause is made.
    fn start_failed(&mut self, jobs: VecDeque<Job>, message: String, before: u32) {
        let shared = Arc::clone(&self.shared);
        if shared.is_stopping() {
            self.jobs = jobs;
            return self.drop_jobs();
        }
        let count = shared.count_start_failure(before);
        let limit = shared.config.start_limit;
        if limit > 0 && count >= limit {
            let times = match count {
                1 => "once".to_owned(),
                _ => format!("{count} times in a row"),
            };
            let message = match shared.config.is_code {
                true => format!("the code can't be loaded: {message}"),
                false => {
                    let line = command_line(&shared.config.worker);
                    format!("{message} ({times}); to see why, run it by hand: {line}")
                }
            };
            let failure = Failure::new(Kind::Spawn, message);
            let jobs = each(jobs);
            for job in &jobs {
                shared.deliver(&Done { job, outcome: Err(&failure), printed: None, run: None });
            }
            self.finished += jobs.len();
            for job in jobs {
                shared.tell_caller(job, Err(&failure));
            }
            self.flush();
            return shared.give_up(&failure);
        }
        self.put_back(jobs.into_iter());
        self.flush();
        let doublings = count.saturating_sub(1).min(16);
        let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
        self.pause(pause);
    }

    /// Waits before the next try to start a worker.
    fn pause(&self, pause: Duration) {
        let end = self.shared.now().after(pause);
        while let Some(left) = end.until(self.shared.now()).filter(|left| !left.is_zero()) {
            if self.shared.is_stopping() {
                break;
            }
            self.wake.wait(Some(left));
        }
    }

    fn front_is_abandoned(&self) -> bool {
        self.worker
            .as_ref()
            .and_then(|worker| worker.flights.front())
            .is_some_and(|flight| flight.job.is_abandoned())
    }

    fn fail(&mut self, worker: &Worker, flight: Flight, failure: &Failure) {
        let (slot, pid, now) = (self.number(), worker.process.pid(), self.shared.now());
        let Flight { job, start, clock, .. } = flight;
        let (ran, answers) = (Ran { slot, pid, start, clock, now }, &mut self.answers);
        let is_over = deliver(&self.shared, ran, job, Err(failure), None, answers);
        self.finished += usize::from(is_over);
    }

    /// Ends a worker, and waits until it is gone.
    fn dismiss(&mut self, worker: Worker, first: Stop) {
        self.step_aside();
        self.flush();
        self.shared.dismiss(worker, first, Some(&self.wake));
    }

    /// Has others called for the jobs that wait, since this slot has something else to do.
    fn step_aside(&self) {
        let fresh = self.shared.queue.set_aside(self.index);
        self.shared.start_slots(fresh);
    }
}

/// The jobs that a worker is on.
fn underway(shared: &Shared, worker: &Worker, slot: usize) -> Vec<Underway> {
    let pid = worker.process.pid();
    let show = |job: &Job, since| shared.underway(job, slot, pid, since);
    let (mut jobs, waiting) = worker.underway(show);
    if let Some(first) = jobs.first_mut() {
        first.waiting = waiting;
    }
    jobs
}

/// How many jobs these are.
fn count(jobs: &VecDeque<Job>) -> usize {
    jobs.iter().map(Job::count).sum()
}

/// The jobs one by one, bundles taken apart.
fn each(jobs: VecDeque<Job>) -> VecDeque<Job> {
    let mut each = VecDeque::with_capacity(count(&jobs));
    for mut job in jobs {
        while job.count() > 1 {
            each.push_back(job.split_off_first(1));
        }
        each.push_back(job);
    }
    each
}

/// How long a job waits for another try: twice as long each time, and up to a half more or less, so
/// that jobs that failed together do not come back together.
fn backoff(first: Duration, attempt: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(LONGEST_BACKOFF);
    let jitter = random(1000) as f64 / 1000.0;
    doubled.mul_f64(0.5 + jitter)
}

/// Where and from when to when a job ran; without a process: it did not.
struct Ran {
    slot: usize,
    pid: u32,
    start: Moment,
    /// When its time began.
    clock: Moment,
    now: Moment,
}

/// Delivers the outcome of a job that was run, unless it is to be tried again: then it goes back.
/// Returns whether the job is over.
fn deliver(
    shared: &Shared,
    ran: Ran,
    mut job: Job,
    outcome: Result<Value<'_>, &Failure>,
    printed: Option<&Arc<Printed>>,
    answers: &mut Vec<(Caller, caller::Answer)>,
) -> bool {
    let config = &shared.config;
    let may_pass = outcome.is_err_and(|failure| config.retry_on.contains(&failure.kind));
    let has_tries = job.attempt <= job.retries.unwrap_or(config.retries);
    if may_pass && has_tries && !shared.is_stopping() && !job.is_abandoned() {
        let due = ran.now.after(backoff(config.retry_delay, job.attempt));
        shared.retried(&Done { job: &job, outcome, printed, run: run_of(shared, &ran, &job) });
        job.attempt += 1;
        match shared.queue.put_off(ran.slot - 1 - config.slots_before, job, due) {
            Ok(()) => return false,
            // The run was ended just now: there is no other try.
            Err(back) => job = *back,
        }
        job.attempt -= 1;
    }
    hand_out(shared, &ran, &job, outcome, printed);
    if let Some(caller) = job.caller {
        let answer = match (outcome, printed) {
            (Ok(_), Some(printed)) => Ok(printed.to_json()),
            (Ok(result), None) => Ok(result.to_json()),
            (Err(failure), printed) => {
                let data = printed.map(|printed| printed.to_json()).or(failure.data.clone());
                Err(Failure { data, ..failure.clone() })
            }
        };
        answers.push((caller, answer));
    }
    true
}

/// Gives the outcome of a job that was run to the sink.
fn hand_out(
    shared: &Shared,
    ran: &Ran,
    job: &Job,
    outcome: Result<Value<'_>, &Failure>,
    printed: Option<&Arc<Printed>>,
) {
    let run = run_of(shared, ran, job);
    if outcome.is_ok() {
        shared.learn_duration(ran.now.since(ran.clock).as_secs_f64());
    }
    shared.deliver(&Done { job, outcome, printed, run });
}

/// Where and when a job ran; `None`: it never did.
fn run_of(shared: &Shared, ran: &Ran, job: &Job) -> Option<Run> {
    let run = Run {
        slot: ran.slot,
        pid: ran.pid,
        attempt: job.attempt,
        start: shared.groups.clock.unix_seconds(ran.start),
        seconds: ran.now.since(ran.start).as_secs_f64(),
    };
    Some(run).filter(|run| run.pid > 0)
}

/// Hands on what a worker has answered. Returns how many jobs are over.
fn take_answer(
    shared: &Shared,
    said: Answer<'_>,
    ran: impl Fn(Moment, Moment) -> Ran,
    answers: &mut Vec<(Caller, caller::Answer)>,
) -> usize {
    match said {
        Answer::One(Flight { job, start, clock, .. }, outcome) => {
            usize::from(deliver(shared, ran(start, clock), job, outcome, None, answers))
        }
        Answer::Next { job, start, clock, value } => {
            hand_out(shared, &ran(start, clock), job, Ok(value), None);
            1
        }
        Answer::Texts { seq, count, texts } => {
            shared.deliver_texts(seq, count as u64, texts);
            count
        }
    }
}

fn append_last_words(message: &mut String, worker: &Worker) {
    let words = worker.process.last_stderr();
    if !words.is_empty() {
        message.push_str("; its stderr ended with: ");
        message.push_str(&words.replace('\n', " | "));
    }
}

/// A command line, as it can be pasted into a shell.
fn command_line(argv: &[OsString]) -> String {
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    shell_words::join(words)
}
