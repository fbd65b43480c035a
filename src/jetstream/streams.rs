//! The streams of a queue and the consumer of its jobs: made where they are missing, and never changed.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, ErrorCode};

use super::error::QueueError;
use super::limit::QueueLimit;
use super::names::WORKERS;
use super::session::QueueSession;

/// A message is not stored twice within this time.
const DUPLICATES: Duration = Duration::from_secs(120);

/// Results are kept for this long, unless somebody takes them.
const RESULTS_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Failed jobs are kept for this long.
const DEAD_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// No more messages with failed jobs are kept. The oldest go first. (A limit in bytes would be reserved on the disk.)
const DEAD_MESSAGES: i64 = 100_000;

/// A worker machine that says nothing for this long has lost its jobs.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// The key of the limit among the metadata of the stream of jobs.
const LIMIT: &str = "procpool-limit";

/// The limit of a queue that a worker machine has made. The first submitter sets one.
const OPEN: &str = "open";

/// What a queue is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueUse {
    Submit,
    Work,
}

/// The streams of a queue.
#[derive(Clone, Debug)]
pub(super) struct QueueStreams {
    pub(super) jobs: Stream<()>,
    pub(super) results: Stream<()>,
    pub(super) limit: QueueLimit,
    /// The number of the last result there was.
    pub(super) last_result: u64,
}

impl QueueSession {
    /// Finds the streams, and makes those that are missing.
    ///
    /// # Errors
    /// One has other settings, or the server refuses it.
    pub(super) async fn streams(&self, queue_use: QueueUse) -> Result<QueueStreams, QueueError> {
        let configs = [self.jobs_config(queue_use), self.results_config(), self.dead_config()];
        let [jobs, results, dead] = configs.each_ref().map(|config| self.stream(config));
        let (jobs, results, _) = tokio::try_join!(jobs, results, dead)?;
        let handle = async |name: &str| {
            let stream = self.context.get_stream_no_info(name).await;
            stream.map_err(|error| QueueError::Server(error.to_string()))
        };
        Ok(QueueStreams {
            jobs: handle(&jobs.config.name).await?,
            results: handle(&results.config.name).await?,
            limit: limit_of(&jobs.config),
            last_result: results.state.last_sequence,
        })
    }

    fn config(&self, name: String, kinds: &[&str]) -> Config {
        Config {
            name,
            subjects: kinds.iter().map(|kind| self.names.subject(kind, ">")).collect(),
            storage: StorageType::File,
            num_replicas: self.settings.replicas.unwrap_or(1),
            duplicate_window: DUPLICATES,
            allow_direct: true,
            ..Config::default()
        }
    }

    fn jobs_config(&self, queue_use: QueueUse) -> Config {
        let mut config = Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..self.config(self.names.jobs_stream(), &["jobs"])
        };
        if queue_use == QueueUse::Work {
            config.metadata.insert(LIMIT.to_owned(), OPEN.to_owned());
            return config;
        }
        let limit = self.settings.limit.unwrap_or_default();
        config.metadata.insert(LIMIT.to_owned(), limit.to_string());
        if let QueueLimit::Jobs(jobs) = limit {
            // Submitters keep to the limit. Bundles that worker machines split need more room.
            config.max_messages = i64::try_from(jobs.saturating_mul(2)).unwrap_or(i64::MAX);
        }
        config
    }

    /// There is one result for each subject, so there is one result for each job.
    fn results_config(&self) -> Config {
        Config {
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            discard_new_per_subject: true,
            max_age: RESULTS_AGE,
            ..self.config(self.names.results_stream(), &["results", "parts"])
        }
    }

    fn dead_config(&self) -> Config {
        Config {
            max_age: DEAD_AGE,
            max_messages: DEAD_MESSAGES,
            ..self.config(self.names.dead_stream(), &["dead"])
        }
    }

    async fn stream(&self, config: &Config) -> Result<Info, QueueError> {
        let mut found = self.persist(|| self.find_or_create(config)).await??;
        if is_open(&found.config) && !is_open(config) {
            let mut decided = found.config.clone();
            decided.max_messages = config.max_messages;
            decided.metadata.extend(config.metadata.clone());
            self.persist(|| self.context.update_stream(&decided)).await?;
            // Another submitter may have done the same. The one that came last counts.
            found = self.persist(|| self.find_or_create(config)).await??;
        }
        let differences = self.differences(&found.config, config);
        if differences.is_empty() {
            return Ok(found);
        }
        let what = format!("the stream '{}'", config.name);
        Err(QueueError::OtherSettings { what, differences })
    }

    /// Finds a stream, or makes it. The outer error is temporary.
    async fn find_or_create(&self, config: &Config) -> Result<Result<Info, QueueError>, String> {
        for _ in 0..3 {
            match self.context.get_stream(&config.name).await {
                Ok(stream) => return Ok(Ok(stream.cached_info().clone())),
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(error)
                        if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
                    GetStreamErrorKind::JetStream(error) => {
                        return self.lasting(&config.name, &error);
                    }
                    GetStreamErrorKind::Request => return self.request_failed(&error),
                    _ => return Err(error.to_string()),
                },
            }
            match self.context.create_stream(config.clone()).await {
                Ok(stream) => return Ok(Ok(stream.cached_info().clone())),
                Err(error) => match error.kind() {
                    // Somebody else has made it meanwhile.
                    CreateStreamErrorKind::JetStream(error)
                        if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {}
                    CreateStreamErrorKind::JetStream(error) => {
                        return self.lasting(&config.name, &error);
                    }
                    CreateStreamErrorKind::JetStreamUnavailable => {
                        return Ok(Err(self.no_jetstream()));
                    }
                    _ => return Err(error.to_string()),
                },
            }
        }
        Err(format!("the stream '{}' is being made or removed", config.name))
    }

    fn no_jetstream(&self) -> QueueError {
        QueueError::NoJetStream(self.settings.address.to_string())
    }

    fn request_failed(
        &self,
        error: &dyn std::error::Error,
    ) -> Result<Result<Info, QueueError>, String> {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        // Nobody answers requests to JetStream.
        if source.contains("no responders") || source.contains("resource does not exist") {
            return Ok(Err(self.no_jetstream()));
        }
        Err(if source.is_empty() { error.to_string() } else { source })
    }

    /// Distinguishes a temporary error (the outer one) from a permanent one.
    fn lasting(
        &self,
        stream: &str,
        error: &jetstream::Error,
    ) -> Result<Result<Info, QueueError>, String> {
        match error.error_code() {
            // A cluster is electing a leader.
            ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::CLUSTER_NOT_LEADER => {
                Err(error.to_string())
            }
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Ok(Err(self.no_jetstream()))
            }
            _ => Ok(Err(QueueError::Server(format!(
                "the server refuses to make the stream '{stream}': {error}"
            )))),
        }
    }

    /// How a stream differs from what it should be, in sentences.
    fn differences(&self, found: &Config, wanted: &Config) -> Vec<String> {
        let mut all = Vec::new();
        let mut check = |what: &str, found: String, wanted: String| {
            if found != wanted {
                all.push(format!("{what} is {found}, not {wanted}"));
            }
        };
        let debug = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        check("its retention", debug(&found.retention), debug(&wanted.retention));
        check("its subjects", found.subjects.join(" "), wanted.subjects.join(" "));
        check("its discard policy", debug(&found.discard), debug(&wanted.discard));
        check(
            "its number of messages per subject",
            found.max_messages_per_subject.max(0).to_string(),
            wanted.max_messages_per_subject.to_string(),
        );
        check(
            "discard new per subject",
            found.discard_new_per_subject.to_string(),
            wanted.discard_new_per_subject.to_string(),
        );
        if self.settings.replicas.is_some() {
            check(
                "the number of its replicas",
                found.num_replicas.to_string(),
                wanted.num_replicas.to_string(),
            );
        }
        if self.settings.limit.is_some() && wanted.retention == RetentionPolicy::WorkQueue {
            check("its limit", limit_of(found).to_string(), limit_of(wanted).to_string());
        }
        all
    }

    /// The consumer that all worker machines share, and the time after which a silent machine has lost its jobs.
    ///
    /// # Errors
    /// It has other settings, or the server refuses it.
    pub(super) async fn workers(
        &self,
        streams: &QueueStreams,
    ) -> Result<(Consumer<pull::Config>, Duration), QueueError> {
        let config = pull::Config {
            durable_name: Some(WORKERS.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: at_server(self.settings.ack_wait.unwrap_or(ACK_WAIT)),
            max_ack_pending: -1,
            max_waiting: 1 << 16,
            ..pull::Config::default()
        };
        let consumer: Consumer<pull::Config> =
            self.persist(|| streams.jobs.get_or_create_consumer(WORKERS, config.clone())).await?;
        let found = consumer.cached_info().config.ack_wait;
        if self.settings.ack_wait.is_some() && found != config.ack_wait {
            let time = |time| humantime::format_duration(of_server(time));
            return Err(QueueError::OtherSettings {
                what: format!(
                    "the consumer '{WORKERS}' of the stream '{}'",
                    self.names.jobs_stream()
                ),
                differences: vec![format!(
                    "its acknowledgement time is {}, not {}",
                    time(found),
                    time(config.ack_wait)
                )],
            });
        }
        Ok((consumer, of_server(found)))
    }
}

/// A machine says that it is alive each fifth of the time. So it may be stopped for the whole time if the server
/// waits for a quarter longer.
fn at_server(time: Duration) -> Duration {
    time + time / 4
}

fn of_server(time: Duration) -> Duration {
    time / 5 * 4
}

/// Whether no submitter has set the limit of the stream of jobs.
fn is_open(config: &Config) -> bool {
    config.metadata.get(LIMIT).is_some_and(|limit| limit == OPEN)
}

/// The limit of the stream of jobs.
fn limit_of(config: &Config) -> QueueLimit {
    config.metadata.get(LIMIT).and_then(|limit| limit.parse().ok()).unwrap_or_default()
}
