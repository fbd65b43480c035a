//! The envelope `bazel`: `WorkRequest` and `WorkResponse` of Bazel's persistent workers, as protocol
//! buffers or as JSON. Array args of a job are the `arguments` of its request. Object args have
//! `arguments`, `inputs`, `verbosity` and `sandboxDir`, as in Bazel's JSON.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{Body, Envelope, Message, describe, object};
use crate::job::{Failure, Job, Kind};
use crate::protocol::framing::varint;

/// The envelope of Bazel's workers, in protocol buffers.
pub static BAZEL: Envelope = Envelope {
    request: request_proto,
    notice: None,
    read: read_proto,
    cancel: Some(cancel_proto),
    only_replies: true,
    bulk: None,
};

/// The same envelope in JSON.
pub static JSON: Envelope = Envelope {
    request: request_json,
    notice: None,
    read: read_json,
    cancel: Some(cancel_json),
    only_replies: true,
    bulk: None,
};

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct WorkRequest {
    arguments: Vec<String>,
    inputs: Vec<Input>,
    request_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    verbosity: i32,
    #[serde(skip_serializing_if = "String::is_empty", alias = "sandbox_dir")]
    sandbox_dir: String,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Input {
    path: String,
    /// The digest in base64.
    digest: String,
}

/// In JSON, a field of a protocol buffer has two names. Both are read.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WorkResponse {
    #[serde(alias = "exit_code")]
    exit_code: i32,
    output: String,
    #[serde(alias = "request_id")]
    request_id: u64,
    #[serde(alias = "was_cancelled")]
    was_cancelled: bool,
}

/// The result of a job: a part of the response.
#[derive(Serialize)]
struct Outcome<'a> {
    exit_code: i32,
    output: &'a str,
}

fn work_request(id: u64, job: &Job) -> Result<WorkRequest, String> {
    let args = job.args();
    let request = match args.first() {
        Some(b'{') => serde_json::from_slice::<WorkRequest>(args),
        _ => serde_json::from_slice::<Vec<String>>(args)
            .map(|arguments| WorkRequest { arguments, ..WorkRequest::default() }),
    };
    let mut request = request.map_err(|error| {
        format!(
            "the args of a Bazel worker are an array of strings, or an object with arguments and \
             inputs: {}",
            describe("", &error)
        )
    })?;
    request.request_id = id;
    Ok(request)
}

fn request_json(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
    let request = work_request(id, job)?;
    serde_json::to_writer(out, &request).map_err(|error| error.to_string())
}

fn request_proto(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
    let request = work_request(id, job)?;
    let engine = &base64::engine::general_purpose::STANDARD;
    for argument in &request.arguments {
        bytes_field(out, 1, argument.as_bytes());
    }
    for input in &request.inputs {
        let digest = engine
            .decode(&input.digest)
            .map_err(|error| format!("the digest '{}' is not base64: {error}", input.digest))?;
        let mut message = Vec::new();
        bytes_field(&mut message, 1, input.path.as_bytes());
        bytes_field(&mut message, 2, &digest);
        bytes_field(out, 2, &message);
    }
    number_field(out, 3, request.request_id);
    if request.verbosity != 0 {
        // Protocol buffers sign-extend negative numbers.
        number_field(out, 5, i64::from(request.verbosity) as u64);
    }
    if !request.sandbox_dir.is_empty() {
        bytes_field(out, 6, request.sandbox_dir.as_bytes());
    }
    Ok(())
}

/// A request with the field `cancel` ends the one with the same id.
fn cancel_proto(out: &mut Vec<u8>, id: u64) {
    number_field(out, 3, id);
    number_field(out, 4, 1);
}

fn cancel_json(out: &mut Vec<u8>, id: u64) {
    let text = format!(r#"{{"arguments":[],"inputs":[],"requestId":{id},"cancel":true}}"#);
    out.extend_from_slice(text.as_bytes());
}

fn number_field(out: &mut Vec<u8>, field: u64, number: u64) {
    varint::write(out, field << 3);
    varint::write(out, number);
}

fn bytes_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint::write(out, field << 3 | 2);
    varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn read_json(message: &[u8]) -> Result<Message<'_>, String> {
    let Some(text) = object(message)? else { return Ok(Message::Nothing) };
    serde_json::from_str(text).map(reply).map_err(|error| describe(text, &error))
}

fn read_proto(message: &[u8]) -> Result<Message<'_>, String> {
    let mut response = WorkResponse::default();
    let mut rest = message;
    while !rest.is_empty() {
        let key = take_number(&mut rest)?;
        match key & 7 {
            0 => {
                let number = take_number(&mut rest)?;
                match key >> 3 {
                    // Protocol buffers use the low half for an int32.
                    1 => response.exit_code = number as i32,
                    3 => response.request_id = number & u64::from(u32::MAX),
                    4 => response.was_cancelled = number != 0,
                    _ => {}
                }
            }
            2 => {
                let len = usize::try_from(take_number(&mut rest)?).unwrap_or(usize::MAX);
                let bytes = take(&mut rest, len)?;
                if key >> 3 == 2 {
                    response.output = String::from_utf8_lossy(bytes).into_owned();
                }
            }
            1 => drop(take(&mut rest, 8)?),
            5 => drop(take(&mut rest, 4)?),
            _ => return Err("it is not a WorkResponse".into()),
        }
    }
    Ok(reply(response))
}

fn take_number(rest: &mut &[u8]) -> Result<u64, String> {
    match varint::read(rest) {
        // `len` is at most the length of `rest`.
        Ok(Some((number, len))) => {
            *rest = &rest[len..];
            Ok(number)
        }
        _ => Err("it is not a whole WorkResponse".into()),
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (bytes, after) =
        rest.split_at_checked(len).ok_or_else(|| "it is not a whole WorkResponse".to_owned())?;
    *rest = after;
    Ok(bytes)
}

fn reply(response: WorkResponse) -> Message<'static> {
    let WorkResponse { exit_code, output, request_id, was_cancelled } = response;
    // A struct of a number and a string can always be written as JSON.
    let json: Box<RawValue> =
        to_raw_value(&Outcome { exit_code, output: &output }).unwrap_or_default();
    let first = output.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let outcome = match (was_cancelled, exit_code) {
        (true, _) => Err((Kind::Cancelled, "the worker says that it was cancelled".to_owned())),
        (false, 0) => Ok(Body::Made(json.clone())),
        (false, code) if first.is_empty() => Err((Kind::Exit, format!("exit code {code}"))),
        (false, code) => Err((Kind::Exit, format!("exit code {code}: {first}"))),
    };
    let outcome = outcome
        .map_err(|(kind, message)| Failure { data: Some(json), ..Failure::new(kind, message) });
    // A worker that does one thing at a time may leave the id out.
    Message::Reply { id: Some(request_id).filter(|&id| id > 0), outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(envelope: &Envelope, args: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        (envelope.request)(&mut out, 300, &Job::new(1, r#""tsc""#, args, ""))?;
        Ok(out)
    }

    #[test]
    fn requests() {
        assert_eq!(sent(&BAZEL, r#"["-a"]"#).as_deref(), Ok(&b"\x0a\x02-a\x18\xac\x02"[..]));
        let args = r#"{"arguments":["x"],"inputs":[{"path":"p","digest":"AP8="}],"verbosity":-1}"#;
        let expected = [
            &b"\x0a\x01x\x12\x07\x0a\x01p\x12\x02\x00\xff\x18\xac\x02\x28"[..],
            &[0xff; 9],
            b"\x01",
        ];
        assert_eq!(sent(&BAZEL, args), Ok(expected.concat()));
        assert_eq!(
            sent(&JSON, r#"["-a"]"#).as_deref(),
            Ok(&br#"{"arguments":["-a"],"inputs":[],"requestId":300}"#[..])
        );
        for args in ["1", "[1]", r#"{"files":[]}"#] {
            assert!(sent(&BAZEL, args).expect_err(args).contains("array of strings"), "{args}");
        }
    }

    #[test]
    fn cancellations() {
        let cancelled = |envelope: &Envelope| {
            let mut out = Vec::new();
            envelope.cancel.expect("it has one")(&mut out, 300);
            out
        };
        assert_eq!(cancelled(&BAZEL), b"\x18\xac\x02\x20\x01");
        assert!(cancelled(&JSON).ends_with(br#""requestId":300,"cancel":true}"#));
    }

    #[test]
    fn replies() {
        let outcome = |envelope: &Envelope, message: &[u8]| match (envelope.read)(message) {
            Ok(Message::Reply { id, outcome: Ok(body) }) => {
                format!("{id:?} {}", body.value().to_json())
            }
            Ok(Message::Reply { id, outcome: Err(failure) }) => {
                format!("{id:?} {failure} {}", failure.data.as_ref().expect("data"))
            }
            other => format!("{other:?}"),
        };
        let ok = r#"None {"exit_code":0,"output":""}"#;
        assert_eq!(outcome(&BAZEL, b""), ok);
        assert_eq!(outcome(&JSON, b"{}"), ok);
        let failed = r#"Some(300) exit: exit code 1: no {"exit_code":1,"output":"\nno\n"}"#;
        assert_eq!(outcome(&BAZEL, b"\x08\x01\x12\x04\nno\n\x18\xac\x02"), failed);
        for json in [
            &br#"{"exitCode":1,"output":"\nno\n","requestId":300}"#[..],
            br#"{"exit_code":1,"output":"\nno\n","request_id":300}"#,
            b"\xef\xbb\xbf{\"exitCode\":1,\"output\":\"\\nno\\n\",\"requestId\":300}",
        ] {
            assert_eq!(outcome(&JSON, json), failed);
        }
        for garbage in [&b"\x12\x05ab"[..], b"\x08", b"\x0f", b"hello"] {
            assert!(outcome(&BAZEL, garbage).contains("WorkResponse"), "{garbage:?}");
        }
    }

    proptest! {
        #[test]
        fn a_response_comes_out_as_it_went_in(code in any::<i32>(), output in any::<String>()) {
            let mut message = Vec::new();
            number_field(&mut message, 1, i64::from(code) as u64);
            bytes_field(&mut message, 2, output.as_bytes());
            let Ok(Message::Reply { id: None, outcome }) = read_proto(&message) else {
                panic!("no reply");
            };
            let json = match outcome {
                Ok(body) => body.value().to_json(),
                Err(failure) => failure.data.expect("data"),
            };
            let value: serde_json::Value = serde_json::from_str(json.get()).expect("JSON");
            prop_assert_eq!(value, serde_json::json!({ "exit_code": code, "output": output }));
        }
    }
}
