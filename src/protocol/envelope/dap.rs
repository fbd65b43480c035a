//! The envelope `dap`: the Debug Adapter Protocol. A job's `cmd` is the command. Its args, an object, are
//! the arguments.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Body, Envelope, Message, describe, number, object};
use crate::job::{Failure, Job, Kind};
use crate::util::json::{Json, on_one_line};

/// The envelope of debug adapters.
pub static DAP: Envelope =
    Envelope { request, notice: None, read, cancel: Some(cancel), only_replies: false, bulk: None };

/// The numbers of what procpool sends besides requests: answers and cancellations. Nothing refers to them.
const OTHER_SEQ: u32 = i32::MAX as u32;

fn request(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
    out.extend_from_slice(b"{\"seq\":");
    number(out, id);
    out.extend_from_slice(b",\"type\":\"request\",\"command\":");
    out.extend_from_slice(job.cmd());
    let args = job.args();
    match args.first() {
        Some(b'{') => {
            out.extend_from_slice(b",\"arguments\":");
            out.extend_from_slice(args);
        }
        _ if matches!(args, b"null") || is_empty_array(args) => {}
        _ => return Err("the arguments of a debug adapter are an object".into()),
    }
    out.push(b'}');
    Ok(())
}

fn is_empty_array(args: &[u8]) -> bool {
    let elements = args.strip_prefix(b"[").and_then(|args| args.strip_suffix(b"]"));
    elements.is_some_and(|elements| elements.trim_ascii().is_empty())
}

fn cancel(out: &mut Vec<u8>, id: u64) {
    let text = json!({
        "seq": OTHER_SEQ, "type": "request", "command": "cancel", "arguments": {"requestId": id},
    });
    out.extend_from_slice(text.to_string().as_bytes());
}

#[derive(Deserialize)]
struct AdapterMessage<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    request_seq: Option<u64>,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    command: Option<String>,
    #[serde(default)]
    event: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, borrow)]
    body: Option<&'a RawValue>,
}

fn read(message: &[u8]) -> Result<Message<'_>, String> {
    let Some(text) = object(message)? else { return Ok(Message::Nothing) };
    let wire: AdapterMessage<'_> =
        serde_json::from_str(text).map_err(|error| describe(text, &error))?;
    match wire.kind.as_deref() {
        Some("event") => Ok(match wire.event {
            Some(event) if event.starts_with("progress") => {
                let body = wire.body.map_or("".into(), |body| on_one_line(body.get()));
                Message::Progress(format!("{} {body}", on_one_line(&event)))
            }
            _ => Message::Nothing,
        }),
        Some("request") => Ok(refusal(wire.seq, wire.command.unwrap_or_default())),
        Some("response") => {
            let id = wire.request_seq.ok_or("it has no request_seq")?;
            let outcome = match (wire.success, wire.body) {
                (true, Some(body)) => Ok(Body::of(body)),
                (true, None) => Ok(Body::Json(Json::NULL)),
                (false, body) => Err(failure(wire.message, body)),
            };
            Ok(Message::Reply { id: Some(id), outcome })
        }
        _ => Err("its type is not response, event or request".into()),
    }
}

/// The answer to a request of the adapter, such as `runInTerminal`.
fn refusal(seq: u64, command: String) -> Message<'static> {
    let answer = json!({
        "seq": OTHER_SEQ, "type": "response", "request_seq": seq, "success": false,
        "command": command, "message": "procpool does not do this",
    });
    Message::Question(answer.to_string().into_bytes())
}

/// The failure of a request. The text for people is in `body.error.format`, or else `message` is all there is.
fn failure(message: Option<String>, body: Option<&RawValue>) -> Failure {
    #[derive(Deserialize)]
    struct WithError {
        error: Described,
    }
    #[derive(Deserialize)]
    struct Described {
        format: String,
    }
    let described = body.and_then(|body| serde_json::from_str::<WithError>(body.get()).ok());
    let message = match described {
        Some(body) => body.error.format,
        None => message.unwrap_or_else(|| "the adapter says no more".to_owned()),
    };
    let data = body.map(|body| match Body::of(body) {
        Body::Made(json) => json,
        _ => body.to_owned(),
    });
    Failure { data, ..Failure::new(Kind::Error, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let sent = |args: &str| {
            let mut out = Vec::new();
            request(&mut out, 7, &Job::new(1, r#""threads""#, args, ""))?;
            Ok::<_, String>(String::from_utf8(out).expect("UTF-8"))
        };
        let bare = r#"{"seq":7,"type":"request","command":"threads"}"#;
        assert_eq!(sent("[]").as_deref(), Ok(bare));
        assert_eq!(
            sent(r#"{"a":1}"#).as_deref(),
            Ok(r#"{"seq":7,"type":"request","command":"threads","arguments":{"a":1}}"#)
        );
        assert!(sent("[1]").is_err());
    }

    #[test]
    fn replies() {
        let outcome = |text: &str| match read(text.as_bytes())? {
            Message::Reply { id, outcome: Ok(body) } => {
                Ok(format!("{id:?} ok {}", body.value().to_json()))
            }
            Message::Reply { id, outcome: Err(failure) } => Ok(format!("{id:?} {failure}")),
            Message::Nothing => Ok("nothing".to_owned()),
            Message::Progress(text) => Ok(text),
            Message::Question(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            other => Err(format!("{other:?}")),
        };
        for (text, expected) in [
            (
                r#"{"seq":1,"type":"response","request_seq":3,"success":true,"command":"x","body":{"a":1}}"#,
                "Some(3) ok {\"a\":1}",
            ),
            (r#"{"type":"response","request_seq":3,"success":true}"#, "Some(3) ok null"),
            (
                r#"{"type":"response","request_seq":3,"success":false,"message":"cancelled"}"#,
                "Some(3) error: cancelled",
            ),
            (
                r#"{"type":"response","request_seq":3,"success":false,"body":{"error":{"id":1,"format":"no"}}}"#,
                "Some(3) error: no",
            ),
            (r#"{"type":"event","event":"output","body":{}}"#, "nothing"),
            (
                r#"{"type":"event","event":"progressUpdate","body":{"a":1}}"#,
                "progressUpdate {\"a\":1}",
            ),
        ] {
            let found: Result<String, String> = outcome(text);
            assert_eq!(found.as_deref(), Ok(expected), "{text}");
        }
        let asked = outcome(r#"{"seq":9,"type":"request","command":"runInTerminal"}"#);
        assert!(asked.expect("a question").contains(r#""request_seq":9"#));
        assert!(outcome(r#"{"result":1}"#).is_err());
    }
}
