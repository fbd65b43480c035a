//! Envelopes: messages ↔ jobs and their outcomes. Each is a few pure functions in a file of its own and a
//! line in the table of [`crate::protocol`].

pub mod bazel;
pub mod code;
pub mod dap;
pub mod jsonrpc;
pub mod procpool;
pub mod raw;
pub mod sh;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bulk::Bulk;
use crate::job::{Failure, Job, Kind, Value};
use crate::util::json::{Json, error_text, on_one_line};

/// The contents of messages.
#[derive(Debug)]
pub struct Envelope {
    /// Appends the request for a job. The worker may tell it from others by its `id`.
    ///
    /// # Errors
    /// Why the job can't be put into a request, as a sentence. The caller cuts `out` to its old length.
    pub request: fn(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String>,
    /// Appends a message that is not answered; `None`: the envelope has no such message.
    pub notice: Option<Notice>,
    /// Reads a message of a worker.
    ///
    /// # Errors
    /// What is wrong with the message, as a phrase.
    pub read: fn(message: &[u8]) -> Result<Message<'_>, String>,
    /// Appends a message that cancels the request with this id; `None`: the envelope has none.
    pub cancel: Option<fn(out: &mut Vec<u8>, id: u64)>,
    /// A worker sends nothing but replies: nothing may follow the last one.
    pub only_replies: bool,
    /// How it writes and reads many messages at once; `None`: it does not.
    pub(crate) bulk: Option<&'static Bulk>,
}

/// Appends a message that is not answered. Otherwise it is like [`Envelope::request`].
pub type Notice = fn(out: &mut Vec<u8>, job: &Job) -> Result<(), String>;

/// A message of a worker.
#[derive(Debug)]
pub enum Message<'a> {
    /// The outcome of a job.
    Reply {
        /// The id of the request that it answers; `None`: it answers the oldest one.
        id: Option<u64>,
        /// The result, or the failure.
        outcome: Result<Body<'a>, Failure>,
    },
    /// A message that nobody waits for.
    Nothing,
    /// News of a job that goes on, as a line.
    Progress(String),
    /// A part of the result of a job that goes on.
    Part {
        /// The id of the request; `None`: the oldest one.
        id: Option<u64>,
        /// The part; `None`: the result comes in parts, and there may be none.
        part: Option<Body<'a>>,
    },
    /// The worker works on several requests at a time from now on.
    Concurrent,
    /// A question to procpool, with the answer to it.
    Question(Vec<u8>),
}

/// The result in a reply.
#[derive(Debug)]
pub enum Body<'a> {
    /// JSON, as the worker sent it.
    Json(Json<'a>),
    /// Bytes, as the worker sent them.
    Bytes(&'a [u8]),
    /// JSON that procpool has made of the message.
    Made(Box<RawValue>),
}

impl<'a> Body<'a> {
    /// A result in JSON, as a part of one line. A framing other than `line` allows line breaks in it.
    fn of(json: &'a RawValue) -> Self {
        match on_one_line(json.get()) {
            Cow::Borrowed(_) => Self::Json(Json::of(json)),
            // With blanks in place of line breaks it is still JSON.
            Cow::Owned(text) => {
                RawValue::from_string(text).map_or(Self::Json(Json::of(json)), Self::Made)
            }
        }
    }

    /// The result as the other layers see it.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Json(json) => Value::Json(*json),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Made(json) => Value::Json(Json::of(json)),
        }
    }
}

/// The failure of a job whose worker replied with an error, which is any JSON value. The message is a string,
/// or the `message` of an object, or else the value itself.
fn failure(error: &RawValue) -> Failure {
    #[derive(Deserialize)]
    struct WithMessage {
        message: String,
    }
    let text = error.get();
    let message = serde_json::from_str::<String>(text)
        .or_else(|_| serde_json::from_str::<WithMessage>(text).map(|error| error.message))
        .unwrap_or_else(|_| text.to_owned());
    let data = match Body::of(error) {
        Body::Made(json) => json,
        _ => error.to_owned(),
    };
    Failure { data: Some(data), ..Failure::new(Kind::Error, message) }
}

/// A message as text, without the byte order mark (U+FEFF) that some programs begin a text with.
fn utf8(message: &[u8]) -> Result<&str, String> {
    let text =
        std::str::from_utf8(message).map_err(|error| format!("it is not UTF-8 ({error})"))?;
    Ok(text.trim_ascii_start().strip_prefix('\u{feff}').unwrap_or(text))
}

/// A message as the text of a JSON object. `None`: the message is blank, and is ignored.
fn object(message: &[u8]) -> Result<Option<&str>, String> {
    let text = utf8(message)?;
    match text.as_bytes().trim_ascii_start().first() {
        Some(b'{') => Ok(Some(text)),
        None => Ok(None),
        Some(_) => Err("it is not a JSON object".into()),
    }
}

/// The beginning of serde's message for JSON that ends too early.
pub const CUT: &str = "EOF while parsing";

/// The error of a JSON text, as a phrase.
fn describe(text: &str, error: &serde_json::Error) -> String {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let foreign = foreign(line, error.column().saturating_sub(1)).filter(|_| !error.is_eof());
    // Most messages are one line, so the line's number is left out.
    match foreign {
        Some((at, what)) => format!("it has {what}, at column {}", at + 1),
        None => format!("{}, at column {}", error_text(error), error.column()),
    }
}

/// A word of another language that JSON does not have: its begin, and a phrase about it.
fn foreign(line: &str, at: usize) -> Option<(usize, String)> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let before = line.as_bytes().get(..at)?.iter().rev().take_while(|byte| is_part(byte)).count();
    let begin = at - before;
    let rest = line.get(begin..)?;
    let word = &rest[..rest.bytes().take_while(is_part).count()];
    let python = |json: &str| format!("{word}, which is Python's word for {json}");
    let what = match word {
        "NaN" | "-NaN" | "nan" | "-nan" | "Infinity" | "-Infinity" | "inf" | "-inf"
        | "undefined" => format!("{word}, which is no JSON"),
        "None" => python("null"),
        "True" => python("true"),
        "False" => python("false"),
        "" if rest.starts_with('\'') => "the quotes of Python, not of JSON".to_owned(),
        _ => return None,
    };
    Some((begin, what))
}

/// The id at the beginning of a message of JSON, which need not be whole.
pub(super) fn first_id(message: &[u8]) -> Option<u64> {
    let mut rest = message.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    for word in [&b"\"jsonrpc\""[..], b":", b"\"2.0\"", b","] {
        rest = rest.strip_prefix(word).unwrap_or(rest).trim_ascii_start();
    }
    let rest = rest.strip_prefix(b"\"id\"")?.trim_ascii_start().strip_prefix(b":")?;
    let rest = rest.trim_ascii_start();
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..len]).ok()?.parse().ok()
}

/// Appends a number as digits.
fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Reads the value of a key that is present. `null` is a value as well.
fn present<'de, D>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Deserialize::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PROTOCOLS;
    use proptest::prelude::*;

    #[test]
    fn errors_have_a_message_whatever_they_are() {
        for (error, message) in [
            (r#""no such file""#, "no such file"),
            (r#"{"message":"no","code":1}"#, "no"),
            (r#"{"code":1}"#, r#"{"code":1}"#),
            ("null", "null"),
        ] {
            let raw: &RawValue = serde_json::from_str(error).expect("JSON");
            let failure = failure(raw);
            assert_eq!(failure.message, message);
            assert_eq!(failure.data.expect("data").get(), error);
        }
    }

    #[test]
    fn the_id_of_a_reply_that_is_cut() {
        for (message, id) in [
            (&br#"{"id":17,"result":["#[..], Some(17)),
            (b" { \"id\" : 3", Some(3)),
            (br#"{"jsonrpc":"2.0","id":4,"result":"#, Some(4)),
            (br#"{"result":{"id":5"#, None),
            (br#"{"id":"x""#, None),
            (b"hello", None),
        ] {
            assert_eq!(first_id(message), id, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_any_of_them_panic(message in prop::collection::vec(any::<u8>(), 0..80)) {
            for protocol in PROTOCOLS.iter() {
                let _ = (protocol.envelope.read)(&message);
            }
            let _ = (bazel::JSON.read)(&message);
        }

        #[test]
        fn no_text_makes_any_of_them_panic(message in r#"[{}\[\]":,0-9a-z"]{0,40}"#) {
            for protocol in PROTOCOLS.iter() {
                let _ = (protocol.envelope.read)(message.as_bytes());
            }
            let _ = (bazel::JSON.read)(message.as_bytes());
        }
    }
}
