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
    /// How many machines were lost after they had begun with it.
    pub(super) losses: u32,
    /// A machine was lost with other jobs that were in the same message. Perhaps this one had not begun.
    pub(super) has_shared_loss: bool,
    /// It begins here, or has begun.
    pub(super) is_begun: bool,
    /// That it begins is noted at the server.
    pub(super) is_noted: bool,
}

impl MessageDelivery {
    /// What a message says about its delivery. How many machines were lost with it is to be looked up.
    pub(super) fn of(message: &Message) -> Self {
        let headers = message.message.headers.as_ref();
        Self {
            number: message.info().map_or(1, |info| info.delivered),
            has_shared_loss: headers.is_some_and(|headers| headers.get(LOST).is_some()),
            ..Self::default()
        }
    }

    /// How often a job was lost that may be lost this often. A loss that it shares with others is never the last.
    pub(super) fn charged(self, most: u32) -> u32 {
        let shared = u32::from(self.has_shared_loss).min(most.saturating_sub(1));
        self.losses.saturating_add(shared)
    }

    /// Whether a job that may be lost this often has been lost, and is not to be lost again.
    pub(super) fn is_last(self, most: u32) -> bool {
        (self.losses > 0 || self.has_shared_loss) && self.charged(most) + 1 >= most
    }
}

/// The header of a job that leaves a message whose machine was lost.
pub(super) fn mark_lost(headers: &mut HeaderMap) {
    headers.insert(LOST, "1");
}

fn begun(names: &QueueNames, unit: &Unit, number: i64) -> String {
    names.subject("parts", format_args!("{unit}.begun.{number}"))
}

/// What is noted about a delivery that had begun and was given back.
pub(super) fn returned(names: &QueueNames, unit: &Unit, number: i64) -> String {
    names.subject("parts", format_args!("{unit}.back.{number}"))
}

/// How many machines were lost after they had begun with a message.
///
/// # Errors
/// The server does not answer for too long.
pub(super) async fn losses(
    session: &QueueSession,
    streams: &QueueStreams,
    unit: &Unit,
) -> Result<u32, QueueError> {
    let count = async |kind: &str| {
        let subject = session.names.subject("parts", format_args!("{unit}.{kind}.*"));
        let found = session.persist(|| streams.results.info_with_subjects(&subject)).await?;
        Ok(found.filter(|subject| std::future::ready(subject.is_ok())).count().await)
    };
    let lost = count("begun").await?.saturating_sub(count("back").await?);
    Ok(u32::try_from(lost).unwrap_or(u32::MAX))
}

/// That a message begins to run.
pub(super) struct BegunNote {
    unit: Unit,
    number: i64,
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
    pub(super) fn add(&self, unit: Unit, number: i64) {
        let (told, hears) = sync_channel(1);
        if self.0.send(BegunNote { unit, number, told }).is_ok() {
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
            let subject = begun(&session.names, &note.unit, note.number);
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
        let fresh = MessageDelivery { number: 1, ..MessageDelivery::default() };
        assert!((1..4).all(|most| fresh.charged(most) == 0 && !fresh.is_last(most)));
        let shared = MessageDelivery { has_shared_loss: true, ..fresh };
        assert_eq!([1, 2, 3].map(|most| shared.charged(most)), [0, 1, 1]);
        assert_eq!([1, 2, 3].map(|most| shared.is_last(most)), [true, true, false]);
        let twice = MessageDelivery { losses: 1, ..shared };
        assert_eq!([1, 2, 3].map(|most| twice.charged(most)), [1, 2, 2]);
        assert!(twice.is_last(3));
    }
}
