//! The envelope `procpool`: `{"id":17,"cmd":"resize","args":["a.png"]}` and
//! `{"id":17,"result":…}` or `{"id":17,"error":…}`.

use std::io::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::job::{Failure, Job, Kind};

/// Appends the request for a job, without the end that a framing gives it.
pub fn request(out: &mut Vec<u8>, id: u64, job: &Job) {
    out.extend_from_slice(b"{\"id\":");
    number(out, id);
    out.extend_from_slice(b",\"cmd\":");
    out.extend_from_slice(job.cmd());
    out.extend_from_slice(b",\"args\":");
    out.extend_from_slice(job.args());
    out.push(b'}');
}

fn number(out: &mut Vec<u8>, number: u64) {
    // A Vec takes all that is written to it.
    let _ = write!(out, "{number}");
}

/// What a worker answered.
#[derive(Debug)]
pub struct Reply<'a> {
    /// Which request it answers; `None`: the oldest one.
    pub id: Option<u64>,
    /// The result, or the error, as it came.
    pub outcome: Result<&'a RawValue, &'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A key that is there has a value, even if that is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads a reply.
///
/// # Errors
/// What is wrong with it, as a phrase.
pub fn reply(message: &[u8]) -> Result<Reply<'_>, String> {
    let text =
        std::str::from_utf8(message).map_err(|error| format!("it is not UTF-8 ({error})"))?;
    if !text.trim_start().starts_with('{') {
        return Err("it is not a JSON object".into());
    }
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|error| describe(&error))?;
    let outcome = match (wire.result, wire.error) {
        (Some(result), None) => Ok(result),
        (None, Some(error)) => Err(error),
        (Some(_), Some(_)) => return Err("it has both a result and an error".into()),
        (None, None) => return Err("it has neither a result nor an error".into()),
    };
    Ok(Reply { id: wire.id, outcome })
}

fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The line is always 1: only the column tells something.
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("{what}, at column {}", error.column())
}

/// The failure of a job whose worker replied with an error.
pub fn failure(error: &RawValue) -> Failure {
    #[derive(Deserialize)]
    struct WithMessage {
        message: String,
    }
    let text = error.get();
    let message = serde_json::from_str::<String>(text)
        .or_else(|_| serde_json::from_str::<WithMessage>(text).map(|error| error.message))
        .unwrap_or_else(|_| text.to_owned());
    Failure { kind: Kind::Error, message, data: Some(error.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(text: &str) -> Result<String, String> {
        let reply = reply(text.as_bytes())?;
        Ok(match reply.outcome {
            Ok(result) => format!("{:?} ok {result}", reply.id),
            Err(error) => format!("{:?} error {error}", reply.id),
        })
    }

    #[test]
    fn a_request_is_one_object() {
        let mut out = Vec::new();
        request(&mut out, 17, &Job::new(1, r#""resize""#, r#"["a.png"]"#, ""));
        assert_eq!(out, br#"{"id":17,"cmd":"resize","args":["a.png"]}"#);
    }

    #[test]
    fn replies() {
        for (text, expected) in [
            (r#"{"id":1,"result":[1, 2]}"#, "Some(1) ok [1, 2]"),
            (r#"{"result":null}"#, "None ok null"),
            (r#" { "error" : "no" , "id" : 3 } "#, r#"Some(3) error "no""#),
            (r#"{"error":null}"#, "None error null"),
            (r#"{"id":null,"result":1}"#, "None ok 1"),
        ] {
            assert_eq!(outcome(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        for (text, part) in [
            ("hello", "not a JSON object"),
            ("{}", "neither"),
            (r#"{"result":1,"error":2}"#, "both"),
            (r#"{"result":1,"extra":2}"#, "unknown field `extra`"),
            (r#"{"id":"1","result":1}"#, "invalid type"),
            (r#"{"id":-1,"result":1}"#, "invalid value"),
            (r#"{"result":1}{"result":1}"#, "trailing characters"),
            (r#"{"result":1,"result":2}"#, "duplicate field"),
            (r#"{"result":"#, "EOF"),
            ("[1,2,3]", "not a JSON object"),
            (r#"{"result":tru}"#, "expected ident, at column 14"),
        ] {
            let error = outcome(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(reply(b"{\"result\":\"\xff\"}").expect_err("bytes").contains("UTF-8"));
    }

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

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = reply(&bytes);
        }

        #[test]
        fn a_cut_reply_is_none(cut in 0_usize..27) {
            let whole = br#"{"id":1,"result":{"a":"b"}}"#;
            prop_assert!(reply(&whole[..cut]).is_err());
        }
    }
}
