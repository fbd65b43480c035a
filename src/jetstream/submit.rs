//! A submitter: publishes jobs, one message after the other, and waits for their results if somebody wants them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};

use super::collect::ResultCollector;
use super::error::QueueError;
use super::job_message;
use super::names::{BundleName, Unit, hash};
use super::outstanding::SubmitShared;
use super::session::{Published, QueueSession};
use super::settings::{QueueSettings, SubmitSettings, Watching};
use super::streams::{QueueStreams, QueueUse};
use crate::job::{Closed, Done, Failure, Feed, Job, Kind};
use crate::util::lock::lock;
use crate::util::random::random;
use crate::util::setting::Setting;

/// Batches of jobs that wait for the thread.
const BATCHES: usize = 2;

/// A message has no more bytes, unless one job has.
const MESSAGE_BYTES: usize = 128 << 10;

/// While the queue is full, it is looked at this often.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// After the run was stopped, the queue is tidied up for this long at most.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A submitter. It takes jobs as a pool does.
pub struct Submission {
    jobs: Mutex<Option<mpsc::Sender<Vec<Job>>>>,
    shared: Arc<SubmitShared>,
    over: watch::Receiver<bool>,
}

impl Submission {
    /// Starts the thread that talks to the servers.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        settings: QueueSettings,
        submit: SubmitSettings,
        watcher: Watching,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, receiver) = mpsc::channel(BATCHES);
        let (over, ended) = watch::channel(false);
        let shared = Arc::new(SubmitShared::default());
        let share = Arc::clone(&shared);
        let run = move || {
            let work = submit_all(settings, submit, receiver, share, Arc::clone(&watcher));
            if let Err(error) = runtime.block_on(work) {
                watcher.failed(error);
            }
            // Nobody waits for a server that hangs.
            runtime.shutdown_background();
            let _ = over.send(true);
        };
        thread::Builder::new().name("queue".into()).spawn(run)?;
        Ok(Self { jobs: Mutex::new(Some(sender)), shared, over: ended })
    }

    /// No more jobs follow.
    pub fn finish(&self) {
        lock(&self.jobs).take();
    }

    /// No more jobs are submitted, and no more results are waited for.
    pub fn stop(&self) {
        self.finish();
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.stop.notify_one();
    }

    /// Waits until all is submitted, and all results have come that somebody waits for.
    pub async fn ended(&self) {
        let mut over = self.over.clone();
        let _ = over.wait_for(|over| *over).await;
    }

    /// How many jobs have no result.
    pub fn left(&self) -> usize {
        self.shared.outstanding.len()
    }
}

impl Feed for Submission {
    fn feed(&self, batch: &mut Vec<Job>) -> Result<(), Closed> {
        let sender = lock(&self.jobs).clone().ok_or(Closed)?;
        let sent = sender.blocking_send(std::mem::take(batch));
        sent.map_err(|unsent| {
            *batch = unsent.0;
            Closed
        })
    }
}

/// Does all the work of a submitter.
async fn submit_all(
    settings: QueueSettings,
    submit: SubmitSettings,
    jobs: mpsc::Receiver<Vec<Job>>,
    shared: Arc<SubmitShared>,
    watcher: Watching,
) -> Result<(), QueueError> {
    let stopped = async {
        while !shared.is_stopped.load(Ordering::Acquire) {
            shared.stop.notified().await;
        }
    };
    let begin = async {
        let session = QueueSession::connect(&settings, watcher).await?;
        let streams = session.streams(QueueUse::Submit).await?;
        Ok::<_, QueueError>((session, streams))
    };
    tokio::pin!(stopped);
    let (session, streams) = tokio::select! {
        begun = begin => begun?,
        () = &mut stopped => return Ok(()),
    };
    let run_name = submit
        .run
        .clone()
        .unwrap_or_else(|| format!("{:x}-{:x}", random(u64::MAX), random(u64::MAX)));
    let run = hash([b"run", run_name.as_bytes()]);
    let mut submitter = Submitter {
        run,
        run_name,
        most: streams.limit.most_jobs(),
        known: HashMap::new(),
        ready: VecDeque::new(),
        room: 0,
        largest: 1,
        stored: Duration::ZERO,
        jobs,
        submit,
        session,
        streams,
        shared: Arc::clone(&shared),
    };
    let mut collector = None;
    let lost = submitter.session.clone();
    let ended = tokio::select! {
        ended = submitter.run(&mut collector) => ended,
        error = lost.lost() => Err(error),
        () = &mut stopped => Ok(()),
    };
    submitter.jobs.close();
    submitter.say_what_was_there();
    if let Some(collector) = collector {
        collector.end().await;
    }
    let _ = tokio::time::timeout(LAST_WAIT, submitter.tidy_up()).await;
    ended
}

/// The state of a submitter.
struct Submitter {
    session: QueueSession,
    streams: QueueStreams,
    submit: SubmitSettings,
    jobs: mpsc::Receiver<Vec<Job>>,
    shared: Arc<SubmitShared>,
    /// The name of the run: as a hash, for subjects, and as it was given.
    run: String,
    run_name: String,
    /// The most jobs of a message.
    most: usize,
    /// The bundles that this run has submitted before, by the number of their first job.
    known: HashMap<u64, Vec<BundleName>>,
    /// Jobs that were read, one by one.
    ready: VecDeque<Job>,
    /// How many messages the queue has room for, at least.
    room: u64,
    /// The longest message so far.
    largest: u64,
    /// How long it took to store the last message.
    stored: Duration,
}

impl Submitter {
    async fn run(&mut self, collector: &mut Option<ResultCollector>) -> Result<(), QueueError> {
        if let Some(sink) = self.submit.sink.clone() {
            // Results that come from now on are heard; those from before are looked up.
            let (session, shared) = (self.session.clone(), Arc::clone(&self.shared));
            let begun = ResultCollector::start(
                session,
                &self.streams,
                &self.run,
                shared,
                &self.submit,
                sink,
            )?;
            *collector = Some(begun);
        }
        if self.submit.run.is_some() {
            self.look_up().await?;
        }
        while self.fill(1).await {
            if let Some(bundle) = self.known_bundle().await {
                self.skip(&bundle, collector.as_ref()).await?;
                continue;
            }
            self.publish(collector.as_ref()).await?;
        }
        let outstanding = &self.shared.outstanding;
        while self.submit.sink.is_some() && outstanding.len() > 0 {
            outstanding.room.notified().await;
        }
        Ok(())
    }

    /// Waits until this many jobs are ready. Returns whether they are: the input may have ended.
    async fn fill(&mut self, count: usize) -> bool {
        while self.ready.len() < count {
            let Some(batch) = self.jobs.recv().await else { return false };
            self.add(batch);
        }
        true
    }

    fn add(&mut self, batch: Vec<Job>) {
        for job in batch {
            match job.count() {
                1 => self.ready.push_back(job),
                count => self.ready.extend((0..count).map(|nth| job.one(nth))),
            }
        }
    }

    /// Finds the bundles that this run has submitted before.
    async fn look_up(&mut self) -> Result<(), QueueError> {
        // A bundle goes from the jobs to the results, so none is missed in this order.
        let kinds =
            [("jobs", self.streams.jobs.clone()), ("results", self.streams.results.clone())];
        self.known.clear();
        for (kind, stream) in kinds {
            let subject = self.session.names.subject(kind, format_args!("{}.*", self.run));
            let subjects = self.session.persist(|| async {
                let mut found = Vec::new();
                let mut all = stream.info_with_subjects(&subject).await?;
                while let Some(subject) = all.next().await {
                    found.push(subject?.0);
                }
                Ok::<_, async_nats::jetstream::stream::InfoError>(found)
            });
            for subject in subjects.await? {
                let bundle =
                    Unit::of_subject(&subject).and_then(|unit| BundleName::read(&unit.bundle));
                if let Some(bundle) = bundle {
                    let known = self.known.entry(bundle.first).or_default();
                    if !known.contains(&bundle) {
                        known.push(bundle);
                    }
                }
            }
        }
        Ok(())
    }

    /// The next jobs, if they were submitted before as one bundle.
    async fn known_bundle(&mut self) -> Option<BundleName> {
        let first = self.ready.front()?.seq;
        for bundle in self.known.remove(&first).unwrap_or_default() {
            if self.fill(bundle.count).await && self.name(bundle.count) == bundle {
                return Some(bundle);
            }
        }
        None
    }

    /// The name of the bundle that has this many of the next jobs.
    fn name(&self, count: usize) -> BundleName {
        let mut content = Vec::new();
        let jobs = self.ready.iter().take(count);
        jobs.for_each(|job| job.put_content(&mut content));
        let first = self.ready.front().map_or(0, |job| job.seq);
        BundleName { first, count, hash: hash([&content[..]]) }
    }

    /// The jobs of a bundle are in the queue already, or were.
    async fn skip(
        &mut self,
        bundle: &BundleName,
        collector: Option<&ResultCollector>,
    ) -> Result<(), QueueError> {
        let count = bundle.count as u64;
        self.shared.submitted.fetch_add(count, Ordering::Relaxed);
        self.shared.before.fetch_add(count, Ordering::Relaxed);
        let jobs: Vec<Job> = self.ready.drain(..bundle.count).collect();
        if let Some(collector) = collector {
            self.wait_for_room().await;
            let name = bundle.to_string();
            self.shared.outstanding.add(name.clone(), jobs, 0);
            collector.look_up(&name).await?;
        }
        Ok(())
    }

    /// Waits until not too many results are missing.
    async fn wait_for_room(&self) {
        while self.shared.outstanding.is_full() {
            self.shared.outstanding.room.notified().await;
        }
    }

    /// Publishes the next jobs as one message.
    async fn publish(&mut self, collector: Option<&ResultCollector>) -> Result<(), QueueError> {
        if collector.is_some() {
            self.wait_for_room().await;
        }
        while self.ready.len() < self.most
            && let Ok(batch) = self.jobs.try_recv()
        {
            self.add(batch);
        }
        let worth = match collector {
            Some(_) => self.shared.outstanding.worth(self.stored),
            None => self.most,
        };
        let (count, payload) = self.message(worth.min(self.most));
        let name = self.name(count);
        self.wait_for_queue(payload.len() as u64).await?;
        let unit = Unit { run: self.run.clone(), bundle: name.to_string(), index: None };
        let subject = self.session.names.subject("jobs", &unit);
        // If this run was killed and started again, its last message before began with the same job: it has the same
        // id, and is not stored twice.
        let id = format!("{}-{}-{}", self.run, name.first, self.name(1).hash);
        let jobs: Vec<Job> = self.ready.drain(..count).collect();
        let outstanding = &self.shared.outstanding;
        outstanding.add(unit.bundle.clone(), jobs, self.shared.seen.load(Ordering::Acquire));
        let begin = Instant::now();
        let published = self.session.publish(&subject, &id, payload.into()).await?;
        self.stored = begin.elapsed();
        if published == Published::Stored {
            self.room = self.room.saturating_sub(1);
            self.shared.submitted.fetch_add(count as u64, Ordering::Relaxed);
            if collector.is_none() {
                outstanding.take_back(&unit.bundle);
            }
            return Ok(());
        }
        let jobs = outstanding.take_back(&unit.bundle);
        match published {
            Published::TooLarge if count == 1 => self.too_large(&jobs[0]),
            Published::TooLarge => {
                self.most = count / 2;
                self.put_back(jobs);
            }
            Published::Full | Published::Taken => {
                self.room = 0;
                self.put_back(jobs);
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Published::Before | Published::Stored => {
                self.put_back(jobs);
                self.look_up().await?;
            }
        }
        Ok(())
    }

    fn put_back(&mut self, jobs: Vec<Job>) {
        jobs.into_iter().rev().for_each(|job| self.ready.push_front(job));
    }

    /// The message of the next jobs, and how many they are: at most this many.
    fn message(&mut self, most: usize) -> (usize, Vec<u8>) {
        let mut payload = job_message::begin(&self.run_name);
        let mut count = 0;
        for job in self.ready.iter_mut().take(most.max(1)) {
            let before = payload.len();
            job.timeout = job.timeout.or(self.submit.timeout);
            job.retries = job.retries.or(self.submit.retries);
            job_message::put(job, &mut payload);
            if count > 0 && payload.len() > MESSAGE_BYTES {
                payload.truncate(before);
                break;
            }
            count += 1;
        }
        (count, payload)
    }

    /// Waits until the queue has room for a message of this size.
    async fn wait_for_queue(&mut self, size: u64) -> Result<(), QueueError> {
        // The server adds the subject and the headers.
        let size = size + 512;
        if size > self.largest {
            (self.largest, self.room) = (size, 0);
        }
        while self.room == 0 {
            let state = self.session.persist(|| self.streams.jobs.get_info()).await?.state;
            self.room = self.streams.limit.room(state.messages, state.bytes, self.largest);
            // A message that is longer than the limit is let into an empty queue, or the run would hang.
            if state.messages == 0 {
                self.room = self.room.max(1);
            }
            if self.room == 0 {
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
        Ok(())
    }

    /// A job does not fit into a message.
    fn too_large(&self, job: &Job) {
        let most = self.session.client.max_payload();
        let message = format!(
            "the job has {} bytes, and the server takes messages of at most {most} bytes (its setting max_payload)",
            job.size()
        );
        let failure = Failure::new(Kind::Invalid, message);
        match &self.submit.sink {
            Some(sink) => {
                sink.deliver(&Done {
                    job,
                    outcome: Err(&failure),
                    printed: None,
                    run: None,
                    unproven: None,
                });
                sink.flush();
            }
            None => self.session.watcher.note(&format!("job {}: {}", job.seq, failure.message)),
        }
    }

    /// Says how many jobs were not submitted again. Otherwise a repeated submission would be a riddle.
    fn say_what_was_there(&self) {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (all, before) = (count(&self.shared.submitted), count(&self.shared.before));
        if before > 0 && self.submit.sink.is_none() {
            let (run, name) = (Setting::QueueRun, &self.run_name);
            let s = if all == 1 { "" } else { "s" };
            let (were, are) = if before == 1 { ("was", "is") } else { ("were", "are") };
            self.session.watcher.note(&format!(
                "{before} of {all} job{s} {were} submitted before by the run '{name}', and {are} not submitted again: \
                 to run the same jobs once more, name another run ({run} NAME)"
            ));
        }
    }

    /// Removes what nobody will ask for any more.
    async fn tidy_up(&self) {
        if self.submit.sink.is_none() || self.submit.keeps_results {
            return;
        }
        let names = &self.session.names;
        let rest = format!("{}.>", self.run);
        if self.submit.run.is_none() && self.shared.outstanding.len() > 0 {
            let _ = self.streams.jobs.purge().filter(names.subject("jobs", &rest)).await;
        }
        if self.shared.outstanding.len() == 0 || self.submit.run.is_none() {
            let purge = async |kind: &str| {
                let _ = self.streams.results.purge().filter(names.subject(kind, &rest)).await;
            };
            tokio::join!(purge("results"), purge("parts"));
        }
    }
}
