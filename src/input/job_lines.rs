//! Job lines: `{"cmd":"resize","args":["a.png"],"id":"j1"}` or `resize ["a.png"]`. Owns the keys that a
//! job may have, and the messages about lines that are no jobs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::Init;
use crate::protocol::Protocol;
use crate::util::duration::parse_duration;
use crate::util::json::{error_text, on_one_line};
use crate::util::scan::ObjectScanner;

/// The fields of a job line. The texts are JSON.
#[derive(Debug, PartialEq)]
pub struct Fields<'a> {
    /// The command, a string.
    pub cmd: Cow<'a, str>,
    /// The args, any value, without line breaks.
    pub args: Cow<'a, str>,
    /// The id, a string or a number. Empty: there is none.
    pub id: &'a str,
    /// How long the job may take.
    pub timeout: Option<Duration>,
    /// How often the job may be tried again.
    pub retries: Option<u32>,
    /// The name of its worker.
    pub worker: Option<Cow<'a, str>>,
}

/// Why a line is no job.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The problem, and how to solve it.
    pub message: String,
    /// Where, in bytes from 1.
    pub column: Option<usize>,
    /// Its id, as JSON. Empty: it has none.
    pub id: String,
}

impl Invalid {
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), column: Some(column), id: String::new() }
    }

    /// The whole line is wrong.
    pub(crate) fn of_line(message: impl Into<String>) -> Self {
        Self { message: message.into(), column: None, id: String::new() }
    }

    /// The whole message; `place` names the line.
    pub(crate) fn describe(&self, place: &str) -> String {
        match self.column {
            Some(column) => format!("{place}, column {column}: {}", self.message),
            None if place.is_empty() => self.message.clone(),
            None => format!("{place}: {}", self.message),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    cmd: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    args: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    timeout: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    retries: Option<&'a RawValue>,
    #[serde(default, borrow)]
    worker: Option<Cow<'a, str>>,
}

/// A key that is present has a value, even if that is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads a job line. `Ok(None)`: it is blank or a comment.
///
/// # Errors
/// Why it is no job.
pub fn parse(line: &[u8]) -> Result<Option<Fields<'_>>, Invalid> {
    if let Some(fields) = usual(line).and_then(UsualLine::fields) {
        return Ok(Some(fields));
    }
    let text = utf8(line)?;
    let trimmed = text.trim_ascii_start();
    let indent = text.len() - trimmed.len();
    match trimmed.as_bytes().first() {
        None | Some(b'#') => Ok(None),
        Some(b'{') => object(text).map(Some),
        Some(b'[' | b'"') => Err(Invalid::new(
            indent + 1,
            "a job is an object, {\"cmd\":\"resize\",\"args\":[\"a.png\"]}, or a command and its \
             args, resize [\"a.png\"]",
        )),
        Some(_) => words(trimmed.trim_ascii_end(), indent).map(Some),
    }
}

/// The texts of a job line in the usual shape: an object with nothing but a command, args and an id.
#[derive(Clone, Copy, Debug)]
pub struct UsualLine<'a> {
    /// A string in JSON.
    pub cmd: &'a [u8],
    /// JSON without line breaks.
    pub args: &'a [u8],
    /// A string or a number in JSON. Empty: there is none.
    pub id: &'a [u8],
}

impl<'a> UsualLine<'a> {
    fn fields(self) -> Option<Fields<'a>> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(Fields {
            cmd: Cow::Borrowed(text(self.cmd)?),
            args: Cow::Borrowed(text(self.args)?),
            id: text(self.id)?,
            timeout: None,
            retries: None,
            worker: None,
        })
    }
}

/// Reads a job line in the usual shape. `None`: [`parse`] must look at it.
pub fn usual(line: &[u8]) -> Option<UsualLine<'_>> {
    let mut scanner = ObjectScanner::new(line);
    let (mut cmd, mut args, mut id) = (None, None, None);
    let mut is_first = true;
    while scanner.takes(if is_first { b"{" } else { b"," }) {
        is_first = false;
        let field = if scanner.takes(b"\"cmd\"") {
            &mut cmd
        } else if scanner.takes(b"\"args\"") {
            &mut args
        } else if scanner.takes(b"\"id\"") {
            &mut id
        } else {
            return None;
        };
        if field.replace(scanner.member()?).is_some() {
            return None;
        }
    }
    let is_id = |id: &[u8]| matches!(id[0], b'"' | b'-' | b'0'..=b'9');
    let cmd = cmd.filter(|cmd: &&[u8]| cmd[0] == b'"')?;
    let is_usual = id.is_none_or(is_id) && scanner.ends();
    is_usual.then_some(UsualLine { cmd, args: args.unwrap_or(b"[]"), id: id.unwrap_or(b"") })
}

/// The line as text.
pub(crate) fn utf8(line: &[u8]) -> Result<&str, Invalid> {
    std::str::from_utf8(line).map_err(|error| {
        // The byte at this index is not UTF-8, so there is one.
        let at = error.valid_up_to();
        Invalid::new(
            at + 1,
            format!("the byte 0x{:02x} is not UTF-8: JSON must be UTF-8", line[at]),
        )
    })
}

fn object(text: &str) -> Result<Fields<'_>, Invalid> {
    fields(text).map_err(|mut invalid| {
        invalid.id = named_id(text);
        invalid
    })
}

fn fields(text: &str) -> Result<Fields<'_>, Invalid> {
    let object: Object<'_> =
        serde_json::from_str(text).map_err(|error| not_an_object(text, &error))?;
    let cmd = object.cmd.ok_or_else(|| {
        Invalid::new(1, "the key `cmd` is missing: a job needs a command, {\"cmd\":\"resize\"}")
    })?;
    let at = |value: &RawValue| column(text, value);
    if !cmd.get().starts_with('"') {
        return Err(Invalid::new(at(cmd), "`cmd` must be a string"));
    }
    if let Some(id) = object.id.filter(|id| !is_id(id)) {
        return Err(Invalid::new(at(id), "`id` must be a string or a number"));
    }
    Ok(Fields {
        cmd: Cow::Borrowed(cmd.get()),
        args: object.args.map_or(Cow::Borrowed("[]"), |args| on_one_line(args.get())),
        id: object.id.map_or("", RawValue::get),
        timeout: object.timeout.map(|value| timeout(value, at(value))).transpose()?,
        retries: object.retries.map(|value| retries(value, at(value))).transpose()?,
        worker: object.worker,
    })
}

/// Where in the line a value begins, from 1.
fn column(text: &str, value: &RawValue) -> usize {
    // The value borrows from the line.
    (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + 1
}

fn is_id(value: &RawValue) -> bool {
    value.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// The id of an object that is not a job.
fn named_id(text: &str) -> String {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    match serde_json::from_str::<Named<'_>>(text) {
        Ok(named) if is_id(named.id) => named.id.get().to_owned(),
        _ => String::new(),
    }
}

fn timeout(value: &RawValue, column: usize) -> Result<Duration, Invalid> {
    let text = serde_json::from_str::<Cow<'_, str>>(value.get());
    match parse_duration(text.as_deref().unwrap_or(value.get())) {
        Ok(Duration::ZERO) => Ok(Duration::MAX),
        Ok(timeout) => Ok(timeout),
        Err(expected) => Err(Invalid::new(column, format!("`timeout`: {expected}"))),
    }
}

fn retries(value: &RawValue, column: usize) -> Result<u32, Invalid> {
    serde_json::from_str(value.get())
        .map_err(|_| Invalid::new(column, "`retries` must be a whole number, 0 or more"))
}

fn words(text: &str, indent: usize) -> Result<Fields<'_>, Invalid> {
    let (word, rest) = match text.split_once(|c: char| c.is_ascii_whitespace()) {
        Some((word, rest)) => (word, rest.trim_ascii_start()),
        None => (text, ""),
    };
    if let Some(at) = word.find(|c: char| c.is_control()) {
        return Err(Invalid::new(indent + at + 1, "a command has no control characters"));
    }
    let args_at = indent + text.len() - rest.len();
    let args = match rest {
        "" => Cow::Borrowed("[]"),
        _ => match serde_json::from_str::<&RawValue>(rest) {
            Ok(args) => on_one_line(args.get()),
            Err(error) => {
                return Err(Invalid::new(
                    args_at + error_column(rest, &error),
                    format!(
                        "the text after the command '{word}' is not JSON ({}); write its args \
                         as JSON: {word} [\"a.png\"]",
                        error_text(&error)
                    ),
                ));
            }
        },
    };
    let cmd = serde_json::to_string(word).unwrap_or_default();
    Ok(Fields { cmd: Cow::Owned(cmd), args, id: "", timeout: None, retries: None, worker: None })
}

fn not_an_object(text: &str, error: &serde_json::Error) -> Invalid {
    let what = error_text(error);
    let message = match what.strip_prefix("unknown field ") {
        Some(unknown) => {
            let key = unknown.split(", expected").next().unwrap_or(unknown);
            format!("the key {key} is unknown; known are cmd, args, id, timeout, retries, worker")
        }
        None if what.starts_with("duplicate field") => {
            what.replace("duplicate field", "there are two keys")
        }
        None => format!("it is not JSON: {what}"),
    };
    Invalid::new(error_column(text, error), message)
}

/// Where an error is in a JSON text, in bytes from 1. The text may have newlines if lines end with another
/// byte, and the parser counts columns from the last newline.
pub(crate) fn error_column(text: &str, error: &serde_json::Error) -> usize {
    let before = error.line().checked_sub(2);
    let newline = before.and_then(|nth| memchr::memchr_iter(b'\n', text.as_bytes()).nth(nth));
    (newline.map_or(0, |at| at + 1) + error.column()).max(1)
}

/// Reads a line that each fresh worker is sent: a job line or, with the protocol `raw`, the message
/// itself. `has_reply` says whether the worker answers it.
///
/// # Errors
/// The line is no job line, or the protocol can't send it.
pub fn parse_init(line: &str, has_reply: bool, protocol: &Protocol) -> Result<Init, InitError> {
    let texts = if protocol.is_raw() {
        None
    } else {
        let fields = parse(line.as_bytes()).map_err(|invalid| InitError::NoJob(invalid.message))?;
        let fields = fields.ok_or(InitError::Empty)?;
        Some((fields.cmd.into_owned(), fields.args.into_owned()))
    };
    let init = Init { line: line.to_owned(), texts, has_reply };
    check_sendable(&init, protocol).map_err(InitError::NotSendable)?;
    Ok(init)
}

/// Encodes a line to try it: a line that can't be sent now can never be sent.
fn check_sendable(init: &Init, protocol: &Protocol) -> Result<(), String> {
    let mut out = Vec::new();
    if init.has_reply {
        return protocol.write(&mut out, 1, &init.job());
    }
    protocol.notice()?(&mut out, &init.job())?;
    (protocol.framing.seal)(&mut out, 0)
}

/// Why a line can't be sent to fresh workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitError {
    /// It is not a job line. The text says why.
    NoJob(String),
    /// It is blank or a comment.
    Empty,
    /// The protocol can't send it. The text says why.
    NotSendable(String),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJob(reason) | Self::NotSendable(reason) => f.write_str(reason),
            Self::Empty => {
                f.write_str("it is empty, and should be a job line such as initialize {}")
            }
        }
    }
}

impl std::error::Error for InitError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::nearly::nearly_object;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn invalid(line: &str) -> (usize, String) {
        let invalid = parse(line.as_bytes()).expect_err(line);
        (invalid.column.expect("a column"), invalid.message)
    }

    #[test]
    fn both_forms() {
        let fields = parse(br#" {"args": ["a.png", {"w": 100}], "cmd": "resize", "id": "j1"} "#);
        let fields = fields.expect("valid").expect("a job");
        assert_eq!(
            (&*fields.cmd, &*fields.args, fields.id),
            (r#""resize""#, r#"["a.png", {"w": 100}]"#, r#""j1""#)
        );
        let fields = parse(b"  resize\t[\"a.png\"]  \r").expect("valid").expect("a job");
        assert_eq!((&*fields.cmd, &*fields.args, fields.id), (r#""resize""#, r#"["a.png"]"#, ""));
        let fields = parse("größe".as_bytes()).expect("valid").expect("a job");
        assert_eq!((&*fields.cmd, &*fields.args), ("\"größe\"", "[]"));
    }

    #[test]
    fn blank_lines_and_comments_are_none() {
        for line in ["", "  ", "\r", "# resize", "  # resize"] {
            assert_eq!(parse(line.as_bytes()), Ok(None), "{line}");
        }
    }

    #[test]
    fn overrides() {
        for (timeout, expected) in
            [("2", 2000), ("0.5", 500), (r#""1m30s""#, 90_000), (r#""500ms""#, 500)]
        {
            let line = format!(r#"{{"cmd":"a","timeout":{timeout},"retries":3}}"#);
            let fields = parse(line.as_bytes()).expect("valid").expect("a job");
            assert_eq!(fields.timeout, Some(Duration::from_millis(expected)));
            assert_eq!(fields.retries, Some(3));
        }
    }

    #[test]
    fn errors_name_the_column_and_the_remedy() {
        for (line, column, part) in [
            (r#"{"cmd":"a""#, 10, "EOF"),
            (r#"{"cmd":"a","colour":1}"#, 19, "`colour` is unknown; known are cmd, args, id"),
            (r#"{"args":[]}"#, 1, "`cmd` is missing"),
            (r#"{"cmd":null}"#, 8, "`cmd` must be a string"),
            (r#"{"cmd": 1}"#, 9, "`cmd` must be a string"),
            (r#"{"cmd":"a","id":[1]}"#, 17, "`id` must be"),
            (r#"{"cmd":"a","timeout":"soon"}"#, 22, "500ms"),
            (r#"{"cmd":"a","retries":-1}"#, 22, "whole number"),
            (r#"{"cmd":"a","cmd":"b"}"#, 16, "two keys `cmd`"),
            (r#"{"cmd":"a"} x"#, 13, "trailing"),
            ("resize a.png", 8, "'resize' is not JSON"),
            ("  resize [1,]", 13, "'resize' is not JSON"),
            ("resize [1,\n 2,\n]", 16, "'resize' is not JSON"),
            ("{\"cmd\":\"a\",\n", 12, "EOF"),
            (r#"["resize"]"#, 1, "a job is an object"),
            ("re\0size", 3, "control"),
        ] {
            let (at, message) = invalid(line);
            assert!(message.contains(part), "{line}: {message}");
            assert_eq!(at, column, "{line}: {message}");
        }
        let invalid = parse(b"{\"cmd\":\"\xff\"}").expect_err("bytes");
        assert_eq!(invalid.column, Some(9));
        assert!(invalid.message.contains("0xff"));
    }

    #[test]
    fn an_invalid_job_keeps_its_id() {
        for (line, id) in [
            (r#"{"id":"j1","cmd":1}"#, r#""j1""#),
            (r#"{"id":7}"#, "7"),
            (r#"{"id":[7],"cmd":"a"}"#, ""),
            (r#"{"id":7,"cmd":"#, ""),
        ] {
            assert_eq!(parse(line.as_bytes()).expect_err(line).id, id, "{line}");
        }
    }

    #[test]
    fn line_breaks_in_args_are_smoothed() {
        let fields = parse(b"{\"cmd\":\"a\",\n\"args\":[1,\n2]}").expect("valid").expect("a job");
        assert_eq!(fields.args, "[1, 2]");
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Pieces of job lines.
    const PIECES: &[&str] = &[
        "{",
        "}",
        ",",
        ":",
        " ",
        "\"cmd\":\"a\"",
        "\"cmd\": 1",
        "\"args\":[1,{}]",
        "\"args\" : \"é\"",
        "\"id\":-1.5e3",
        "\"id\":\"\\\"\"",
        "\"id\":null",
        "\"timeout\":1",
        "\r",
        "\t",
        "[",
        "\\u00e9",
        "\u{1}",
    ];

    proptest! {
        #[test]
        fn a_usual_line_is_what_the_parser_finds(line in nearly_object(PIECES)) {
            if let Some(UsualLine { cmd, args, id }) = usual(line.as_bytes()) {
                let fields = parse(line.as_bytes()).expect(&line).expect(&line);
                prop_assert_eq!((cmd, args), (fields.cmd.as_bytes(), fields.args.as_bytes()));
                prop_assert_eq!(id, fields.id.as_bytes());
                prop_assert!(fields.timeout.is_none() && fields.worker.is_none());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_said_is_read(cmd in any::<String>(), args in json_value(), id in any::<String>()) {
            let line = json!({"cmd": cmd, "args": args, "id": id}).to_string();
            let fields = parse(line.as_bytes()).expect("valid").expect("a job");
            let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            prop_assert_eq!(read(&fields.cmd), Value::from(cmd));
            prop_assert_eq!(read(&fields.args), args);
            prop_assert_eq!(read(fields.id), Value::from(id));
        }

        #[test]
        fn the_text_form_is_the_object_form(cmd in "[a-z][a-z0-9./_-]{0,10}", args in json_value()) {
            let line = format!("{cmd} {args}");
            let fields = parse(line.as_bytes()).expect("valid").expect("a job");
            prop_assert_eq!(fields.cmd, format!("{cmd:?}"));
            prop_assert_eq!(fields.args, args.to_string());
        }
    }
}
