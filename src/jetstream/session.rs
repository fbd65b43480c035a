//! The connection to the servers: credentials from the environment, further attempts, and messages about it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode, context::ContextBuilder};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, HeaderMap};
use bytes::Bytes;

use super::error::QueueError;
use super::health::{Health, ServerTrouble, hear};
use super::names::QueueNames;
use super::settings::{QueueSettings, Watching};
use crate::util::lock::lock;

/// The pause after a request that failed. It grows to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An answer of a server is waited for this long. Then the request is made again.
const ANSWER: Duration = Duration::from_secs(5);

/// A connection to the servers of a queue.
#[derive(Clone)]
pub(super) struct QueueSession {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) names: QueueNames,
    pub(super) settings: QueueSettings,
    pub(super) watcher: Watching,
    health: Arc<Mutex<Health>>,
}

/// What came of publishing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// It is stored.
    Stored,
    /// A message with this id is stored already.
    Before,
    /// The subject has a message.
    Taken,
    /// The stream has no room for another message.
    Full,
    /// It is longer than the server's `max_payload`.
    TooLarge,
}

impl QueueSession {
    /// Connects. A server that is not there is tried again.
    ///
    /// # Errors
    /// No server accepts the connection within the time, or one refuses it for good.
    pub(super) async fn connect(
        settings: &QueueSettings,
        watcher: Watching,
    ) -> Result<Self, QueueError> {
        let begin = Instant::now();
        let (mut pause, mut is_told) = (FIRST_PAUSE, false);
        let address = settings.address.to_string();
        let health = Arc::new(Mutex::new(Health::default()));
        loop {
            let options = options(&watcher, &address, &health).await?;
            let error = match options.connect(settings.address.servers.as_slice()).await {
                Ok(client) => {
                    let context = ContextBuilder::new().timeout(ANSWER).build(client.clone());
                    let names = QueueNames { name: settings.address.name.clone() };
                    if is_told {
                        watcher.note(&format!("connected to the queue {address}"));
                    }
                    let settings = settings.clone();
                    return Ok(Self { client, context, names, settings, watcher, health });
                }
                Err(error) => error,
            };
            if let Some(error) = lasting(&address, &error) {
                return Err(error);
            }
            let why = reason(&error);
            if begin.elapsed() + pause > settings.patience {
                return Err(QueueError::Unreachable { address, time: settings.patience, why });
            }
            if !is_told {
                is_told = true;
                let time = humantime::format_duration(settings.patience);
                watcher.note(&format!(
                    "the queue {address} can't be reached: {why}; procpool tries again for {time}"
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Does something at the server, again and again until it succeeds or time is up. `None`: it failed this time.
    ///
    /// # Errors
    /// Time is up.
    pub(super) async fn persist<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, QueueError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt().await {
                Ok(value) => {
                    self.is_well(ServerTrouble::Outage);
                    return Ok(value);
                }
                Err(error) => self.is_ill(ServerTrouble::Outage, &error.to_string())?,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// There is no such trouble now.
    fn is_well(&self, trouble: ServerTrouble) {
        if lock(&self.health).end(trouble) {
            self.watcher.note(match trouble {
                ServerTrouble::Outage => "the queue answers again",
                ServerTrouble::Refusal => "the queue takes messages again",
            });
        }
    }

    /// There is trouble.
    ///
    /// # Errors
    /// That has gone on for too long.
    fn is_ill(&self, trouble: ServerTrouble, why: &str) -> Result<(), QueueError> {
        let (since, is_news) = lock(&self.health).begin(trouble);
        if since.elapsed() > self.settings.patience {
            return Err(self.unreachable(why));
        }
        if is_news {
            let what = match trouble {
                ServerTrouble::Outage => "does not answer as it should",
                ServerTrouble::Refusal => "does not take messages",
            };
            let time = humantime::format_duration(self.settings.patience);
            self.watcher.note(&format!("the queue {what}: {why}; procpool tries again for {time}"));
        }
        Ok(())
    }

    /// Waits until the servers were out of reach for too long.
    pub(super) async fn lost(&self) -> QueueError {
        loop {
            tokio::time::sleep(LONGEST_PAUSE.min(self.settings.patience / 4)).await;
            let is_connected = self.client.connection_state() == State::Connected;
            let since = lock(&self.health).failing_since(ServerTrouble::Outage);
            if let Some(since) = since.filter(|_| !is_connected)
                && since.elapsed() > self.settings.patience
            {
                return self.unreachable("no server answers");
            }
        }
    }

    fn unreachable(&self, why: &str) -> QueueError {
        QueueError::Unreachable {
            address: self.settings.address.to_string(),
            time: self.settings.patience,
            why: why.to_owned(),
        }
    }

    /// Publishes a message, and waits until it is stored.
    ///
    /// # Errors
    /// The server does not answer for too long.
    pub(super) async fn publish(
        &self,
        subject: &str,
        id: &str,
        payload: Bytes,
    ) -> Result<Published, QueueError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        self.publish_with(subject, headers, payload).await
    }

    /// The same with these headers, of which one is the id.
    ///
    /// # Errors
    /// The server does not answer for too long.
    pub(super) async fn publish_with(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Published, QueueError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = self
                .context
                .publish_with_headers(subject.to_owned(), headers.clone(), payload.clone())
                .await;
            let stored = match sent {
                Ok(stored) => stored.await,
                Err(error) => Err(error),
            };
            let judged = match stored {
                Ok(stored) if stored.duplicate => Ok(Published::Before),
                Ok(_) => Ok(Published::Stored),
                Err(error) => judge(&error),
            };
            match judged {
                Ok(published) => {
                    self.is_well(ServerTrouble::Outage);
                    self.is_well(ServerTrouble::Refusal);
                    return Ok(published);
                }
                Err((trouble, why)) => self.is_ill(trouble, &why)?,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether an error of publishing is an answer. If not: what kind of trouble it is, and why.
fn judge(error: &PublishError) -> Result<Published, (ServerTrouble, String)> {
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        return Ok(Published::TooLarge);
    }
    let source = std::error::Error::source(error);
    let Some(answer) = source.and_then(|source| source.downcast_ref::<jetstream::Error>()) else {
        return Err((ServerTrouble::Outage, error.to_string()));
    };
    let text = answer.to_string();
    match answer.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Ok(Published::TooLarge),
        _ if text.contains("maximum messages per subject exceeded") => Ok(Published::Taken),
        _ if text.contains("maximum messages exceeded") => Ok(Published::Full),
        _ if text.contains("maximum bytes exceeded") => Ok(Published::Full),
        ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_STORE_FAILED => Err((
            ServerTrouble::Refusal,
            format!(
                "the server has no room: its disk is full, or its limit for JetStream (max_file_store) is reached ({text})"
            ),
        )),
        _ => Err((ServerTrouble::Refusal, text)),
    }
}

/// The options of a connection.
async fn options(
    watcher: &Watching,
    address: &str,
    health: &Arc<Mutex<Health>>,
) -> Result<ConnectOptions, QueueError> {
    let (watcher, address, health) = (Arc::clone(watcher), address.to_owned(), Arc::clone(health));
    let options = ConnectOptions::new()
        .name("procpool")
        .connection_timeout(ANSWER)
        .request_timeout(Some(ANSWER))
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .subscription_capacity(64 << 10)
        .event_callback(move |event| {
            hear(&event, &watcher, &address, &health);
            async {}
        });
    credentials(options).await
}

/// Takes the credentials of the environment, which are named as for the tool `nats`.
async fn credentials(mut options: ConnectOptions) -> Result<ConnectOptions, QueueError> {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let path =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = path("NATS_CREDS") {
        options = options
            .credentials_file(&file)
            .await
            .map_err(|error| unreadable("NATS_CREDS", &file, &error))?;
    }
    if let Some(file) = path("NATS_NKEY") {
        let seed = std::fs::read(&file).map_err(|error| unreadable("NATS_NKEY", &file, &error))?;
        options = options.nkey(String::from_utf8_lossy(&seed).trim().to_owned());
    }
    if let Some(token) = text("NATS_TOKEN") {
        options = options.token(token);
    }
    if let (Some(user), Some(password)) = (text("NATS_USER"), text("NATS_PASSWORD")) {
        options = options.user_and_password(user, password);
    }
    if let Some(file) = path("NATS_CA") {
        std::fs::read(&file).map_err(|error| unreadable("NATS_CA", &file, &error))?;
        options = options.add_root_certificates(file).require_tls(true);
    }
    match (path("NATS_CERT"), path("NATS_KEY")) {
        (Some(cert), Some(key)) => Ok(options.add_client_certificate(cert, key)),
        (None, None) => Ok(options),
        _ => Err(QueueError::Local("NATS_CERT and NATS_KEY belong together: set both".into())),
    }
}

fn unreadable(name: &str, file: &std::path::Path, error: &std::io::Error) -> QueueError {
    QueueError::Local(format!(
        "the file '{}' that {name} names can't be read: {error}",
        file.display()
    ))
}

/// The error, if another try would end the same way.
fn lasting(address: &str, error: &ConnectError) -> Option<QueueError> {
    let (address, why) = (address.to_owned(), reason(error));
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Some(QueueError::Refused { address, why })
        }
        ConnectErrorKind::Tls => Some(QueueError::Tls { address, why }),
        ConnectErrorKind::ServerParse => {
            Some(QueueError::Local(format!("{address} is no address of a server: {why}")))
        }
        // The handshake fails with an error of reading.
        _ if why.contains("certificate") || why.contains("HandshakeFailure") => {
            Some(QueueError::Tls { address, why })
        }
        _ => None,
    }
}

/// The innermost reason of an error.
fn reason(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
