//! Machines that were lost. A message that begins to run is noted at the server, so a loss is charged to no job that
//! had only waited at the lost machine.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::jetstream::Message;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::error::QueueError;
use super::names::{QueueNames, Unit};
use super::session::QueueSession;
use super::streams::QueueStreams;

/// The header of a job that was in a message whose machine was lost.
const LOST: &str = "Procpool-Lost";

/// A slot waits no longer until it is noted that its job begins.
const NOTED: Duration = Duration::from_secs(1);

/// A delivery of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageDelivery {
    /// From 1.
    pub(super) number: i64,
    pub(super) losses: MessageLosses,
    /// It is the only one of its kind that runs here.
    pub(super) is_suspect: bool,
    /// It begins here, or has begun.
    pub(super) is_begun: bool,
    /// That it begins is noted at the server.
    pub(super) is_noted: bool,
}

/// How often a machine was lost after it had begun with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageLosses {
    /// Nothing else ran there that may be the cause.
    pub(super) alone: u32,
    /// Other messages ran there.
    pub(super) among: u32,
    /// A machine was lost with other jobs that were in the same message. Perhaps this one had not begun.
    pub(super) in_bundle: bool,
}

impl MessageDelivery {
    /// What a message says about its delivery. Which machines were lost with it is to be looked up.
    pub(super) fn of(message: &Message) -> Self {
        let headers = message.message.headers.as_ref();
        let in_bundle = headers.is_some_and(|headers| headers.get(LOST).is_some());
        Self {
            number: message.info().map_or(1, |info| info.delivered),
            losses: MessageLosses { in_bundle, ..MessageLosses::default() },
            ..Self::default()
        }
    }
}

impl MessageLosses {
    /// Whether a machine was lost after it had begun with this message.
    pub(super) fn any(self) -> bool {
        self.alone + self.among > 0
    }

    /// How often a job was lost that may be lost this often. A loss of which others may be the cause is never the
    /// last.
    pub(super) fn charged(self, most: u32) -> u32 {
        let shared = (self.among + u32::from(self.in_bundle)).min(most.saturating_sub(1));
        self.alone.saturating_add(shared)
    }

    /// Whether a job that may be lost this often has been lost, and is not to be lost again.
    pub(super) fn is_last(self, most: u32) -> bool {
        (self.any() || self.in_bundle) && self.charged(most) + 1 >= most
    }
}

/// The header of a job that leaves a message whose machine was lost.
pub(super) fn mark_lost(headers: &mut HeaderMap) {
    headers.insert(LOST, "1");
}

/// The kinds of notes about a delivery. It has begun alone, or among others, or it was given back after that.
const ALONE: &str = "begun";
const AMONG: &str = "among";
const BACK: &str = "back";

/// What is noted about a delivery that had begun and was given back.
pub(super) fn returned(names: &QueueNames, unit: &Unit, number: i64) -> String {
    names.subject("parts", format_args!("{unit}.{BACK}.{number}"))
}

/// How many machines were lost after they had begun with a message.
///
/// # Errors
/// The server does not answer for too long.
pub(super) async fn losses(
    session: &QueueSession,
    streams: &QueueStreams,
    unit: &Unit,
) -> Result<MessageLosses, QueueError> {
    let noted = async |kind: &str| {
        let subject = session.names.subject("parts", format_args!("{unit}.{kind}.*"));
        let found = session.persist(|| streams.results.info_with_subjects(&subject)).await?;
        let number = async |found: Result<(String, usize), _>| {
            let (subject, _) = found.ok()?;
            Some(subject.rsplit_once('.')?.1.to_owned())
        };
        Ok::<_, QueueError>(found.filter_map(number).collect::<Vec<_>>().await)
    };
    let (alone, among, back) = tokio::try_join!(noted(ALONE), noted(AMONG), noted(BACK))?;
    let lost = |begun: Vec<String>| begun.iter().filter(|number| !back.contains(number)).count();
    let [alone, among] = [alone, among].map(|begun| u32::try_from(lost(begun)).unwrap_or(u32::MAX));
    Ok(MessageLosses { alone, among, in_bundle: false })
}

/// That a message begins to run.
#[derive(Debug)]
pub(super) struct BegunMessage {
    pub(super) unit: Unit,
    /// Which delivery it is.
    pub(super) number: i64,
    /// Nothing else runs here that may be the end of this machine.
    pub(super) is_alone: bool,
}

/// A note for the server, and who waits until it is on its way.
pub(super) struct BegunNote {
    beginning: BegunMessage,
    told: SyncSender<()>,
}

/// Where slots say that a message begins.
#[derive(Clone)]
pub(super) struct BegunNotes(UnboundedSender<BegunNote>);

impl BegunNotes {
    pub(super) fn new() -> (Self, UnboundedReceiver<BegunNote>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    /// Notes that a message begins, and waits until the note is on its way: its jobs may be the end of this machine.
    pub(super) fn add(&self, beginning: BegunMessage) {
        let (told, hears) = sync_channel(1);
        if self.0.send(BegunNote { beginning, told }).is_ok() {
            let _ = hears.recv_timeout(NOTED);
        }
    }
}

/// Publishes notes. Nobody waits for the server's answer.
pub(super) async fn publish(session: QueueSession, mut notes: UnboundedReceiver<BegunNote>) {
    while let Some(first) = notes.recv().await {
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(note) = next {
            let BegunMessage { unit, number, is_alone } = &note.beginning;
            let kind = if *is_alone { ALONE } else { AMONG };
            let subject = session.names.subject("parts", format_args!("{unit}.{kind}.{number}"));
            let _ = session.client.publish(subject, Bytes::new()).await;
            waiting.push(note.told);
            next = notes.try_recv().ok();
        }
        if session.client.connection_state() == State::Connected {
            let _ = tokio::time::timeout(NOTED, session.client.flush()).await;
        }
        for told in waiting {
            let _ = told.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_loss_counts_and_is_never_the_last() {
        let none = MessageLosses::default();
        assert!((1..4).all(|most| none.charged(most) == 0 && !none.is_last(most)));
        for shared in
            [MessageLosses { in_bundle: true, ..none }, MessageLosses { among: 1, ..none }]
        {
            assert_eq!([1, 2, 3].map(|most| shared.charged(most)), [0, 1, 1]);
            assert_eq!([1, 2, 3].map(|most| shared.is_last(most)), [true, true, false]);
            let twice = MessageLosses { alone: 1, ..shared };
            assert_eq!([1, 2, 3].map(|most| twice.charged(most)), [1, 2, 2]);
            assert!(twice.is_last(3));
        }
    }
}
