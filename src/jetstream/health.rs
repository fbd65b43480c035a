//! Whether the servers answer, and take what they should. A person hears once of each trouble, and once that it is over.

use std::sync::Mutex;
use std::time::Instant;

use async_nats::Event;

use super::error::QueueError;
use super::session::QueueSession;
use super::settings::Watching;
use crate::util::lock::lock;

/// What may go wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No server answers.
    Outage,
    /// A server answers, and does not store a message.
    Refusal,
}

/// How the servers are.
#[derive(Debug, Default)]
pub(super) struct Health([Condition; 2]);

#[derive(Debug, Default)]
struct Condition {
    /// Since when it fails, again and again.
    failing_since: Option<Instant>,
    /// That was said.
    is_told: bool,
}

impl Health {
    /// Since when there is this trouble.
    pub(super) fn failing_since(&self, trouble: Trouble) -> Option<Instant> {
        self.0[trouble as usize].failing_since
    }

    /// There is this trouble. Returns since when, and whether nobody has heard of it.
    fn begin(&mut self, trouble: Trouble) -> (Instant, bool) {
        let condition = &mut self.0[trouble as usize];
        let since = *condition.failing_since.get_or_insert_with(Instant::now);
        (since, !std::mem::replace(&mut condition.is_told, true))
    }

    /// It is over. Returns whether somebody has heard of it.
    fn end(&mut self, trouble: Trouble) -> bool {
        std::mem::take(&mut self.0[trouble as usize]).is_told
    }
}

impl QueueSession {
    /// There is no such trouble now.
    pub(super) fn is_well(&self, trouble: Trouble) {
        if lock(&self.health).end(trouble) {
            self.watcher.note(match trouble {
                Trouble::Outage => "the queue answers again",
                Trouble::Refusal => "the queue takes messages again",
            });
        }
    }

    /// There is trouble.
    ///
    /// # Errors
    /// That has gone on for too long.
    pub(super) fn is_ill(&self, trouble: Trouble, why: &str) -> Result<(), QueueError> {
        let (since, is_news) = lock(&self.health).begin(trouble);
        if since.elapsed() > self.settings.patience {
            return Err(self.unreachable(why));
        }
        if is_news {
            let what = match trouble {
                Trouble::Outage => "does not answer as it should",
                Trouble::Refusal => "does not take messages",
            };
            let time = humantime::format_duration(self.settings.patience);
            self.watcher.note(&format!("the queue {what}: {why}; procpool tries again for {time}"));
        }
        Ok(())
    }
}

/// Something happened to the connection.
pub(super) fn hear(event: &Event, watcher: &Watching, address: &str, health: &Mutex<Health>) {
    let mut health = lock(health);
    let text = match event {
        Event::Disconnected => health.begin(Trouble::Outage).1.then(|| {
            format!("the connection to {address} is lost; procpool tries to connect again")
        }),
        Event::Connected => {
            health.end(Trouble::Outage).then(|| format!("connected to {address} again"))
        }
        _ => None,
    };
    if let Some(text) = text {
        watcher.note(&text);
    }
}
