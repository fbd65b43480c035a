//! The envelope `procpool`: `{"id":17,"cmd":"resize","args":["a.png"]}` and
//! `{"id":17,"result":…}` or `{"id":17,"error":…}`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Body, Bulk, Envelope, Message, describe, failure, number, object, present};
use crate::job::Job;
use crate::util::counted::CountedText;
use crate::util::json::Json;
use crate::util::scan::{ObjectScanner, whole_number};

/// The envelope of workers that were written for procpool.
pub static PROCPOOL: Envelope =
    Envelope { request, notice: None, read, cancel: None, only_replies: true, bulk: Some(&BULK) };

static BULK: Bulk = Bulk { requests, results };

fn request(out: &mut Vec<u8>, id: u64, job: &Job) -> Result<(), String> {
    out.extend_from_slice(b"{\"id\":");
    number(out, id);
    out.extend_from_slice(b",\"cmd\":");
    out.extend_from_slice(job.cmd());
    out.extend_from_slice(b",\"args\":");
    out.extend_from_slice(job.args());
    out.push(b'}');
    Ok(())
}

/// Appends a request for each job of a bundle, as [`Bulk::requests`] says.
fn requests(out: &mut Vec<u8>, id: u64, bundle: &Job, ends: &mut Vec<usize>) {
    let mut head = CountedText::new(b"{\"id\":", id, b"");
    let mut last = &b""[..];
    for [cmd, args, _] in bundle.texts(0) {
        // Most jobs have the command of the job before them.
        if cmd != last {
            last = cmd;
            head.set_after(&[b",\"cmd\":", cmd, b",\"args\":"]);
        }
        out.extend_from_slice(head.bytes());
        out.extend_from_slice(args);
        out.extend_from_slice(b"}\n");
        ends.push(out.len());
        head.increment();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerReply<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// The messages that are no reply: a part of a result, and what the worker can do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerNews<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default, borrow, deserialize_with = "present")]
    part: Option<&'a RawValue>,
    /// An empty list: the result comes in parts, and there may be none. Only procpool's own workers say so.
    #[serde(default)]
    parts: Option<[(); 0]>,
    #[serde(default)]
    concurrent: Option<bool>,
}

pub(super) fn read(message: &[u8]) -> Result<Message<'_>, String> {
    usual(message).map_or_else(|| parse(message), Ok)
}

/// Reads any reply.
fn parse(message: &[u8]) -> Result<Message<'_>, String> {
    let Some(text) = object(message)? else { return Ok(Message::Nothing) };
    let wire: WorkerReply<'_> = match serde_json::from_str(text) {
        Ok(wire) => wire,
        Err(error) => return news(text).ok_or_else(|| describe(text, &error)),
    };
    let is_null = |value: &RawValue| value.get() == "null";
    let outcome = match (wire.result, wire.error) {
        // Some libraries always write both, with `null` for the one that is missing.
        (Some(result), Some(error)) if is_null(error) => Ok(Body::of(result)),
        (Some(result), Some(error)) if is_null(result) => Err(failure(error)),
        (Some(result), None) => Ok(Body::of(result)),
        (None, Some(error)) => Err(failure(error)),
        (Some(_), Some(_)) => return Err("it has both a result and an error".into()),
        (None, None) => return Err("it has neither a result nor an error".into()),
    };
    Ok(Message::Reply { id: wire.id, outcome })
}

/// Reads a message that is no reply. They are rare, so they are looked for last.
fn news(text: &str) -> Option<Message<'_>> {
    match serde_json::from_str(text).ok()? {
        WorkerNews { id, part: Some(part), parts: None, concurrent: None } => {
            Some(Message::Part { id, part: Some(Body::of(part)) })
        }
        WorkerNews { id, part: None, parts: Some([]), concurrent: None } => {
            Some(Message::Part { id, part: None })
        }
        WorkerNews { id: None, part: None, parts: None, concurrent: Some(works) } => {
            Some(if works { Message::Concurrent } else { Message::Nothing })
        }
        _ => None,
    }
}

/// Reads a reply in the usual shape: an id or none, and a result. `None`: [`parse`] must look at it.
fn usual(message: &[u8]) -> Option<Message<'_>> {
    let mut scanner = ObjectScanner::new(message);
    let mut id = None;
    if !scanner.takes(b"{") {
        return None;
    }
    if scanner.takes(b"\"id\"") {
        id = Some(whole_number(scanner.member()?)?);
        if !scanner.takes(b",") {
            return None;
        }
    }
    let result = if scanner.takes(b"\"result\"") { scanner.member()? } else { return None };
    let outcome = Ok(Body::Json(Json::checked(result)));
    scanner.ends().then_some(Message::Reply { id, outcome })
}

/// Reads results, as [`Bulk::results`] says.
pub(super) fn results<'a>(
    bytes: &'a [u8],
    id: u64,
    longest: usize,
    values: &mut [Json<'a>],
) -> (usize, usize) {
    let mut head = CountedText::new(b"{\"id\":", id, b",\"result\":");
    let (mut count, mut len) = (0, 0);
    for value in values {
        let line = &bytes[len..];
        let Some((result, end)) = result(line, &head).filter(|(_, end)| *end <= longest) else {
            break;
        };
        *value = Json::checked(result);
        count += 1;
        len += end + 1;
        head.increment();
    }
    (count, len)
}

/// Reads a result that is a line at the beginning of some bytes. Most begin with `head`; some programs write blanks.
/// Returns also where the line ends.
fn result<'a>(bytes: &'a [u8], head: &CountedText) -> Option<(&'a [u8], usize)> {
    let mut scanner = if bytes.starts_with(head.bytes()) {
        ObjectScanner::after(bytes, head.bytes().len())
    } else {
        let mut scanner = ObjectScanner::new(bytes);
        let is_next = scanner.takes(b"{")
            && scanner.takes(b"\"id\"")
            && scanner.takes(b":")
            && scanner.takes_text(head.digits())
            && scanner.takes(b",")
            && scanner.takes(b"\"result\"")
            && scanner.takes(b":");
        is_next.then_some(scanner)?
    };
    Some((scanner.value()?, scanner.line_end(b'\n')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::nearly::nearly_object;
    use proptest::prelude::*;

    fn outcome(text: &str) -> Result<String, String> {
        Ok(match read(text.as_bytes())? {
            Message::Reply { id, outcome: Ok(body) } => {
                format!("{id:?} ok {}", body.value().to_json())
            }
            Message::Reply { id, outcome: Err(failure) } => {
                format!("{id:?} error {}", failure.data.expect("data"))
            }
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn a_request_is_one_object() {
        let mut out = Vec::new();
        let job = Job::new(1, r#""resize""#, r#"["a.png"]"#, "");
        request(&mut out, 17, &job).expect("a request");
        assert_eq!(out, br#"{"id":17,"cmd":"resize","args":["a.png"]}"#);
    }

    #[test]
    fn replies() {
        for (text, expected) in [
            (r#"{"id":1,"result":[1, 2]}"#, "Some(1) ok [1, 2]"),
            (r#"{"result":null}"#, "None ok null"),
            (r#" { "error" : "no" , "id" : 3 } "#, r#"Some(3) error "no""#),
            (r#"{"error":null}"#, "None error null"),
            (r#"{"id":2,"result":1,"error":null}"#, "Some(2) ok 1"),
            (r#"{"error": null, "result": [null]}"#, "None ok [null]"),
            (r#"{"result":null,"error":null}"#, "None ok null"),
            (r#"{"result":null,"error":"no"}"#, r#"None error "no""#),
            ("\u{feff}{\"result\":1}", "None ok 1"),
            (" \u{feff} {\"result\":1}", "None ok 1"),
            ("\u{feff}", "Nothing"),
            (r#"{"id":null,"result":1}"#, "None ok 1"),
            // Framings other than `line` allow line breaks.
            ("{\"result\":{\n\"a\": 1\r\n}\n}", r#"None ok { "a": 1  }"#),
            ("{\"error\":[\n]}", "None error [ ]"),
            (" \r", "Nothing"),
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
            (r#"{"result":[1,NaN]}"#, "NaN, which is no JSON, at column 14"),
            (r#"{"result":-Infinity}"#, "-Infinity, which is no JSON, at column 11"),
            (r#"{"result":None}"#, "None, which is Python's word for null, at column 11"),
            ("{'result': 1}", "quotes of Python, not of JSON, at column 2"),
        ] {
            let error = outcome(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(read(b"{\"result\":\"\xff\"}").expect_err("bytes").contains("UTF-8"));
    }

    /// Pieces of replies.
    const PIECES: &[&str] = &[
        "{",
        "}",
        ",",
        ":",
        " ",
        "\"id\":1",
        "\"id\": 18446744073709551616",
        "\"id\":-0",
        "\"id\":007",
        "\"id\":1e2",
        "\"id\":null",
        "\"result\":[1,{}]",
        "\"result\" : \"é\"",
        "\"result\":null",
        "\"error\":null",
        "\"error\":1",
        "\n",
    ];

    proptest! {
        #[test]
        fn a_usual_reply_is_what_the_parser_finds(text in nearly_object(PIECES)) {
            let words = |message| match message {
                Message::Reply { id, outcome: Ok(body) } => format!("{id:?} {:?}", body.value()),
                other => format!("{other:?}"),
            };
            if let Some(usual) = usual(text.as_bytes()) {
                prop_assert_eq!(words(usual), words(parse(text.as_bytes()).expect(&text)));
            }
        }

        #[test]
        fn a_cut_reply_is_none(cut in 1_usize..27) {
            let whole = br#"{"id":1,"result":{"a":"b"}}"#;
            prop_assert!(read(&whole[..cut]).is_err());
        }
    }
}
