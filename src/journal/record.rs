//! A record: the line of a journal with the outcome of a job. Each begins with exactly
//! `{"key":"…","nth":1,"ok":true,`, so that a journal can be searched without being parsed. A part that
//! may be large comes last, so that it can be read piece by piece.

use std::io::{self, BufRead, Write};
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::job::key::{Digest128, Key};
use crate::job::printed::{Capture, Printed, Spool};
use crate::job::{Done, Job, Run, Sink, Value};
use crate::util::json::{Json, base64, on_one_line};
use crate::util::names::intern;

/// The first bytes of each record.
pub(super) const BEGIN: &[u8] = b"{\"key\":\"";

/// The last parts that the record of a job that has succeeded may have.
const BODIES: [(&[u8], BodyForm); 5] = [
    (b",\"result\":", BodyForm::Json),
    (b",\"result_text\":", BodyForm::Text),
    (b",\"message\":", BodyForm::Message),
    (b",\"message_base64\":", BodyForm::Base64),
    (b",\"printed\":", BodyForm::Printed),
];

/// How a result is written.
#[derive(Clone, Copy)]
enum BodyForm {
    /// JSON, unchanged.
    Json,
    /// JSON that has line breaks, as a string.
    Text,
    /// The reply of a worker that speaks no JSON, as a string.
    Message,
    /// Such a reply that is not UTF-8.
    Base64,
    /// The output of a command.
    Printed,
}

/// Writes the record of a job that has a key.
///
/// # Errors
/// `out` returns an error, or the output of a command can't be read back.
pub(super) fn write(done: &Done<'_>, key: Key, out: &mut impl Write) -> io::Result<()> {
    begin(key, done.outcome.is_ok(), done.job.attempt(), out)?;
    if let Some(id) = done.job.id() {
        out.write_all(b",\"id\":")?;
        out.write_all(id)?;
    }
    if let Some(Run { slot, pid, start, seconds, host, .. }) = done.run {
        write!(out, ",\"slot\":{slot},\"pid\":{pid},\"start\":{start:?},\"seconds\":{seconds:?}")?;
        if let Some(host) = host {
            out.write_all(b",\"host\":")?;
            serde_json::to_writer(&mut *out, host)?;
        }
    }
    if let Err(failure) = done.outcome {
        write!(out, ",\"error\":{{\"kind\":\"{}\",\"message\":", failure.kind)?;
        serde_json::to_writer(&mut *out, &failure.message)?;
        if let Some(data) = &failure.data {
            write!(out, ",\"data\":{}", on_one_line(data.get()))?;
        }
        out.write_all(b"}")?;
    }
    if let Some(printed) = done.printed {
        out.write_all(b",\"printed\":")?;
        printed.json(out)?;
    } else if let Ok(value) = done.outcome {
        write_value(value, out)?;
    }
    out.write_all(b"}\n")
}

fn begin(key: Key, is_ok: bool, attempt: u32, out: &mut impl Write) -> io::Result<()> {
    out.write_all(BEGIN)?;
    for byte in key.digest.0 {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        out.write_all(&[digit(byte >> 4), digit(byte & 15)])?;
    }
    write!(out, "\",\"nth\":{},\"ok\":{is_ok},\"attempt\":{attempt}", key.nth)
}

/// The record of the limit for packing: the most bytes of lines in a job. It has the form of a record of a
/// failed job, so that an older procpool ignores it.
pub(super) fn pack_line(digest: Digest128, most: usize) -> Vec<u8> {
    let mut line = Vec::new();
    // A Vec takes all that is written to it.
    let _ = begin(Key { digest, nth: NonZeroU32::MIN }, false, 1, &mut line);
    let _ = writeln!(line, ",\"pack\":{most}}}");
    line
}

/// Reads the number out of a record of [`pack_line`].
pub(super) fn pack(line: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct PackRecord {
        pack: usize,
    }
    serde_json::from_slice::<PackRecord>(line).ok().map(|record| record.pack)
}

fn write_value(value: Value<'_>, out: &mut impl Write) -> io::Result<()> {
    match value {
        Value::Json(json) | Value::Shown(json)
            if memchr::memchr2(b'\n', b'\r', json.bytes()).is_some() =>
        {
            out.write_all(b",\"result_text\":")?;
            Ok(serde_json::to_writer(out, json.get())?)
        }
        Value::Json(json) | Value::Shown(json) => {
            out.write_all(b",\"result\":")?;
            out.write_all(json.bytes())
        }
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.write_all(b",\"message\":")?;
                Ok(serde_json::to_writer(out, text)?)
            }
            Err(_) => write!(out, ",\"message_base64\":\"{}\"", base64(bytes)),
        },
    }
}

/// Reads the beginning of a record: the key, and whether the job has succeeded.
pub(super) fn key(line: &[u8]) -> Option<(Key, bool)> {
    let (hex, rest) = line.strip_prefix(BEGIN)?.split_at_checked(32)?;
    let mut digest = [0; 16];
    for (byte, digits) in digest.iter_mut().zip(hex.chunks(2)) {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = value(digits[0])? << 4 | value(digits[1])?;
    }
    let rest = rest.strip_prefix(b"\",\"nth\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let nth: NonZeroU32 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let rest = rest[digits..].strip_prefix(b",\"ok\":")?;
    let is_ok = match rest {
        _ if rest.starts_with(b"true,") => true,
        _ if rest.starts_with(b"false,") => false,
        _ => return None,
    };
    Some((Key { digest: Digest128(digest), nth }, is_ok))
}

/// The fields of a record before its body.
#[derive(Debug, Deserialize)]
struct RecordHead {
    attempt: u32,
    slot: Option<usize>,
    pid: Option<u32>,
    start: Option<f64>,
    seconds: Option<f64>,
    host: Option<String>,
}

impl RecordHead {
    fn run(&self) -> Option<Run> {
        let Self { attempt, slot, pid, start, seconds, .. } = *self;
        let host = self.host.as_deref().map(intern);
        Some(Run { slot: slot?, pid: pid?, attempt, start: start?, seconds: seconds?, host })
    }
}

/// The result of a job in an earlier run.
#[derive(Debug)]
pub struct Recorded {
    attempt: u32,
    run: Option<Run>,
    result: Recollection,
}

#[derive(Debug)]
enum Recollection {
    Json(Box<RawValue>),
    Bytes(Vec<u8>),
    Printed(Arc<Printed>),
}

impl Recorded {
    /// Reads the record of a job that has succeeded.
    ///
    /// # Errors
    /// It can't be read, or is no record.
    pub(super) fn read(from: &mut impl Lookahead, spool: &Arc<Spool>) -> io::Result<Self> {
        if let Some((at, len, BodyForm::Printed)) = body(from.look()?) {
            let head = head(&from.look()?[..at])?;
            from.consume(at + len);
            return Self::printed(&head, from, spool);
        }
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        let (at, len, kind) = body(&line).ok_or_else(damaged)?;
        let head = head(&line[..at])?;
        let mut rest = &line[at + len..];
        let text = rest.strip_suffix(b"}\n").ok_or_else(damaged);
        let result = match kind {
            BodyForm::Json => Recollection::Json(serde_json::from_slice(text?)?),
            BodyForm::Text => {
                let text: String = serde_json::from_slice(text?)?;
                Recollection::Json(RawValue::from_string(text)?)
            }
            BodyForm::Message => {
                Recollection::Bytes(serde_json::from_slice::<String>(text?)?.into_bytes())
            }
            BodyForm::Base64 => {
                let text: &str = serde_json::from_slice(text?)?;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Recollection::Bytes(bytes.map_err(|_| damaged())?)
            }
            BodyForm::Printed => return Self::printed(&head, &mut rest, spool),
        };
        Ok(Self { attempt: head.attempt, run: head.run(), result })
    }

    fn printed(head: &RecordHead, from: &mut impl BufRead, spool: &Arc<Spool>) -> io::Result<Self> {
        expect(from, b"{\"exit\":")?;
        let exit = exit_status(from)?;
        expect(from, b"\"stdout")?;
        let stdout = stream(from, spool)?;
        expect(from, b",\"stderr")?;
        let stderr = stream(from, spool)?;
        expect(from, b"}}\n")?;
        let printed = Printed { exit: Some(exit), signal: None, stdout, stderr };
        let result = Recollection::Printed(Arc::new(printed));
        Ok(Self { attempt: head.attempt, run: head.run(), result })
    }

    /// Delivers it to a sink as the result of the job.
    pub fn deliver(&self, mut job: Job, sink: &dyn Sink) {
        job.attempt = self.attempt;
        job.is_recorded = true;
        let (value, printed) = match &self.result {
            Recollection::Json(json) => (Value::Json(Json::of(json)), None),
            Recollection::Bytes(bytes) => (Value::Bytes(bytes), None),
            Recollection::Printed(printed) => (Value::NULL, Some(printed)),
        };
        sink.deliver(&Done {
            job: &job,
            outcome: Ok(value),
            printed,
            run: self.run,
            unproven: None,
        });
    }
}

/// A reader that shows the bytes that come next before they are consumed.
pub(super) trait Lookahead: BufRead {
    /// The bytes that come next: to the end of the line, or as many as the buffer holds.
    fn look(&mut self) -> io::Result<&[u8]>;
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record is damaged")
}

/// Finds the body of a record: where it begins, how long its name is, and its form. No text before it
/// can be mistaken for it, since quotes in a string have a backslash.
fn body(text: &[u8]) -> Option<(usize, usize, BodyForm)> {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    let found = BODIES.iter().filter_map(|&(name, body)| {
        let at = memchr::memmem::find(line, name)?;
        Some((at, name.len(), body))
    });
    found.min_by_key(|&(at, ..)| at)
}

fn head(text: &[u8]) -> io::Result<RecordHead> {
    Ok(serde_json::from_slice(&[text, b"}"].concat())?)
}

fn expect(from: &mut impl BufRead, text: &[u8]) -> io::Result<()> {
    let mut seen = [0; 20];
    let seen = &mut seen[..text.len()];
    from.read_exact(seen)?;
    if seen == text { Ok(()) } else { Err(damaged()) }
}

/// Reads the exit status of a success, and the comma after it. It may be another one than 0.
fn exit_status(from: &mut impl BufRead) -> io::Result<i32> {
    let mut digits = Vec::new();
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        match byte {
            [b','] => break,
            [digit] if digit.is_ascii_digit() && digits.len() < 3 => digits.push(digit),
            _ => return Err(damaged()),
        }
    }
    let text = std::str::from_utf8(&digits).unwrap_or_default();
    text.parse().map_err(|_| damaged())
}

/// Reads the value after the name of a stream, piece by piece: it may be large.
fn stream(from: &mut impl BufRead, spool: &Arc<Spool>) -> io::Result<Capture> {
    let mut capture = Capture::new(spool);
    let mut quote = [0; 3];
    from.read_exact(&mut quote)?;
    match &quote {
        b"\":\"" => unescape(from, &mut capture)?,
        b"_ba" => {
            expect(from, b"se64\":\"")?;
            decode(from, &mut capture)?;
        }
        _ => return Err(damaged()),
    }
    capture.finish()?;
    Ok(capture)
}

/// Reads the rest of a JSON string that `serde_json` has written.
fn unescape(from: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Err(damaged());
        }
        let Some(at) = memchr::memchr2(b'"', b'\\', buffer) else {
            let len = buffer.len();
            out.write_all(text(buffer)?)?;
            from.consume(len);
            continue;
        };
        out.write_all(text(&buffer[..at])?)?;
        let is_end = buffer[at] == b'"';
        from.consume(at + 1);
        if is_end {
            return Ok(());
        }
        let mut escape = [0; 1];
        from.read_exact(&mut escape)?;
        let byte = match escape[0] {
            plain @ (b'"' | b'\\' | b'/') => plain,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut digits = [0; 4];
                from.read_exact(&mut digits)?;
                let text = std::str::from_utf8(&digits).map_err(|_| damaged())?;
                // Only control characters are written like this.
                let code = u32::from_str_radix(text, 16).map_err(|_| damaged())?;
                let code = char::from_u32(code).ok_or_else(damaged)?;
                let mut utf8 = [0; 4];
                out.write_all(code.encode_utf8(&mut utf8).as_bytes())?;
                continue;
            }
            _ => return Err(damaged()),
        };
        out.write_all(&[byte])?;
    }
}

/// Checks bytes of a string: it must not have control characters.
fn text(bytes: &[u8]) -> io::Result<&[u8]> {
    if bytes.iter().any(|&byte| byte < b' ') { Err(damaged()) } else { Ok(bytes) }
}

/// Reads the rest of a string in base64.
fn decode(from: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
    let engine = &base64::engine::general_purpose::STANDARD;
    let mut held = Vec::new();
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Err(damaged());
        }
        let end = memchr::memchr(b'"', buffer);
        let len = end.unwrap_or(buffer.len());
        held.extend_from_slice(&buffer[..len]);
        from.consume(len + usize::from(end.is_some()));
        let whole = if end.is_some() { held.len() } else { held.len() / 4 * 4 };
        out.write_all(&engine.decode(&held[..whole]).map_err(|_| damaged())?)?;
        held.drain(..whole);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Failure;
    use crate::job::Kind;
    use proptest::prelude::*;

    impl Lookahead for &[u8] {
        fn look(&mut self) -> io::Result<&[u8]> {
            Ok(self)
        }
    }

    const KEY: Key = Key { digest: Digest128([0xa7; 16]), nth: NonZeroU32::MIN };

    fn written(done: &Done<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        write(done, KEY, &mut line).expect("a Vec takes everything");
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        serde_json::from_slice::<serde_json::Value>(&line).expect("JSON");
        assert_eq!(key(&line), Some((KEY, done.outcome.is_ok())));
        line
    }

    fn read(mut line: &[u8]) -> Recorded {
        Recorded::read(&mut line, &Arc::default()).expect("a record")
    }

    fn done<'a>(job: &'a Job, value: Value<'a>) -> Done<'a> {
        let run = Run {
            slot: 2,
            pid: 9,
            attempt: 1,
            start: 1_764_000_000.123_456,
            seconds: 1e-7,
            host: None,
        };
        Done { job, outcome: Ok(value), printed: None, run: Some(run), unproven: None }
    }

    #[test]
    fn results_come_back_as_they_were() {
        let job = Job::new(7, r#""a""#, "[1]", r#""x\",\"printed\":{""#);
        for json in ["1.50", r#"{"b": 1,"a":[ ]}"#, "[1,\n2]", r#"{"printed":1,"message":2}"#] {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            let done = done(&job, Value::Json(Json::of(raw)));
            let recorded = read(&written(&done));
            assert_eq!(recorded.run, done.run);
            let Recollection::Json(back) = &recorded.result else { panic!("{recorded:?}") };
            assert_eq!(back.get(), json);
        }
    }

    #[test]
    fn failures_are_lines_too() {
        let raw = RawValue::from_string("[1,\n2]".into()).expect("JSON");
        let failure = Failure { data: Some(raw), ..Failure::new(Kind::Error, "no\n\"way\"") };
        let job = Job::new(7, r#""a""#, "[1]", "");
        written(&Done {
            job: &job,
            outcome: Err(&failure),
            printed: None,
            run: None,
            unproven: None,
        });
    }

    #[test]
    fn damaged_ones_are_errors() {
        let job = Job::new(7, r#""a""#, "[1]", "");
        let spool = Arc::default();
        let printed = Arc::new(Printed::line(&spool, b"\xff"));
        let done = Done { printed: Some(&printed), ..done(&job, Value::NULL) };
        let line = written(&done);
        for cut in 0..line.len() {
            assert!(Recorded::read(&mut &line[..cut], &spool).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..60), text in ".{0,40}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let job = Job::message(1, b"m");
                let recorded = read(&written(&done(&job, Value::Bytes(bytes))));
                let Recollection::Bytes(back) = recorded.result else { panic!("{recorded:?}") };
                prop_assert_eq!(&back, bytes);
            }
        }

        #[test]
        fn what_was_printed_comes_back(
            out in prop::collection::vec(any::<u8>(), 0..60),
            err in "[\\x00-\\x1f\"\\\\é€a]{0,40}",
            size in 1_usize..9,
        ) {
            let spool: Arc<Spool> = Arc::default();
            let captured = |bytes: &[u8]| {
                let mut capture = Capture::new(&spool);
                capture.write_all(bytes).expect("written");
                capture
            };
            let (stdout, stderr) = (captured(&out), captured(err.as_bytes()));
            let printed = Arc::new(Printed { exit: Some(0), signal: None, stdout, stderr });
            let job = Job::words(1, b"m\0");
            let line = written(&Done { printed: Some(&printed), ..done(&job, Value::NULL) });
            // The pieces that are read may end anywhere.
            let (at, len, _) = body(&line).expect("a body");
            let mut pieces = io::BufReader::with_capacity(size, &line[at + len..]);
            let head = head(&line[..at]).expect("a head");
            let again = Recorded::printed(&head, &mut pieces, &spool).expect("a record");
            for recorded in [again, read(&line)] {
                let Recollection::Printed(back) = recorded.result else { panic!("{recorded:?}") };
                prop_assert_eq!(back.stdout.small(), Some(&out[..]));
                prop_assert_eq!(back.stderr.small(), Some(err.as_bytes()));
            }
        }
    }
}
