//! Whether the servers answer, and store what they are sent. procpool reports each trouble once, and its end once.

use std::sync::Mutex;
use std::time::Instant;

use async_nats::Event;

use super::settings::Watching;
use crate::util::lock::lock;

/// What may go wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerTrouble {
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
    pub(super) fn failing_since(&self, trouble: ServerTrouble) -> Option<Instant> {
        self.0[trouble as usize].failing_since
    }

    /// There is this trouble. Returns since when, and whether nobody has heard of it.
    pub(super) fn begin(&mut self, trouble: ServerTrouble) -> (Instant, bool) {
        let condition = &mut self.0[trouble as usize];
        let since = *condition.failing_since.get_or_insert_with(Instant::now);
        (since, !std::mem::replace(&mut condition.is_told, true))
    }

    /// It is over. Returns whether somebody has heard of it.
    pub(super) fn end(&mut self, trouble: ServerTrouble) -> bool {
        std::mem::take(&mut self.0[trouble as usize]).is_told
    }
}

/// Something happened to the connection.
pub(super) fn hear(event: &Event, watcher: &Watching, address: &str, health: &Mutex<Health>) {
    let mut health = lock(health);
    let text = match event {
        Event::Disconnected => health.begin(ServerTrouble::Outage).1.then(|| {
            format!("the connection to {address} is lost; procpool tries to connect again")
        }),
        Event::Connected => {
            health.end(ServerTrouble::Outage).then(|| format!("connected to {address} again"))
        }
        _ => None,
    };
    if let Some(text) = text {
        watcher.note(&text);
    }
}
