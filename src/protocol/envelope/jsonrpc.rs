//! The envelope `jsonrpc`: JSON-RPC 2.0, as language servers and MCP servers speak it. A job's `cmd` is
//! the method. Its args are the params.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Body, Envelope, Message, describe, failure, number, object, present};
use crate::job::{Failure, Job};
use crate::util::json::on_one_line;

/// The envelope of JSON-RPC servers.
pub static JSONRPC: Envelope = Envelope {
    request,
    notice: Some(notice),
    read,
    cancel: Some(cancel),
    only_replies: false,
    bulk: None,
};

fn request(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    number(out, id);
    out.push(b',');
    call(out, job)
}

fn notice(out: &mut Vec<u8>, job: &Job) -> Result<(), String> {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    call(out, job)
}

/// Appends a message that language servers know.
fn cancel(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"#);
    number(out, id);
    out.extend_from_slice(b"}}");
}

/// Appends method and params. Without args there are no params: all methods accept that.
fn call(out: &mut Vec<u8>, job: &Job) -> Result<(), String> {
    out.extend_from_slice(b"\"method\":");
    out.extend_from_slice(job.cmd());
    let args = job.args();
    let elements = args.strip_prefix(b"[").and_then(|args| args.strip_suffix(b"]"));
    match args.first() {
        _ if elements.is_some_and(|elements| elements.trim_ascii().is_empty()) => {}
        Some(b'[' | b'{') => {
            out.extend_from_slice(b",\"params\":");
            out.extend_from_slice(args);
        }
        _ => return Err("the params of JSON-RPC are an array or an object".into()),
    }
    out.push(b'}');
    Ok(())
}

#[derive(Deserialize)]
struct ServerMessage<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
}

fn read(message: &[u8]) -> Result<Message<'_>, String> {
    let Some(text) = object(message)? else { return Ok(Message::Nothing) };
    let wire: ServerMessage<'_> =
        serde_json::from_str(text).map_err(|error| describe(text, &error))?;
    let outcome = match (&wire.method, wire.result, wire.error) {
        (Some(method), _, _) => {
            return Ok(match wire.id {
                Some(id) => answer(method, wire.params, id),
                None => news(method, wire.params),
            });
        }
        (None, _, Some(error)) => Err(failure(error)),
        (None, Some(result), None) => match tool_error(result) {
            Some(failure) => Err(failure),
            None => Ok(Body::of(result)),
        },
        (None, None, None) => return Err("it has neither a result nor an error".into()),
    };
    let id = match wire.id.map(RawValue::get) {
        // The server could not read the request.
        None | Some("null") => None,
        Some(id) => {
            Some(id.parse().map_err(|_| format!("its id, {id}, is not the id of a request"))?)
        }
    };
    Ok(Message::Reply { id, outcome })
}

/// The failure of a tool of an MCP server: such a result says so itself.
fn tool_error(result: &RawValue) -> Option<Failure> {
    #[derive(Deserialize)]
    struct ToolResult {
        #[serde(rename = "isError")]
        is_error: bool,
        #[serde(default)]
        content: Vec<Content>,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        text: String,
    }
    // Most results have no such field, and are read only once.
    memchr::memmem::find(result.get().as_bytes(), b"\"isError\"")?;
    let result_of: ToolResult = serde_json::from_str(result.get()).ok()?;
    if !result_of.is_error {
        return None;
    }
    let texts = result_of.content.iter().map(|content| content.text.trim());
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    let message = match &texts[..] {
        [] => "the tool reports an error, and says no more".to_owned(),
        texts => texts.join("\n"),
    };
    Some(Failure { message, ..failure(result) })
}

/// The news that a notification brings, if it is about progress.
fn news(method: &str, params: Option<&RawValue>) -> Message<'static> {
    match method {
        "$/progress" | "notifications/progress" => {
            let params = params.map_or("".into(), |params| on_one_line(params.get()));
            Message::Progress(format!("{method} {params}"))
        }
        _ => Message::Nothing,
    }
}

/// The answer to a question of the server. Without one the server may wait forever. Language servers ask
/// about things that an editor knows, and some of them end on an error. They get an empty answer.
fn answer(method: &str, params: Option<&RawValue>, id: &RawValue) -> Message<'static> {
    let outcome = match method {
        "ping" => r#""result":{}"#.to_owned(),
        "workspace/configuration" => format!("\"result\":{}", no_settings(params)),
        "client/registerCapability"
        | "client/unregisterCapability"
        | "window/showMessageRequest"
        | "window/workDoneProgress/create"
        | "workspace/workspaceFolders" => r#""result":null"#.to_owned(),
        "workspace/applyEdit" => r#""result":{"applied":false}"#.to_owned(),
        "window/showDocument" => r#""result":{"success":false}"#.to_owned(),
        // The server says that something has changed, and that the editor should ask again.
        _ if method.starts_with("workspace/") && method.ends_with("/refresh") => {
            r#""result":null"#.to_owned()
        }
        _ => r#""error":{"code":-32601,"message":"procpool does not answer this"}"#.to_owned(),
    };
    let id = on_one_line(id.get());
    Message::Question(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{outcome}}}").into_bytes())
}

/// A `null` for each setting that the server asks for.
fn no_settings(params: Option<&RawValue>) -> String {
    #[derive(Default, Deserialize)]
    struct Params {
        items: Vec<IgnoredAny>,
    }
    let params = params.and_then(|params| serde_json::from_str::<Params>(params.get()).ok());
    let nulls = vec!["null"; params.unwrap_or_default().items.len()];
    format!("[{}]", nulls.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        for (args, expected) in [
            ("[]", r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#),
            ("[ ]", r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#),
            ("[1]", r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[1]}"#),
            (r#"{"a":1}"#, r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"a":1}}"#),
        ] {
            let job = Job::new(1, r#""tools/list""#, args, "");
            let mut out = Vec::new();
            request(&mut out, 7, &job).expect("a request");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let mut out = Vec::new();
        assert!(request(&mut out, 1, &Job::new(1, r#""a""#, "1", "")).is_err());
        // A caller of the library can pass text that is not JSON.
        assert_eq!(request(&mut out, 1, &Job::new(1, r#""a""#, "[", "")), Ok(()));
        out.clear();
        notice(&mut out, &Job::new(1, r#""initialized""#, "{}", "")).expect("a notice");
        assert_eq!(out, br#"{"jsonrpc":"2.0","method":"initialized","params":{}}"#);
    }

    fn outcome(text: &str) -> Result<String, String> {
        match read(text.as_bytes())? {
            Message::Reply { id, outcome: Ok(body) } => {
                Ok(format!("{id:?} ok {}", body.value().to_json()))
            }
            Message::Reply { id, outcome: Err(failure) } => {
                Ok(format!("{id:?} {failure} {}", failure.data.as_ref().expect("data")))
            }
            Message::Nothing => Ok("nothing".to_owned()),
            Message::Progress(text) => Ok(text),
            Message::Question(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn replies() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":3,"result":null}"#, Ok("Some(3) ok null")),
            (
                r#"{"id":3,"error":{"code":-1,"message":"no"}}"#,
                Ok(r#"Some(3) error: no {"code":-1,"message":"no"}"#),
            ),
            (
                r#"{"id":null,"error":{"message":"bad"}}"#,
                Ok(r#"None error: bad {"message":"bad"}"#),
            ),
            (r#"{"id":3,"result":1,"error":null}"#, Ok("Some(3) ok 1")),
            (r#"{"method":"log","params":[]}"#, Ok("nothing")),
            (r#"{"method":"$/progress","params":{"token":1}}"#, Ok(r#"$/progress {"token":1}"#)),
            (r#"{"id":3,"result":{"isError":false}}"#, Ok(r#"Some(3) ok {"isError":false}"#)),
            (
                r#"{"id":3,"result":{"content":[{"type":"text","text":"no city"}],"isError":true}}"#,
                Ok(concat!(
                    r#"Some(3) error: no city {"content":[{"type":"text","text":"no city"}],"#,
                    r#""isError":true}"#
                )),
            ),
            (r#"{"id":"q","method":"ping"}"#, Ok(r#"{"jsonrpc":"2.0","id":"q","result":{}}"#)),
            (r#"{"id":"x","result":1}"#, Err(r#"its id, "x", is not the id of a request"#)),
            ("{\"id\":{\n},\"method\":\"ping\"}", Ok(r#"{"jsonrpc":"2.0","id":{ },"result":{}}"#)),
            ("{\"id\":3,\"result\":[\r\n1\n]}", Ok("Some(3) ok [  1 ]")),
            ("[]", Err("it is not a JSON object")),
            ("{}", Err("it has neither a result nor an error")),
        ] {
            let outcome = outcome(text);
            assert_eq!(outcome.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn questions_are_answered() {
        for (method, answer) in [
            (r#""sampling/createMessage""#, r#""error":{"code":-32601"#),
            (r#""workspace/configuration""#, r#""result":[]}"#),
            (
                r#""workspace/configuration","params":{"items":[{"section":"a"},{}]}"#,
                r#""result":[null,null]}"#,
            ),
            (r#""client/registerCapability","params":{}"#, r#""result":null}"#),
            (r#""workspace/semanticTokens/refresh""#, r#""result":null}"#),
            (r#""workspace/applyEdit","params":{"edit":{}}"#, r#""result":{"applied":false}}"#),
        ] {
            let question = format!(r#"{{"id":9,"method":{method}}}"#);
            let expected = format!(r#"{{"jsonrpc":"2.0","id":9,{answer}"#);
            let said = outcome(&question).expect("a question");
            assert!(said.starts_with(&expected), "{question}: {said}");
        }
    }
}
