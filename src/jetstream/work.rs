//! A worker machine: takes jobs from the queue as it has room for them, keeps them alive while they run, and gives
//! back those that it can't finish.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::Message;
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::collect::find;
use super::error::QueueError;
use super::held::{Held, HeldJob, HeldMessage, mark, mark_of};
use super::job_message::{self, JobMessage};
pub use super::line::JobReader;
use super::names::Unit;
use super::pull::Puller;
use super::report::{QueueReporter, WorkOrder, dead_line};
use super::result_message::{self, Nature};
use super::session::QueueSession;
use super::settings::{QueueSettings, Watching};
use super::settle::Settler;
use crate::job::{Done, Failure, Job, Kind, Sink};
use crate::pool::Pool;
use crate::util::lock::lock;

/// A bundle that is not done after this time may be too slow for one machine.
const PATIENCE: Duration = Duration::from_millis(20);

/// A bundle of which nothing is done after this time is too slow, even if a worker had to start first.
const START: Duration = Duration::from_millis(250);

/// A bundle whose rest takes longer, in seconds, is split. That costs a message for each job.
const SLOW: f64 = 0.1;

/// If jobs are short, a machine holds this many seconds of work besides the jobs that run.
const AHEAD: f64 = 0.01;

/// An idle machine asks this often whether the queue is empty.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// After the run was stopped, the last results are published within this time.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A job is delivered at most this often, unless its retries say otherwise.
const DELIVERIES: u32 = 3;

/// How a worker machine works.
#[derive(Clone, Debug)]
pub struct WorkSettings {
    /// The name of this machine.
    pub host: String,
    /// How many jobs run at a time.
    pub slots: usize,
    /// What a line is here.
    pub reader: JobReader,
    /// Jobs run in workers, not in commands.
    pub has_workers: bool,
    /// How often a job may be lost before it fails, unless it says so itself. `None`: twice.
    pub retries: Option<u32>,
    /// It ends when the queue is empty.
    pub drains: bool,
}

/// A worker machine.
pub struct QueueWorker {
    settings: QueueSettings,
    work: WorkSettings,
    watcher: Watching,
    held: Arc<Mutex<Held>>,
    orders: UnboundedSender<WorkOrder>,
    received: Mutex<Option<UnboundedReceiver<WorkOrder>>>,
    over: watch::Sender<bool>,
}

impl QueueWorker {
    /// A machine that has not begun to work.
    pub fn new(settings: QueueSettings, work: WorkSettings, watcher: Watching) -> Self {
        let (orders, received) = unbounded_channel();
        Self {
            settings,
            work,
            watcher,
            held: Arc::default(),
            orders,
            received: Mutex::new(Some(received)),
            over: watch::channel(false).0,
        }
    }

    /// Where the outcomes of its jobs go.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(QueueReporter {
            held: Arc::clone(&self.held),
            orders: self.orders.clone(),
            watcher: Arc::clone(&self.watcher),
            has_workers: self.work.has_workers,
            slots: self.work.slots,
        })
    }

    /// Works until it is stopped or, if it drains the queue, until that is empty. Blocks.
    ///
    /// # Errors
    /// The queue can't be used.
    pub fn run(&self, pool: &Pool) -> Result<(), QueueError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| QueueError::Local(error.to_string()))?;
        let Some(orders) = lock(&self.received).take() else { return Ok(()) };
        let ended = runtime.block_on(self.work(pool, orders));
        if let Err(error) = &ended {
            self.watcher.failed(error.clone());
        }
        runtime.shutdown_background();
        self.over.send_replace(true);
        ended
    }

    /// Takes no more jobs, and gives back those that no worker has.
    pub fn stop(&self) {
        let _ = self.orders.send(WorkOrder::Stop);
    }

    /// Waits until all results are published, after the end of the pool.
    pub async fn ended(&self) {
        let mut over = self.over.subscribe();
        let _ = over.wait_for(|over| *over).await;
    }

    async fn work(
        &self,
        pool: &Pool,
        mut orders: UnboundedReceiver<WorkOrder>,
    ) -> Result<(), QueueError> {
        let begin = async {
            let session = QueueSession::connect(&self.settings, Arc::clone(&self.watcher)).await?;
            let streams = session.streams().await?;
            let (consumer, ack_wait) = session.workers(&streams).await?;
            let puller = Puller::new(&session, consumer).await?;
            Ok::<_, QueueError>((session, streams, puller, ack_wait))
        };
        let (session, streams, puller, ack_wait) = tokio::select! {
            begun = begin => begun?,
            _ = orders.recv() => return Ok(()),
        };
        let settler = Settler {
            session: session.clone(),
            streams,
            held: Arc::clone(&self.held),
            host: self.work.host.clone(),
            nature: Nature {
                is_text: self.work.reader.is_text,
                lines: self.work.reader.line_form(),
            },
        };
        let machine = WorkingMachine {
            pool,
            work: &self.work,
            held: &self.held,
            settler,
            puller,
            tasks: JoinSet::new(),
            look_at: None,
            is_stopping: None,
        };
        tokio::select! {
            ended = machine.run(orders, ack_wait) => ended,
            error = session.lost() => Err(error),
        }
    }
}

/// What came of looking at a message that was delivered before.
type Looked = Result<Option<(jetstream::Message, Unit, JobMessage, i64)>, QueueError>;

/// A worker machine at work.
struct WorkingMachine<'a> {
    pool: &'a Pool,
    work: &'a WorkSettings,
    held: &'a Arc<Mutex<Held>>,
    settler: Settler,
    puller: Puller,
    tasks: JoinSet<Looked>,
    /// When bundles are looked at that are not done.
    look_at: Option<Instant>,
    /// When the last results must be published, if the run was stopped.
    is_stopping: Option<Instant>,
}

impl WorkingMachine<'_> {
    async fn run(
        mut self,
        mut orders: UnboundedReceiver<WorkOrder>,
        ack_wait: Duration,
    ) -> Result<(), QueueError> {
        let mut alive = tokio::time::interval(ack_wait / 5);
        let mut drain_at = Instant::now() + DRAIN_PAUSE;
        loop {
            if self.is_stopping.is_none() {
                let wanted = self.wanted();
                self.puller.ask_for(wanted).await;
            } else if self.is_idle()
                || self.is_stopping.is_some_and(|at| at < Instant::now() && self.is_done())
            {
                break;
            }
            let again = self.puller.ends_at();
            tokio::select! {
                Some(order) = orders.recv() => self.obey(order).await,
                Some(message) = self.puller.messages.next() => {
                    drain_at = Instant::now() + DRAIN_PAUSE;
                    if let Some(message) = self.puller.take(message) {
                        self.accept(message).await;
                    }
                }
                Some(looked) = self.tasks.join_next() => {
                    if let Some((message, unit, jobs, delivered)) = looked.unwrap_or(Ok(None))? {
                        self.begin(message, unit, jobs, delivered);
                    }
                }
                _ = alive.tick() => self.keep_alive().await,
                () = until(self.look_at) => self.look(),
                () = until(again) => {}
                () = until(Some(drain_at)), if self.work.drains && self.is_idle() => {
                    if self.is_drained().await? {
                        break;
                    }
                    drain_at = Instant::now() + DRAIN_PAUSE;
                }
                () = until(self.is_stopping), if self.is_done() => {}
            }
        }
        let _ = tokio::time::timeout(LAST_WAIT, self.settler.session.client.flush()).await;
        Ok(())
    }

    /// How many messages there is room for.
    fn wanted(&self) -> usize {
        let held = lock(self.held);
        let idle = self.work.slots.saturating_sub(held.open);
        let is_short = held.pace.is_some_and(|pace| held.open as f64 * pace < AHEAD);
        idle.max(usize::from(is_short))
    }

    /// Nothing is held, and nothing is being published.
    fn is_idle(&self) -> bool {
        self.tasks.is_empty() && lock(self.held).messages.is_empty()
    }

    /// No job is open.
    fn is_done(&self) -> bool {
        lock(self.held).open == 0
    }

    async fn is_drained(&self) -> Result<bool, QueueError> {
        let Settler { session, streams, .. } = &self.settler;
        Ok(session.persist(|| streams.jobs.get_info()).await?.state.messages == 0)
    }

    async fn obey(&mut self, order: WorkOrder) {
        match order {
            WorkOrder::Room => {}
            WorkOrder::Settle(id) => self.attend(id),
            WorkOrder::Stop if self.is_stopping.is_some() => {}
            WorkOrder::Stop => {
                self.is_stopping = Some(Instant::now() + LAST_WAIT);
                // Messages that are on their way still come, and are given back.
                let _ = self.puller.messages.drain().await;
                for job in self.pool.recall(None, usize::MAX) {
                    self.give_back(&job);
                }
            }
        }
    }

    /// A job that no slot has taken is given back.
    fn give_back(&mut self, job: &Job) {
        let Some(mark) = mark_of(job) else { return };
        let left = lock(self.held).close(mark, HeldJob::Returned).map(|message| message.left);
        if left == Some(0) {
            self.attend(mark.0);
        }
    }

    /// Publishes and acknowledges what can be.
    fn attend(&mut self, id: u64) {
        let is_new = lock(self.held)
            .messages
            .get_mut(&id)
            .is_some_and(|message| !std::mem::replace(&mut message.is_attended, true));
        if is_new {
            let settler = self.settler.clone();
            self.tasks.spawn(async move { settler.attend(id).await.map(|()| None) });
        }
    }

    /// Takes a message with jobs.
    async fn accept(&mut self, message: Message) {
        let message = jetstream::Message { message, context: self.settler.session.context.clone() };
        let unit = Unit::of_subject(&message.message.subject);
        let jobs = job_message::read(&message.message.payload);
        let delivered = message.info().map_or(1, |info| info.delivered);
        if self.is_stopping.is_some() {
            let _ = message.ack_with(AckKind::Nak(None)).await;
            return;
        }
        let (Some(unit), Some(jobs)) = (unit, jobs) else {
            self.settler.session.watcher.note(
                "procpool skips a message in the queue: it is no job, or comes from another version of procpool",
            );
            let _ = message.ack_with(AckKind::Term).await;
            return;
        };
        if delivered > 1 {
            let settler = self.settler.clone();
            self.tasks.spawn(look_again(settler, message, unit, jobs, delivered));
        } else {
            self.begin(message, unit, jobs, delivered);
        }
    }

    /// Runs the jobs of a message.
    fn begin(&mut self, message: jetstream::Message, unit: Unit, jobs: JobMessage, delivered: i64) {
        let JobMessage { run, jobs, places } = jobs;
        let count = jobs.len();
        let mut held_message = HeldMessage {
            message,
            unit,
            run,
            places,
            jobs: vec![HeldJob::Open; count],
            left: count,
            bytes: 0,
            dead: Vec::new(),
            since: Instant::now(),
            delivered,
            is_split: false,
            is_told: false,
            is_attended: false,
        };
        if delivered > 1 && count > 1 {
            // One of these jobs may have killed the machine that had them, so each runs alone.
            held_message.jobs.fill(HeldJob::Returned);
            (held_message.left, held_message.is_split) = (0, true);
            let id = lock(self.held).add(held_message);
            return self.attend(id);
        }
        let mut runnable = Vec::with_capacity(count);
        for (index, job) in jobs.into_iter().enumerate() {
            match self.adapt(&held_message, job, delivered) {
                Ok(job) => runnable.push((index, job)),
                Err(unfit) => {
                    let (job, failure) = *unfit;
                    held_message.dead.extend_from_slice(&dead_line(
                        &held_message.run,
                        &job,
                        &failure,
                    ));
                    held_message.jobs[index] = HeldJob::Done(frames(index, &job, &failure));
                    held_message.left -= 1;
                }
            }
        }
        let id = lock(self.held).add(held_message);
        let mut batch: Vec<Job> = runnable
            .into_iter()
            .map(|(index, mut job)| {
                mark(&mut job, id, index);
                job
            })
            .collect();
        let is_over = batch.is_empty();
        if !is_over && self.pool.feed_now(&mut batch).is_err() {
            batch.iter().for_each(|job| self.give_back(job));
        }
        if is_over {
            self.attend(id);
        }
        if count > 1 {
            self.look_at.get_or_insert(Instant::now() + PATIENCE);
        }
    }

    /// The job as it is run here, or why it can't be.
    fn adapt(
        &self,
        message: &HeldMessage,
        job: Job,
        delivered: i64,
    ) -> Result<Job, Box<(Job, Failure)>> {
        let most = job
            .retries
            .or(self.work.retries)
            .map_or(DELIVERIES, |retries| retries.saturating_add(1));
        let nameless = Job::unreadable(job.seq, job.place, "");
        if delivered > i64::from(most) {
            let times = if most == 1 { "once".to_owned() } else { format!("{most} times") };
            let failure = Failure::new(
                Kind::Lost,
                format!("the machine that ran it was lost, {times}: the job may be the cause"),
            );
            let named = self.work.reader.adapt(job).unwrap_or(nameless);
            return Err(Box::new((named, failure)));
        }
        debug_assert!(message.left > 0, "the message has jobs");
        self.work.reader.adapt(job).map_err(|failure| Box::new((nameless, *failure)))
    }

    /// Tells the server that the jobs are being worked on.
    async fn keep_alive(&self) {
        let messages: Vec<_> =
            lock(self.held).messages.values().map(|held| held.message.clone()).collect();
        for message in messages {
            let _ = message.ack_with(AckKind::Progress).await;
        }
    }

    /// Looks at bundles that are not done. What is too much for this machine is for others as well.
    fn look(&mut self) {
        self.look_at = None;
        let slots = self.work.slots;
        let is_slow = |held: &HeldMessage| {
            let done = held.jobs.len() - held.left;
            let each = held.time().as_secs_f64() / done.max(1) as f64;
            let patience = if done == 0 { START } else { PATIENCE };
            let rest = held.left as f64 * each;
            held.time() >= patience && held.left > slots && (done == 0 || rest > SLOW)
        };
        let (slow, has_more) = {
            let held = lock(self.held);
            let open = || {
                held.messages
                    .iter()
                    .filter(|(_, held)| held.jobs.len() > 1 && !held.is_split && held.left > slots)
            };
            let slow: Vec<u64> =
                open().filter(|(_, held)| is_slow(held)).map(|(&id, _)| id).collect();
            (slow, open().next().is_some())
        };
        if has_more {
            self.look_at = Some(Instant::now() + PATIENCE);
        }
        if slow.is_empty() {
            return;
        }
        let mut back = Vec::new();
        for job in self.pool.recall(None, usize::MAX) {
            let Some(mark) = mark_of(&job) else { continue };
            if slow.contains(&mark.0) {
                let mut held = lock(self.held);
                if let Some(message) = held.close(mark, HeldJob::Returned) {
                    message.is_split = true;
                }
            } else {
                back.push(job);
            }
        }
        if !back.is_empty() && self.pool.feed_now(&mut back).is_err() {
            back.iter().for_each(|job| self.give_back(job));
        }
        for id in slow {
            let is_split =
                lock(self.held).messages.get(&id).is_some_and(|message| message.is_split);
            if is_split {
                self.attend(id);
            }
        }
    }
}

/// Looks at a message that was delivered before. Returns it if it is to be worked on.
async fn look_again(
    settler: Settler,
    message: jetstream::Message,
    unit: Unit,
    jobs: JobMessage,
    delivered: i64,
) -> Looked {
    if jobs.jobs.len() == 1 {
        let subject = settler.session.names.subject("results", &unit);
        if find(&settler.session, &settler.streams.results, &subject).await?.is_some() {
            let _ = message.ack().await;
            return Ok(None);
        }
    }
    // A machine that gave it back was not lost.
    let given_back = settler.given_back(&unit).await?;
    Ok(Some((message, unit, jobs, (delivered - given_back).max(1))))
}

/// The frames of a job that was not run.
fn frames(index: usize, job: &Job, failure: &Failure) -> Vec<u8> {
    let mut frames = Vec::new();
    let done = Done { job, outcome: Err(failure), printed: None, run: None, unproven: None };
    // Nothing is read back, so nothing fails.
    let _ = result_message::put(index, &done, &mut frames);
    frames
}

/// Waits until a moment. Without one it waits forever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
