//! Why a queue can't be used.

use std::fmt;
use std::time::Duration;

/// Why a queue can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// No server was reached within the time.
    Unreachable {
        /// The queue.
        address: String,
        /// The time.
        time: Duration,
        /// What happened last.
        why: String,
    },
    /// The server does not accept the credentials.
    Refused {
        /// The queue.
        address: String,
        /// What the server says.
        why: String,
    },
    /// No secure connection can be made.
    Tls {
        /// The queue.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// Something on this machine: a file with credentials, or a thread.
    Local(String),
    /// The server has no JetStream.
    NoJetStream(String),
    /// A stream or a consumer exists and is not as it should be.
    OtherSettings {
        /// The stream or consumer.
        what: String,
        /// How it differs.
        differences: Vec<String>,
    },
    /// The server refuses what it was asked for.
    Server(String),
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, time, why } => write!(
                f,
                "the queue {address} could not be used for {}: {why}. Jobs that are in the queue stay there. \
                 Run the same command again when the server can be used",
                humantime::format_duration(*time)
            ),
            Self::Refused { address, why } => write!(
                f,
                "the server of {address} refuses the credentials ({why}): set NATS_CREDS to a file with \
                 credentials, or NATS_TOKEN, or NATS_USER and NATS_PASSWORD"
            ),
            Self::Tls { address, why } => write!(
                f,
                "no secure connection to {address}: {why}. The certificate must name the host, and be signed by an \
                 authority that this system or the file in NATS_CA trusts"
            ),
            Self::NoJetStream(address) => write!(
                f,
                "the server of {address} has no JetStream for this account: start it with nats-server --jetstream"
            ),
            Self::OtherSettings { what, differences } => write!(
                f,
                "{what} exists with other settings: {}. procpool does not change it: use another name for the queue, \
                 or the settings that it has",
                differences.join("; ")
            ),
            Self::Local(why) | Self::Server(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for QueueError {}
