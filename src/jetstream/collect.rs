//! The results of a submitter: receives new ones, looks up earlier ones, and gives them to the output.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::QueueError;
use super::line::LineNature;
use super::names::{BundleName, Unit};
use super::outstanding::SubmitShared;
use super::result_message::{self, ResultFrame, ResultKind};
use super::session::QueueSession;
use super::settings::SubmitSettings;
use super::streams::QueueStreams;
use crate::job::printed::{Capture, Printed, Spool};
use crate::job::{Done, Failure, Job, Kind, Run, Sink};
use crate::link::from_agent::{RemoteOutcome, RemoteValue};

/// Messages that wait for the output.
const WAITING: usize = 64;

/// The pause before results are listened to again.
const PAUSE: Duration = Duration::from_millis(200);

/// Results that are printed are removed this many messages at a time.
const REMOVED: u64 = 500;

/// A message with results.
struct Arrived {
    unit: Unit,
    payload: Bytes,
    /// Its number in the stream; 0: it was looked up.
    number: u64,
}

/// Takes the results of a run.
pub(super) struct ResultCollector {
    session: QueueSession,
    results: Stream<()>,
    run: String,
    shared: Arc<SubmitShared>,
    arrived: mpsc::Sender<Arrived>,
    listener: JoinHandle<()>,
    delivered: oneshot::Receiver<()>,
}

impl ResultCollector {
    /// Begins to listen.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn start(
        session: QueueSession,
        streams: &QueueStreams,
        run: &str,
        shared: Arc<SubmitShared>,
        submit: &SubmitSettings,
        sink: Arc<dyn Sink>,
    ) -> Result<Self, QueueError> {
        let results = streams.results.clone();
        let (arrived, waiting) = mpsc::channel(WAITING);
        let (done, delivered) = oneshot::channel();
        let delivery = Delivery {
            shared: Arc::clone(&shared),
            sink,
            is_text: Arc::clone(&submit.is_text),
            is_open: submit.is_open,
            hosts: HashMap::new(),
            spool: Arc::default(),
            session: session.clone(),
        };
        let deliver = move || {
            delivery.run(waiting);
            let _ = done.send(());
        };
        thread::Builder::new().name("results".into()).spawn(deliver).map_err(|error| {
            QueueError::Local(format!("no thread could be started for the results: {error}"))
        })?;
        let listening = Listening {
            session: session.clone(),
            results: results.clone(),
            run: run.to_owned(),
            arrived: arrived.clone(),
            shared: Arc::clone(&shared),
            removes: !submit.keeps_results,
        };
        let listener = tokio::spawn(listening.run(streams.last_result + 1));
        let run = run.to_owned();
        Ok(Self { session, results, run, shared, arrived, listener, delivered })
    }

    /// Looks up the results of a bundle that was submitted before.
    pub(super) async fn look_up(&self, bundle: &str) -> Result<(), QueueError> {
        let unit = Unit { run: self.run.clone(), bundle: bundle.to_owned(), index: None };
        let Some(payload) = self.find(&unit).await? else { return Ok(()) };
        let is_split =
            result_message::open(&payload).is_some_and(|head| head.kind == ResultKind::Split);
        let done = if is_split { indices(&payload) } else { Vec::new() };
        self.send(unit.clone(), payload).await;
        if is_split {
            let left = self.shared.outstanding.left_of(bundle);
            for index in left.into_iter().filter(|index| !done.contains(index)) {
                if let Some(payload) = self.find(&unit.part(index)).await? {
                    self.send(unit.part(index), payload).await;
                }
            }
        }
        Ok(())
    }

    async fn send(&self, unit: Unit, payload: Bytes) {
        let _ = self.arrived.send(Arrived { unit, payload, number: 0 }).await;
    }

    async fn find(&self, unit: &Unit) -> Result<Option<Bytes>, QueueError> {
        let subject = self.session.names.subject("results", unit);
        let found = find(&self.session, &self.results, &subject).await?;
        match found {
            Some(payload) => whole(&self.session, &self.results, unit, payload).await,
            None => Ok(None),
        }
    }

    /// Stops listening, and waits until all received results are delivered.
    pub(super) async fn end(self) {
        self.listener.abort();
        let _ = self.listener.await;
        drop(self.arrived);
        let _ = self.delivered.await;
    }
}

/// The message of a subject, if there is one.
pub(super) async fn find(
    session: &QueueSession,
    stream: &Stream<()>,
    subject: &str,
) -> Result<Option<Bytes>, QueueError> {
    session
        .persist(|| async {
            match stream.get_last_raw_message_by_subject(subject).await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
}

/// Puts the parts of a long result together.
async fn whole(
    session: &QueueSession,
    stream: &Stream<()>,
    unit: &Unit,
    payload: Bytes,
) -> Result<Option<Bytes>, QueueError> {
    let Some(head) = result_message::open(&payload).filter(|head| head.kind == ResultKind::Parts)
    else {
        return Ok(Some(payload));
    };
    let Some((token, count)) = result_message::parts(head.rest) else { return Ok(Some(payload)) };
    let mut all = Vec::new();
    for part in 0..count {
        let subject = session.names.subject("parts", format_args!("{unit}.{token}.{part}"));
        match find(session, stream, &subject).await? {
            Some(bytes) => all.extend_from_slice(&bytes),
            None => return Ok(None),
        }
    }
    Ok(Some(
        result_message::seal(ResultKind::Whole, head.host, head.nature, head.time, &[&all]).into(),
    ))
}

/// Which jobs have a result in a message.
pub(super) fn indices(payload: &[u8]) -> Vec<usize> {
    let mut rest = result_message::open(payload).map_or(&[][..], |head| head.rest);
    let mut all = Vec::new();
    while let Some(frame) = result_message::next(&mut rest) {
        if let ResultFrame::Done(done) = frame {
            all.extend(usize::try_from(done.seq));
        }
    }
    all
}

/// Hears results as they are stored.
struct Listening {
    session: QueueSession,
    results: Stream<()>,
    run: String,
    arrived: mpsc::Sender<Arrived>,
    shared: Arc<SubmitShared>,
    /// Results are removed after they were printed.
    removes: bool,
}

impl Listening {
    /// Hears all results from this number on. A connection that breaks is made again.
    async fn run(self, mut next: u64) {
        let mut removed = 0;
        let subject = self.subject("results");
        loop {
            let config = pull::OrderedConfig {
                filter_subject: subject.clone(),
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
                ..pull::OrderedConfig::default()
            };
            let messages = match self.results.create_consumer(config).await {
                Ok(consumer) => consumer.messages().await.ok(),
                Err(_) => None,
            };
            if let Some(mut messages) = messages {
                while let Some(Ok(message)) = messages.next().await {
                    let Ok(number) = message.info().map(|info| info.stream_sequence) else {
                        continue;
                    };
                    next = number + 1;
                    let Some(unit) = Unit::of_subject(&message.subject) else { continue };
                    let payload = message.message.payload;
                    let Ok(payload) = whole(&self.session, &self.results, &unit, payload).await
                    else {
                        continue;
                    };
                    let Some(payload) = payload else { continue };
                    if self.arrived.send(Arrived { unit, payload, number }).await.is_err() {
                        return;
                    }
                    removed = self.remove(removed).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Removes results that were printed. Returns up to which number that is done.
    async fn remove(&self, removed: u64) -> u64 {
        let seen = self.shared.seen.load(Ordering::Acquire);
        if !self.removes || seen < removed + REMOVED {
            return removed;
        }
        // The parts of a result come before it, and what is noted about a job that still runs may be old.
        let of_parts = self.shared.outstanding.since().map_or(seen, |since| since.min(seen));
        for (kind, last) in [("results", seen), ("parts", of_parts)] {
            let _ = self.results.purge().filter(self.subject(kind)).sequence(last + 1).await;
        }
        seen
    }

    fn subject(&self, kind: &str) -> String {
        self.session.names.subject(kind, format_args!("{}.>", self.run))
    }
}

/// The thread that gives results to the output, which may take its time.
struct Delivery {
    shared: Arc<SubmitShared>,
    sink: Arc<dyn Sink>,
    is_text: Arc<dyn Fn(bool) + Send + Sync>,
    is_open: bool,
    hosts: HashMap<String, &'static str>,
    spool: Arc<Spool>,
    session: QueueSession,
}

impl Delivery {
    fn run(mut self, mut waiting: mpsc::Receiver<Arrived>) {
        let mut last = 0;
        loop {
            let arrived = match waiting.try_recv() {
                Ok(arrived) => arrived,
                Err(_) => {
                    self.sink.flush();
                    self.shared.seen.store(last, Ordering::Release);
                    self.shared.outstanding.room.notify_one();
                    match waiting.blocking_recv() {
                        Some(arrived) => arrived,
                        None => return,
                    }
                }
            };
            self.deliver(&arrived);
            last = arrived.number.max(last);
            self.shared.outstanding.room.notify_one();
        }
    }

    /// Delivers the results of a message.
    fn deliver(&mut self, arrived: &Arrived) {
        let Some(head) = result_message::open(&arrived.payload) else {
            let text = "a message with results is of another version of procpool: use one version on all machines";
            self.session.watcher.note(text);
            return;
        };
        (self.is_text)(head.nature.is_text);
        let host = self.host(head.host);
        let mut rest = head.rest;
        let (mut captures, mut tries, mut count) = (None, (1, 0.0), 0);
        while let Some(frame) = result_message::next(&mut rest) {
            match frame {
                ResultFrame::Try { attempt, start } => tries = (attempt, start),
                ResultFrame::Printed { is_stderr, bytes } => {
                    let spool = &self.spool;
                    let captures =
                        captures.get_or_insert_with(|| [Capture::new(spool), Capture::new(spool)]);
                    if let Err(error) = captures[usize::from(is_stderr)].write_all(bytes) {
                        self.session
                            .watcher
                            .note(&format!("what a command printed could not be kept: {error}"));
                    }
                }
                ResultFrame::Done(done) => {
                    count += 1;
                    let index = usize::try_from(done.seq).unwrap_or(usize::MAX);
                    // A message of one job has its index in the subject.
                    let index = arrived.unit.index.unwrap_or(index);
                    let captures = captures.take();
                    if let Some(job) = self.shared.outstanding.take(&arrived.unit.bundle, index) {
                        let job = self.rebuilt(job, head.nature.lines, &done);
                        self.done(job, &done, captures, tries, host);
                    }
                    tries = (1, 0.0);
                }
            }
        }
        if count > 0 && BundleName::read(&arrived.unit.bundle).is_some() {
            self.shared.outstanding.took(head.time, count);
        }
    }

    /// The job as the machine that ran it has read it.
    fn rebuilt(&self, job: Job, lines: LineNature, done: &RemoteOutcome<'_>) -> Job {
        if !self.is_open {
            return job;
        }
        // A command that could not be started has printed nothing.
        let could_not_start =
            done.outcome.as_ref().is_err_and(|failure| failure.kind == Kind::Spawn);
        lines.rebuild(job, done.command.is_some() || could_not_start)
    }

    /// Delivers one result.
    fn done(
        &self,
        mut job: Job,
        done: &RemoteOutcome<'_>,
        captures: Option<[Capture; 2]>,
        (attempt, start): (u32, f64),
        host: &'static str,
    ) {
        job.attempt = attempt;
        let printed = done.command.map(|command| {
            let spool = &self.spool;
            let [mut stdout, mut stderr] =
                captures.unwrap_or_else(|| [Capture::new(spool), Capture::new(spool)]);
            if let Err(error) = stdout.finish().and_then(|()| stderr.finish()) {
                self.session
                    .watcher
                    .note(&format!("what a command printed could not be kept: {error}"));
            }
            Arc::new(Printed { exit: command.exit, signal: command.signal, stdout, stderr })
        });
        let run = done.run.map(|run| Run {
            slot: usize::try_from(run.slot).unwrap_or_default(),
            pid: run.pid,
            attempt,
            start,
            seconds: run.time.as_secs_f64(),
            host: Some(host),
        });
        let outcome = done.outcome.as_ref().map(RemoteValue::value);
        let unreadable: Failure;
        let outcome = match outcome {
            // The worker machine has found that the line is no job. Only this machine knows its name.
            Err(failure) if failure.kind == Kind::Invalid => {
                unreadable = failure.clone();
                Err(&unreadable)
            }
            outcome => outcome,
        };
        self.sink.deliver(&Done {
            job: &job,
            outcome,
            printed: printed.as_ref(),
            run,
            unproven: None,
        });
    }

    /// The name of a machine, for as long as the process lives.
    fn host(&mut self, name: &str) -> &'static str {
        if let Some(known) = self.hosts.get(name) {
            return known;
        }
        let known: &'static str = Box::leak(name.to_owned().into_boxed_str());
        self.hosts.insert(name.to_owned(), known);
        known
    }
}
