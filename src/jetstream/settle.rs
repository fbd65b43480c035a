//! Publishes results, and acknowledges jobs after that. The first message about a bundle that is stored counts: it has
//! the results, or it says that each job has a message of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::AckKind;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::collect::{find, indices};
use super::error::QueueError;
use super::held::{Held, HeldJob, HeldMessage};
use super::job_message;
use super::loss;
use super::names::Unit;
use super::result_message::{self, Nature, ResultKind};
use super::session::{Published, QueueSession};
use super::streams::QueueStreams;
use crate::util::lock::lock;
use crate::util::random::random;

/// This many jobs of a bundle are published at a time.
const AT_A_TIME: usize = 64;

/// A stream that is full is tried again after this pause.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The server adds the subject and headers to a message.
const OVERHEAD: usize = 4 << 10;

/// What is to be done for a message next.
enum Step {
    /// All jobs have results, which are published together.
    Whole(Vec<Bytes>),
    /// No job was run.
    GiveBack,
    /// Publish these results, and that each of the other jobs has a message of its own.
    Split(Vec<(usize, Bytes)>),
    /// These jobs are to be published as messages of their own.
    Move(Vec<usize>),
    /// A job has a result.
    One(usize, Bytes),
    /// All is done.
    Acknowledge,
    /// Nothing, for now.
    Rest,
}

/// Publishes and acknowledges for a worker machine.
#[derive(Clone)]
pub(super) struct Settler {
    pub(super) session: QueueSession,
    pub(super) streams: QueueStreams,
    pub(super) held: Arc<Mutex<Held>>,
    pub(super) host: String,
    pub(super) slots: usize,
    pub(super) nature: Nature,
}

impl Settler {
    /// Does all that can be done for a message now.
    ///
    /// # Errors
    /// The server does not answer for too long.
    pub(super) async fn attend(&self, id: u64) -> Result<(), QueueError> {
        loop {
            let Some((step, unit, time)) = self.next(id) else { return Ok(()) };
            match step {
                Step::Rest => return Ok(()),
                Step::Whole(results) => self.whole(id, &unit, time, results).await?,
                Step::Split(done) => self.split(id, &unit, time, done).await?,
                Step::Move(jobs) => self.move_out(id, &unit, jobs).await?,
                Step::One(index, frames) => self.one(id, &unit, time, index, frames).await?,
                Step::GiveBack => self.give_back(id, &unit).await?,
                Step::Acknowledge => self.forget(id, AckKind::Ack).await?,
            }
        }
    }

    /// What is to be done next. `None`: the message is unknown.
    fn next(&self, id: u64) -> Option<(Step, Unit, Duration)> {
        let mut held = lock(&self.held);
        let message = held.messages.get_mut(&id)?;
        let step = step(message);
        message.is_attended = !matches!(step, Step::Rest);
        Some((step, message.unit.clone(), message.time(self.slots)))
    }

    /// Publishes all results of a message at once.
    async fn whole(
        &self,
        id: u64,
        unit: &Unit,
        time: Duration,
        results: Vec<Bytes>,
    ) -> Result<(), QueueError> {
        let frames: Vec<&[u8]> = results.iter().map(AsRef::as_ref).collect();
        match self.publish(unit, ResultKind::Whole, time, &frames).await? {
            Published::Taken => self.taken(id, unit).await,
            Published::TooLarge if unit.index.is_none() && results.len() > 1 => {
                self.change(id, |message| message.is_split = true);
                Ok(())
            }
            Published::TooLarge => {
                self.in_parts(unit, time, &results.concat()).await?;
                self.settle_all(id).await
            }
            _ => self.settle_all(id).await,
        }
    }

    /// All jobs of a message have their results.
    async fn settle_all(&self, id: u64) -> Result<(), QueueError> {
        self.tell_dead(id).await?;
        self.change(id, |message| {
            (message.is_split, message.is_told) = (true, true);
            message.jobs.iter_mut().for_each(|job| *job = HeldJob::Settled);
        });
        Ok(())
    }

    /// Says which results there are, and that the other jobs have messages of their own.
    async fn split(
        &self,
        id: u64,
        unit: &Unit,
        time: Duration,
        done: Vec<(usize, Bytes)>,
    ) -> Result<(), QueueError> {
        let frames: Vec<&[u8]> = done.iter().map(|(_, frames)| frames.as_ref()).collect();
        let mut told = self.publish(unit, ResultKind::Split, time, &frames).await?;
        let mut has_results = true;
        if told == Published::TooLarge {
            has_results = false;
            told = self.publish(unit, ResultKind::Split, time, &[]).await?;
        }
        if told == Published::Taken {
            return self.taken(id, unit).await;
        }
        if has_results {
            self.tell_dead(id).await?;
        }
        self.change(id, |message| {
            message.is_told = true;
            for (index, _) in done.iter().filter(|_| has_results) {
                message.jobs[*index] = HeldJob::Settled;
            }
        });
        Ok(())
    }

    /// Another machine has published results for this message first. Those count.
    async fn taken(&self, id: u64, unit: &Unit) -> Result<(), QueueError> {
        let subject = self.session.names.subject("results", unit);
        let Some(found) = find(&self.session, &self.streams.results, &subject).await? else {
            // It has expired.
            return Ok(());
        };
        let is_split =
            result_message::open(&found).is_some_and(|head| head.kind == ResultKind::Split);
        if !is_split {
            self.change(id, |message| {
                (message.is_split, message.is_told) = (true, true);
                message.jobs.iter_mut().for_each(|job| *job = HeldJob::Settled);
            });
            return Ok(());
        }
        let known = indices(&found);
        let open = {
            let held = lock(&self.held);
            let count = held.messages.get(&id).map_or(0, |message| message.jobs.len());
            (0..count).filter(|index| !known.contains(index)).collect::<Vec<_>>()
        };
        let mut settled = known;
        for index in open {
            let subject = self.session.names.subject("results", unit.part(index));
            if find(&self.session, &self.streams.results, &subject).await?.is_some() {
                settled.push(index);
            }
        }
        self.change(id, |message| {
            (message.is_split, message.is_told) = (true, true);
            for index in settled {
                // A job that still runs here is closed when it ends.
                if let Some(job) = message.jobs.get_mut(index).filter(|job| **job != HeldJob::Open)
                {
                    *job = HeldJob::Settled;
                }
            }
        });
        Ok(())
    }

    /// Publishes jobs as messages of their own.
    async fn move_out(&self, id: u64, unit: &Unit, jobs: Vec<usize>) -> Result<(), QueueError> {
        let Some((run, is_lost, payloads)) = ({
            let held = lock(&self.held);
            held.messages.get(&id).map(|message| {
                let payload = |index: usize| {
                    let mut payload = job_message::begin(&message.run);
                    payload.extend_from_slice(&message.payload()[message.places[index].clone()]);
                    (index, Bytes::from(payload))
                };
                let payloads: Vec<_> = jobs.iter().map(|&index| payload(index)).collect();
                (message.run.clone(), message.delivery.losses.any(), payloads)
            })
        }) else {
            return Ok(());
        };
        let moving = payloads.into_iter().map(|(index, payload)| {
            let part = unit.part(index);
            let subject = self.session.names.subject("jobs", &part);
            // A machine that is lost on the way has published some of them, and the next one does so again.
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, format!("{run}-{part}"));
            if is_lost {
                loss::mark_lost(&mut headers);
            }
            async move {
                loop {
                    let headers = headers.clone();
                    match self.session.publish_with(&subject, headers, payload.clone()).await? {
                        Published::Full => tokio::time::sleep(FULL_PAUSE).await,
                        _ => return Ok(()),
                    }
                }
            }
        });
        let moved: Vec<Result<(), QueueError>> =
            stream::iter(moving).buffer_unordered(AT_A_TIME).collect().await;
        moved.into_iter().collect::<Result<(), QueueError>>()?;
        self.change(id, |message| {
            for index in jobs {
                message.jobs[index] = HeldJob::Settled;
            }
        });
        Ok(())
    }

    /// Publishes the result of one job of a bundle that was split.
    async fn one(
        &self,
        id: u64,
        unit: &Unit,
        time: Duration,
        index: usize,
        frames: Bytes,
    ) -> Result<(), QueueError> {
        let part = unit.part(index);
        match self.publish(&part, ResultKind::Whole, time, &[&frames]).await? {
            Published::Taken => {}
            Published::TooLarge => self.in_parts(&part, time, &frames).await?,
            _ => self.tell_dead(id).await?,
        }
        self.change(id, |message| message.jobs[index] = HeldJob::Settled);
        Ok(())
    }

    /// Publishes a message with results.
    async fn publish(
        &self,
        unit: &Unit,
        kind: ResultKind,
        time: Duration,
        frames: &[&[u8]],
    ) -> Result<Published, QueueError> {
        let payload = result_message::seal(kind, &self.host, self.nature, time, frames);
        let subject = self.session.names.subject("results", unit);
        // A new id, so only a repetition of this very request is a duplicate.
        let id = format!("{unit}-{:x}", random(u64::MAX));
        let payload = Bytes::from(payload);
        loop {
            match self.session.publish(&subject, &id, payload.clone()).await? {
                Published::Full => tokio::time::sleep(FULL_PAUSE).await,
                published => return Ok(published),
            }
        }
    }

    /// Publishes a result that is longer than a message.
    async fn in_parts(&self, unit: &Unit, time: Duration, frames: &[u8]) -> Result<(), QueueError> {
        let token = format!("{:x}", random(u64::MAX));
        let most = self.session.client.max_payload().saturating_sub(OVERHEAD).max(1);
        for (part, bytes) in frames.chunks(most).enumerate() {
            let subject =
                self.session.names.subject("parts", format_args!("{unit}.{token}.{part}"));
            let id = format!("{unit}-{token}-{part}");
            let payload = Bytes::copy_from_slice(bytes);
            while self.session.publish(&subject, &id, payload.clone()).await? == Published::Full {
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
        let head = result_message::put_parts(&token, frames.len().div_ceil(most));
        self.publish(unit, ResultKind::Parts, time, &[&head]).await?;
        Ok(())
    }

    /// Adds failed jobs to the stream of failed jobs.
    async fn tell_dead(&self, id: u64) -> Result<(), QueueError> {
        let mut dead = None;
        self.change(id, |message| {
            dead = Some((message.unit.clone(), std::mem::take(&mut message.dead)));
        });
        let Some((unit, lines)) = dead.filter(|(_, lines)| !lines.is_empty()) else {
            return Ok(());
        };
        let subject = self.session.names.subject("dead", &unit);
        let most = self.session.client.max_payload().saturating_sub(OVERHEAD).max(1);
        let id = format!("{unit}-{:x}", random(u64::MAX));
        // Whole lines, as many as a message takes. A line that is too long for one is cut.
        let mut batch = Vec::new();
        let mut number = 0;
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let line = &line[..line.len().min(most)];
            if batch.len() + line.len() > most {
                let full = Bytes::from(std::mem::take(&mut batch));
                self.session.publish(&subject, &format!("{id}-{number}"), full).await?;
                number += 1;
            }
            batch.extend_from_slice(line);
        }
        self.session.publish(&subject, &format!("{id}-{number}"), batch.into()).await?;
        Ok(())
    }

    /// Gives a message back. If it had begun that is recorded, so that it does not count as a loss.
    async fn give_back(&self, id: u64, unit: &Unit) -> Result<(), QueueError> {
        let delivery = lock(&self.held).messages.get(&id).map(|message| message.delivery);
        if let Some(delivery) = delivery.filter(|delivery| delivery.is_begun) {
            let subject = loss::returned(&self.session.names, unit, delivery.number);
            self.session.publish(&subject, &subject, Bytes::new()).await?;
        }
        self.forget(id, AckKind::Nak(None)).await
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut HeldMessage)) {
        if let Some(message) = lock(&self.held).messages.get_mut(&id) {
            change(message);
        }
    }

    /// Acknowledges a message, or gives it back.
    async fn forget(&self, id: u64, kind: AckKind) -> Result<(), QueueError> {
        let Some(message) = lock(&self.held).remove(id) else { return Ok(()) };
        // If this is lost, the message comes again, and its result is found then.
        let _ = message.message.ack_with(kind).await;
        Ok(())
    }
}

/// What is to be done for a message next.
fn step(message: &HeldMessage) -> Step {
    let returned = || message.which(|job| *job == HeldJob::Returned);
    let results = || {
        let done = message.jobs.iter().enumerate().filter_map(|(index, job)| match job {
            HeldJob::Done(frames) => Some((index, frames.clone())),
            _ => None,
        });
        done.collect::<Vec<_>>()
    };
    if !message.is_split {
        if message.left > 0 {
            return Step::Rest;
        }
        let returned = returned();
        if returned.is_empty() {
            return Step::Whole(results().into_iter().map(|(_, frames)| frames).collect());
        }
        if returned.len() == message.jobs.len() {
            return Step::GiveBack;
        }
    }
    if !message.is_told {
        return Step::Split(results());
    }
    let returned = returned();
    if !returned.is_empty() {
        return Step::Move(returned);
    }
    let one = message.jobs.iter().enumerate().find_map(|(index, job)| match job {
        HeldJob::Done(frames) => Some((index, frames.clone())),
        _ => None,
    });
    if let Some((index, frames)) = one {
        return Step::One(index, frames);
    }
    if message.left == 0 { Step::Acknowledge } else { Step::Rest }
}
