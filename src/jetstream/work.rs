//! A worker machine: takes jobs from the queue as it has room for them, keeps them alive while they run, and gives
//! back those that it can't finish.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_nats::Message;
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::collect::find;
use super::error::QueueError;
use super::held::{Held, HeldJob, HeldMessage, LOOK, mark, mark_of};
use super::job_message::{self, JobMessage};
pub use super::line::JobReader;
use super::loss::{self, BegunNotes, MessageDelivery, MessageLosses};
use super::names::Unit;
use super::pull::Puller;
use super::report::{QueueReporter, WorkOrder, dead_line};
use super::result_message::{self, Nature};
use super::session::QueueSession;
use super::settings::{QueueSettings, Watching};
use super::settle::Settler;
use super::streams::QueueUse;
use super::suspects::{self, Suspects};
use crate::config::Depth;
use crate::job::{Done, Failure, Job, Kind, Sink};
use crate::pool::Pool;
use crate::util::lock::lock;
use crate::worker::AT_A_TIME;

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
    /// How many workers or commands run at a time.
    pub slots: usize,
    /// How many jobs a worker has at a time, if it works on several.
    pub depth: Depth,
    /// What a line is here.
    pub reader: JobReader,
    /// Jobs run in workers, not in commands.
    pub has_workers: bool,
    /// How often a job may be lost before it fails, unless it says so itself. `None`: twice.
    pub retries: Option<u32>,
    /// It ends when the queue is empty.
    pub drains: bool,
}

impl WorkSettings {
    /// The most jobs that a worker has at a time, if it works on several.
    fn depth(&self) -> usize {
        match self.depth {
            Depth::Fixed(depth) => depth.max(1),
            Depth::Auto => AT_A_TIME,
        }
    }

    /// How many jobs run here at most.
    fn most_at_a_time(&self) -> usize {
        self.slots.saturating_mul(self.depth())
    }
}

/// A worker machine.
pub struct QueueWorker {
    settings: QueueSettings,
    work: WorkSettings,
    watcher: Watching,
    held: Arc<Mutex<Held>>,
    notes: Arc<OnceLock<BegunNotes>>,
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
            notes: Arc::default(),
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
            runs_one: self.work.most_at_a_time() == 1,
            notes: Arc::clone(&self.notes),
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
            let streams = session.streams(QueueUse::Work).await?;
            let (consumer, ack_wait) = session.workers(&streams).await?;
            let puller = Puller::new(&session, consumer).await?;
            Ok::<_, QueueError>((session, streams, puller, ack_wait))
        };
        let (session, streams, puller, ack_wait) = tokio::select! {
            begun = begin => begun?,
            _ = orders.recv() => return Ok(()),
        };
        let (notes, noted) = BegunNotes::new();
        let _ = self.notes.set(notes);
        tokio::spawn(loss::publish(session.clone(), noted));
        let settler = Settler {
            session: session.clone(),
            streams,
            held: Arc::clone(&self.held),
            host: self.work.host.clone(),
            slots: self.work.slots,
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
            suspects: Suspects::default(),
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
type Looked = Result<Option<(jetstream::Message, Unit, JobMessage, MessageDelivery)>, QueueError>;

/// A worker machine at work.
pub(super) struct WorkingMachine<'a> {
    pub(super) pool: &'a Pool,
    pub(super) work: &'a WorkSettings,
    pub(super) held: &'a Arc<Mutex<Held>>,
    settler: Settler,
    puller: Puller,
    tasks: JoinSet<Looked>,
    suspects: Suspects,
    /// When bundles are looked at that are not done.
    pub(super) look_at: Option<Instant>,
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
            self.run_suspect();
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
                    if let Some((message, unit, jobs, delivery)) = looked.unwrap_or(Ok(None))? {
                        self.begin(message, unit, jobs, delivery);
                    }
                }
                _ = alive.tick() => self.keep_alive().await,
                () = until(self.look_at) => self.look(),
                () = until(again) => {}
                () = until(self.suspects.ends_at()) => self.put_suspects_off().await,
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
    fn wanted(&mut self) -> usize {
        let slots = self.work.slots;
        let (open, ahead) = {
            let held = lock(self.held);
            (held.open, held.ahead(slots))
        };
        let depth = self.work.depth();
        if depth == 1 || open < slots {
            return slots.saturating_sub(open).max(ahead);
        }
        // Nobody says when there is room at a worker that works on several jobs at a time.
        self.look_at.get_or_insert(Instant::now() + LOOK);
        if !self.pool.has_sharing_room() {
            return ahead;
        }
        slots.saturating_mul(depth).saturating_sub(open).max(ahead)
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
                let waiting = self.suspects.take_all();
                for job in waiting.into_iter().chain(self.pool.recall(None, usize::MAX)) {
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
    pub(super) fn attend(&mut self, id: u64) {
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
        let delivery = MessageDelivery::of(&message);
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
        if delivery.number > 1 {
            let settler = self.settler.clone();
            self.tasks.spawn(look_again(settler, message, unit, jobs, delivery));
        } else {
            self.begin(message, unit, jobs, delivery);
        }
    }

    /// Runs the jobs of a message.
    fn begin(
        &mut self,
        message: jetstream::Message,
        unit: Unit,
        jobs: JobMessage,
        delivery: MessageDelivery,
    ) {
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
            ran: Duration::ZERO,
            delivery,
            is_split: false,
            is_told: false,
            is_attended: false,
        };
        if delivery.losses.any() && count > 1 {
            // One of these jobs may have killed the machine that had them, so each runs alone.
            held_message.jobs.fill(HeldJob::Returned);
            (held_message.left, held_message.is_split) = (0, true);
            let id = lock(self.held).add(held_message);
            return self.attend(id);
        }
        let mut runnable = Vec::with_capacity(count);
        for (index, job) in jobs.into_iter().enumerate() {
            match self.adapt(job, delivery) {
                Ok(job) => runnable.push((index, job)),
                Err(unfit) => {
                    let (job, failure) = *unfit;
                    held_message.dead.extend_from_slice(&dead_line(
                        &held_message.run,
                        &job,
                        &failure,
                    ));
                    held_message.jobs[index] = HeldJob::Done(frames(index, &job, &failure).into());
                    held_message.left -= 1;
                }
            }
        }
        let id = lock(self.held).add(held_message);
        self.start(id, runnable, delivery, count == 1);
    }

    /// Gives the jobs of a message to the pool.
    fn start(
        &mut self,
        id: u64,
        runnable: Vec<(usize, Job)>,
        delivery: MessageDelivery,
        is_alone: bool,
    ) {
        let mut batch = Vec::with_capacity(runnable.len());
        for (index, mut job) in runnable {
            mark(&mut job, id, index);
            batch.push(job);
        }
        match batch.first() {
            None => self.attend(id),
            Some(job) if is_alone && delivery.losses.is_last(self.most_losses(job)) => {
                if let Some(message) = lock(self.held).messages.get_mut(&id) {
                    message.delivery.is_suspect = true;
                }
                batch.into_iter().for_each(|job| self.suspects.add(id, job));
            }
            Some(_) => self.feed(batch),
        }
        if lock(self.held).open > self.work.slots {
            self.look_at.get_or_insert(Instant::now() + LOOK);
        }
    }

    /// The job as it is run here, or why it can't be.
    fn adapt(&self, job: Job, delivery: MessageDelivery) -> Result<Job, Box<(Job, Failure)>> {
        let nameless = Job::unreadable(job.seq, job.place, "");
        let adapted = self.work.reader.adapt(job);
        let job = adapted.map_err(|failure| Box::new((nameless, *failure)))?;
        let most = self.most_losses(&job);
        if delivery.losses.charged(most) < most {
            return Ok(job);
        }
        let times = if most == 1 { "once".to_owned() } else { format!("{most} times") };
        let failure = Failure::new(
            Kind::Lost,
            format!("the machine that ran it was lost, {times}: the job may be the cause"),
        );
        Err(Box::new((job, failure)))
    }

    /// How many machines may be lost with a job before it fails.
    fn most_losses(&self, job: &Job) -> u32 {
        let retries = job.retries.or(self.work.retries);
        retries.map_or(DELIVERIES, |retries| retries.saturating_add(1))
    }

    /// Gives jobs to the pool. What it does not take is given back.
    pub(super) fn feed(&mut self, mut batch: Vec<Job>) {
        if self.pool.feed_now(&mut batch).is_err() {
            batch.iter().for_each(|job| self.give_back(job));
        }
    }

    /// Runs the next suspect, if none runs.
    fn run_suspect(&mut self) {
        let next = self.suspects.next(&lock(self.held));
        if let Some(job) = next {
            self.feed(vec![job]);
        }
    }

    /// Puts suspects back into the queue that have waited here for another one. Perhaps another machine has none.
    async fn put_suspects_off(&mut self) {
        for id in self.suspects.take_late() {
            let late = lock(self.held).remove(id);
            if let Some(late) = late {
                let _ = late.message.ack_with(AckKind::Nak(Some(suspects::PAUSE))).await;
            }
        }
    }

    /// Tells the server that the jobs are being worked on.
    async fn keep_alive(&self) {
        let messages: Vec<_> =
            lock(self.held).messages.values().map(|held| held.message.clone()).collect();
        for message in messages {
            let _ = message.ack_with(AckKind::Progress).await;
        }
    }
}

/// Looks at a message that was delivered before. Returns it if it is to be worked on.
async fn look_again(
    settler: Settler,
    message: jetstream::Message,
    unit: Unit,
    jobs: JobMessage,
    delivery: MessageDelivery,
) -> Looked {
    if jobs.jobs.len() == 1 {
        let subject = settler.session.names.subject("results", &unit);
        if find(&settler.session, &settler.streams.results, &subject).await?.is_some() {
            let _ = message.ack().await;
            return Ok(None);
        }
    }
    let found = loss::losses(&settler.session, &settler.streams, &unit).await?;
    let losses = MessageLosses { in_bundle: delivery.losses.in_bundle, ..found };
    Ok(Some((message, unit, jobs, MessageDelivery { losses, ..delivery })))
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
