//! The outcome of a job: its result ([`Value`]), or why there is none ([`Failure`]).

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;

use super::command_output::CommandOutput;
use crate::util::json::{Json, base64};

/// What happened to a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The input is not a job: for example, its args can't be written as JSON.
    Invalid,
    /// The worker replied with an error. [`Failure::data`] has it as it came.
    Error,
    /// The command ended with a status other than 0, or by a signal. [`Failure::output`] has what it
    /// printed.
    Exit,
    /// The worker died before it answered.
    Crash,
    /// It took longer than its timeout.
    Timeout,
    /// The worker printed something that is no reply.
    Protocol,
    /// The worker or the command could not be started.
    Spawn,
    /// It was running, or waiting to be tried again, when the pool was shut down or dropped.
    Cancelled,
    /// It was waiting for its first try when the pool was shut down or dropped.
    Unstarted,
    /// It waited in the queue for longer than it may.
    Expired,
    /// As many calls waited in the queue as may wait.
    Full,
    /// It has succeeded, but its result is not of the type that the caller asks for. [`Failure::data`] has
    /// the result as it came.
    Mismatch,
    /// The machines that it ran on were lost, one after the other.
    Lost,
    /// Its processes used more memory than they may.
    Memory,
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
            Self::Memory => "memory",
            Self::Unstarted => "unstarted",
            Self::Expired => "expired",
            Self::Full => "full",
            Self::Mismatch => "mismatch",
        }
    }

    /// The kind with this name, of those that a job of an agent can come to.
    pub(crate) fn named(name: &str) -> Option<Self> {
        const OTHERS: [Kind; 3] = [Kind::Invalid, Kind::Cancelled, Kind::Lost];
        Self::PASSING.iter().copied().chain(OTHERS).find(|kind| kind.name() == name)
    }

    /// All kinds after which the pool can try a job again.
    pub const PASSING: &'static [Self] = &[
        Self::Error,
        Self::Exit,
        Self::Crash,
        Self::Timeout,
        Self::Protocol,
        Self::Spawn,
        Self::Memory,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a job has no result.
///
/// ```
/// # async fn example(pool: procpool::Pool) -> Result<u64, Box<dyn std::error::Error>> {
/// use procpool::Kind;
///
/// match pool.process("count", ["a.txt"]).await {
///     Ok(lines) => Ok(lines),
///     Err(failure) if failure.may_retry() => Ok(pool.process("count", ["a.txt"]).await?),
///     Err(failure) => match failure.kind {
///         Kind::Error => Err(format!("the worker says: {}", failure.message).into()),
///         _ => Err(failure.into()),
///     },
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What happened, as a word.
    pub kind: Kind,
    /// What happened, as a sentence for a person.
    pub message: String,
    /// As JSON, for the command: the error that the worker sent.
    #[doc(hidden)]
    pub data: Option<Box<RawValue>>,
    /// The output of the command of a call.
    pub(crate) output: Option<Box<CommandOutput>>,
    /// The process was on other jobs, too, and any of them may be the cause.
    pub(crate) is_shared: bool,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), data: None, output: None, is_shared: false }
    }

    /// As a worker's error, for tests of the command.
    #[doc(hidden)]
    pub fn of_worker(message: impl Into<String>, data: Box<RawValue>) -> Self {
        Self { data: Some(data), ..Self::new(Kind::Error, message) }
    }

    /// The error that the worker sent, or the result that has the wrong type ([`Kind::Mismatch`]), read as
    /// a type of yours. `None`: there is none, or it is no value of this type. [`RawValue`] boxed takes
    /// any.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.data.as_ref()?.get()).ok()
    }

    /// The output of the command, and how it ended. `None`: no command was started.
    pub fn output(&self) -> Option<&CommandOutput> {
        self.output.as_deref()
    }

    /// The exit status of the command. `None`: no command was started, or a signal ended it.
    pub fn exit_code(&self) -> Option<i32> {
        self.output()?.exit
    }

    /// Whether it is certain that the job was not begun, so that another attempt can't run it twice.
    ///
    /// After any other failure, the job may have had effects, and only you know whether it may run again. If it
    /// may, [`Builder::retries`](crate::Builder::retries) runs it again.
    pub fn may_retry(&self) -> bool {
        matches!(self.kind, Kind::Spawn | Kind::Unstarted | Kind::Expired | Kind::Full)
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
    Json(Json<'a>),
    /// The reply of a worker that speaks no JSON, unchanged.
    Bytes(&'a [u8]),
    /// JSON text whose parts were given to [`Sink::part`](crate::Sink::part) while the job ran.
    Shown(Json<'a>),
}

impl Value<'_> {
    /// The result of a command, whose output is elsewhere.
    pub(crate) const NULL: Self = Self::Json(Json::NULL);

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(json) | Self::Shown(json) => json.bytes().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// As JSON. Bytes become a string or, if they are not UTF-8, an object with their `base64`.
    pub fn to_json(self) -> Box<RawValue> {
        match self {
            Self::Json(json) | Self::Shown(json) => json.to_raw(),
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
