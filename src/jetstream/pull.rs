//! Asks the server for jobs: as many messages as there is room for, and no more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::Consumer;
use async_nats::jetstream::consumer::pull::{self, BatchConfig};
use async_nats::{Message, StatusCode, Subscriber};

use super::error::QueueError;
use super::session::QueueSession;

/// A request ends after this time, and is made again.
const EXPIRES: Duration = Duration::from_secs(5);

/// The server may be this much later.
const LATE: Duration = Duration::from_secs(1);

/// The requests that are not answered yet.
pub(super) struct Puller {
    consumer: Consumer<pull::Config>,
    inbox: String,
    pub(super) messages: Subscriber,
    /// How many messages each request still asks for, and when it ends.
    asked: VecDeque<(usize, Instant)>,
}

impl Puller {
    /// # Errors
    /// The server does not answer.
    pub(super) async fn new(
        session: &QueueSession,
        consumer: Consumer<pull::Config>,
    ) -> Result<Self, QueueError> {
        let inbox = session.client.new_inbox();
        let messages = session.persist(|| session.client.subscribe(inbox.clone())).await?;
        Ok(Self { consumer, inbox, messages, asked: VecDeque::new() })
    }

    /// How many messages may come.
    fn coming(&mut self) -> usize {
        while self.asked.front().is_some_and(|&(count, at)| count == 0 || at <= Instant::now()) {
            self.asked.pop_front();
        }
        self.asked.iter().map(|&(count, _)| count).sum()
    }

    /// When the oldest request ends.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.asked.front().map(|&(_, at)| at)
    }

    /// Asks for more messages, until this number may come.
    pub(super) async fn ask_for(&mut self, wanted: usize) {
        let batch = wanted.saturating_sub(self.coming());
        if batch == 0 {
            return;
        }
        let config = BatchConfig { batch, expires: Some(EXPIRES), ..BatchConfig::default() };
        if self.consumer.request_batch(config, self.inbox.clone().into()).await.is_ok() {
            self.asked.push_back((batch, Instant::now() + EXPIRES + LATE));
        }
    }

    /// A message has come. Returns it if it has jobs.
    pub(super) fn take(&mut self, message: Message) -> Option<Message> {
        match message.status {
            None | Some(StatusCode::OK) => {
                self.answered(1);
                Some(message)
            }
            // A sign of life.
            Some(StatusCode::IDLE_HEARTBEAT) => None,
            Some(_) => {
                let header = |name: &str| {
                    let headers = message.headers.as_ref()?;
                    headers.get(name)?.as_str().parse::<usize>().ok()
                };
                match header("Nats-Pending-Messages") {
                    Some(pending) => self.answered(pending),
                    None => self.asked.clear(),
                }
                None
            }
        }
    }

    /// This many of the messages that were asked for will not come.
    fn answered(&mut self, mut count: usize) {
        for (asked, _) in &mut self.asked {
            let fewer = count.min(*asked);
            *asked -= fewer;
            count -= fewer;
        }
    }
}
