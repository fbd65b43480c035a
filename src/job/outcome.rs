//! The outcome of a job: its result ([`Value`]), or why there is none ([`Failure`]).

use std::fmt;

use base64::Engine as _;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

/// What happened to a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The input line is not a job.
    Invalid,
    /// The worker replied with an error.
    Error,
    /// The command ended with a status other than 0, or by a signal.
    Exit,
    /// The worker died before it answered.
    Crash,
    /// It took longer than its timeout.
    Timeout,
    /// What the worker printed is no reply.
    Protocol,
    /// The worker or the command could not be started.
    Spawn,
    /// It was running, or waiting to be tried again, when the run was ended.
    Cancelled,
    /// The machine that it ran on was lost, time and again.
    Lost,
}

impl Kind {
    /// The kind's name in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Error => "error",
            Self::Exit => "exit",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Spawn => "spawn",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// The kind with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        const OTHERS: [Kind; 3] = [Kind::Invalid, Kind::Cancelled, Kind::Lost];
        Self::PASSING.into_iter().chain(OTHERS).find(|kind| kind.name() == name)
    }

    /// All kinds after which another try may succeed.
    pub const PASSING: [Self; 6] =
        [Self::Error, Self::Exit, Self::Crash, Self::Timeout, Self::Protocol, Self::Spawn];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a job has no result.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened, as a word.
    pub kind: Kind,
    /// What happened, as a sentence for a person.
    pub message: String,
    /// For [`Kind::Error`]: the error that the worker sent, any JSON value. For a command that was
    /// started: its output, as an object with `exit`, `stdout` and `stderr`, unless it is in
    /// `Done::printed`.
    pub data: Option<Box<RawValue>>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), data: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Failure {}

/// The result of a job.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// JSON text.
    Json(&'a RawValue),
    /// The reply of a worker that speaks no JSON, unchanged.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The result of a command, whose output is elsewhere.
    pub(crate) const NULL: Self = Self::Json(RawValue::NULL);

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(json) => json.get().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// As JSON. Bytes become a string or, if they are not UTF-8, an object with their `base64`.
    pub fn to_json(&self) -> Box<RawValue> {
        match self {
            Self::Json(json) => (*json).to_owned(),
            Self::Bytes(bytes) => {
                let text = match std::str::from_utf8(bytes) {
                    Ok(text) => serde_json::value::to_raw_value(text),
                    Err(_) => serde_json::value::to_raw_value(&json!({ "base64": base64(bytes) })),
                };
                // A string can always be written as JSON.
                text.unwrap_or_default()
            }
        }
    }
}

/// Encodes bytes that are not UTF-8, for JSON.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
