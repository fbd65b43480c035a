//! The format of results: JSON lines, bare JSON or text for stdout, and failures for stderr.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, OnceLock};

use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;

use super::failure::{FailureStyle, Wording};
use super::large::Large;
use crate::command::Args;
use crate::command::Commands;
use crate::command::Template;
use crate::job::printed::{Capture, Printed, Spool};
use crate::job::{Done, Failure, Job, Kind, ResultStreak, Run, Value};
use crate::util::counted::CountedText;
use crate::util::json::{Json, ObjectFields, base64};
use crate::util::text::printable;

/// The format of results.
#[derive(Clone, Debug)]
pub struct Format {
    /// The form of a result.
    pub shape: Shape,
    /// Records also give the args of the job, and where and when it ran.
    pub detail: bool,
    /// What each line begins with, with [`Shape::Text`].
    pub tag: Tag,
    /// With [`Shape::Text`], output without a newline at its end gets one.
    pub newline: bool,
    /// With [`Shape::Text`] and [`Shape::Value`], nothing is printed for a result that is null or empty text.
    pub skip_null: bool,
    /// With [`Shape::Text`] and [`Shape::Value`], each element of a list has a line of its own.
    pub unpack: bool,
    /// How jobs without a worker are run.
    pub commands: Option<Arc<Commands>>,
    /// The machines that run the jobs decide whether they are commands.
    pub is_open: bool,
    /// The names that messages give to the sources of jobs.
    pub sources: Vec<String>,
    /// How failures look on stderr.
    pub failures: FailureStyle,
}

/// What each line begins with. A tab follows.
#[derive(Clone, Debug)]
pub enum Tag {
    /// Nothing, not even a tab.
    None,
    /// The args of its job.
    Args,
    /// This text. Its placeholders stand for the args. Between each two of its parts is the name of the host
    /// that ran the job.
    Text(Arc<[Template]>),
}

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object, whether the job failed or not.
    Record,
    /// The bare result as JSON. Of a job that failed there is only the line on stderr.
    Value,
    /// A string unquoted, any other result as JSON. Of a job that failed there is only the line on stderr.
    Text,
    /// The bytes of [`Shape::Text`] in base64, on a line. Of a job that failed there is only the line on
    /// stderr.
    Base64,
    /// The shape in this cell, which is set before the first result is formatted. If it is empty: text.
    Later(&'static OnceLock<Shape>),
}

impl Shape {
    /// The shape, also if it was set later.
    fn now(self) -> Self {
        match self {
            Self::Later(later) => later.get().copied().unwrap_or(Self::Text),
            shape => shape,
        }
    }
}

impl Format {
    /// Appends the text for stdout to `out`, and the text for stderr, in whole lines, to `err`.
    ///
    /// # Errors
    /// Those of `out` and `err`, or the output of a command can't be read back.
    pub fn write(
        &self,
        done: &Done<'_>,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> io::Result<()> {
        match (self.shape.now(), done.outcome, done.printed) {
            (Shape::Record, ..) => {
                self.record(done, out)?;
                self.failure_line(done, err)?;
            }
            (Shape::Value | Shape::Text, Ok(Value::Shown(_)), None) => return Ok(()),
            (Shape::Value | Shape::Text, Ok(result), None) if self.selects() => {
                return self.write_lines(done.job, host_of(done), result, out);
            }
            (Shape::Value, Ok(_), Some(printed)) => printed.json(out)?,
            (Shape::Value, Ok(Value::Json(json)), None) => out.write_all(json.bytes())?,
            (Shape::Value, Ok(result), None) => out.write_all(result.to_json().get().as_bytes())?,
            (Shape::Text, _, Some(printed)) => {
                let mut tagger = self.tagger(done.job, host_of(done), out);
                printed.stdout.each(|piece| tagger.write(piece))?;
                if self.newline && tagger.in_line {
                    tagger.write(b"\n")?;
                }
                return self.to_stderr(done, Some(printed), err);
            }
            (Shape::Base64, Ok(_), Some(printed)) => {
                let mut coded = EncoderWriter::new(&mut *out, &STANDARD);
                printed.stdout.each(|piece| coded.write_all(piece))?;
                coded.finish()?;
                drop(coded);
                out.write_all(b"\n")?;
                return self.to_stderr(done, Some(printed), err);
            }
            (Shape::Base64, Ok(result), None) => {
                out.write_all(base64(&bytes_of(result)).as_bytes())?;
            }
            (Shape::Text, Ok(result), None) => {
                let text = bytes_of(result);
                let mut tagger = self.tagger(done.job, host_of(done), out);
                tagger.write(&text)?;
                tagger.write(b"\n")?;
                return Ok(());
            }
            (Shape::Later(_), ..) | (_, Err(_), _) => {
                return self.to_stderr(done, done.printed, err);
            }
        }
        out.write_all(b"\n")
    }

    /// Appends the records of results that came together. Returns `false` if they must be written one at a time.
    pub(super) fn write_all(&self, results: &ResultStreak<'_>, out: &mut Vec<u8>) -> bool {
        if self.shape.now() != Shape::Record || self.detail {
            return false;
        }
        let (before, after) = (b"{\"id\":", b",\"ok\":true,\"result\":");
        let mut head = CountedText::new(before, results.seq(), after);
        for (id, result) in results.each() {
            if id.is_empty() {
                out.extend_from_slice(head.bytes());
            } else {
                [before, id, after].iter().for_each(|part| out.extend_from_slice(part));
            }
            out.extend_from_slice(result.bytes());
            out.extend_from_slice(b"}\n");
            head.increment();
        }
        true
    }

    /// The record of a command with a large output.
    ///
    /// # Errors
    /// The output can't be read back, or can't be written to the temporary file of `spool`.
    pub(super) fn large(&self, done: &Done<'_>, spool: &Arc<Spool>) -> io::Result<Large> {
        let is_plain = matches!(self.tag, Tag::None) && !self.newline;
        if let (Shape::Text, true, Some(printed)) = (self.shape.now(), is_plain, done.printed) {
            let mut tail = Vec::new();
            self.failure_line(done, &mut tail)?;
            return Ok(Large { printed: Arc::clone(printed), tail });
        }
        let mut stdout = Capture::new(spool);
        let mut stderr = Capture::new(spool);
        self.write(done, &mut stdout, &mut stderr)?;
        stdout.finish()?;
        stderr.finish()?;
        let printed = Arc::new(Printed { exit: None, signal: None, stdout, stderr });
        Ok(Large { printed, tail: Vec::new() })
    }

    /// The text for lines that a command has printed to stdout while it runs.
    pub(super) fn lines(&self, job: &Job, lines: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(lines.len());
        // Writing to a Vec does not fail.
        let _ = self.tagger(job, None, &mut out).write(lines);
        out
    }

    /// The text for lines that a command has printed to stderr while it runs.
    pub(super) fn stderr_lines(&self, job: &Job, lines: &[u8]) -> Vec<u8> {
        let mut err = Vec::with_capacity(lines.len());
        // Writing to a Vec does not fail.
        let _ = self.stderr_tagger(job, None, &mut err).write(lines);
        err
    }

    fn stderr_tagger<'a, W: Write>(
        &self,
        job: &Job,
        host: Option<&str>,
        err: &'a mut W,
    ) -> Tagger<'a, W> {
        let tagger = self.tagger(job, host, err);
        Tagger { tag: fit_for_stderr(tagger.tag), ..tagger }
    }

    pub(super) fn tagger<'a, W: Write>(
        &self,
        job: &Job,
        host: Option<&str>,
        out: &'a mut W,
    ) -> Tagger<'a, W> {
        let tag = if matches!(self.tag, Tag::None) { Vec::new() } else { self.tag_of(job, host) };
        Tagger { tag, out, in_line: false }
    }

    /// The tag of a job and a tab.
    fn tag_of(&self, job: &Job, host: Option<&str>) -> Vec<u8> {
        let args = match &self.commands {
            Some(commands) => commands.args(job),
            None => Args::from_json(job.args()),
        };
        let args = match job.as_message() {
            Some(message) => Ok(Args { words: vec![message.into()], ..Args::default() }),
            None => args,
        };
        let mut tag = match (&self.tag, args) {
            (Tag::Text(parts), Ok(args)) => {
                let parts: Vec<_> =
                    parts.iter().map(|part| text_for(part, &args, job.seq)).collect();
                parts.join(host.unwrap_or_default().as_bytes())
            }
            (_, Ok(args)) => args.words.join(&b' '),
            (_, Err(_)) => job.args().to_vec(),
        };
        for byte in &mut tag {
            if *byte == b'\n' || *byte == b'\r' {
                *byte = b' ';
            }
        }
        tag.push(b'\t');
        tag
    }

    /// Writes the stderr of a command, and why the job failed.
    fn to_stderr(
        &self,
        done: &Done<'_>,
        printed: Option<&Arc<Printed>>,
        err: &mut impl Write,
    ) -> io::Result<()> {
        let mut in_line = false;
        if let Some(printed) = printed {
            let mut tagger = self.stderr_tagger(done.job, host_of(done), err);
            printed.stderr.each(|piece| tagger.write(piece))?;
            in_line = tagger.in_line;
        }
        if in_line {
            // The next text is another job's, or says why this one failed. It must begin a line.
            err.write_all(b"\n")?;
        }
        self.failure_line(done, err)
    }

    /// Writes which job failed and why, if it did.
    fn failure_line(&self, done: &Done<'_>, err: &mut impl Write) -> io::Result<()> {
        let Err(failure) = done.outcome else { return Ok(()) };
        let wording = Wording {
            commands: self.commands.as_deref().filter(|_| !self.has_worker(done, failure)),
            sources: &self.sources,
            quotes_stderr: self.shape.now() == Shape::Record,
        };
        let line = wording.line(done, failure, &self.failures);
        let mut tagger = self.stderr_tagger(done.job, host_of(done), err);
        tagger.write(line.as_bytes())?;
        err.write_all(b"\n")
    }

    /// Whether a job has run in a worker, which nothing here has said.
    fn has_worker(&self, done: &Done<'_>, failure: &Failure) -> bool {
        self.is_open && done.printed.is_none() && failure.kind != Kind::Spawn
    }

    fn record(&self, done: &Done<'_>, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"id\":")?;
        match done.job.id() {
            Some(id) => out.write_all(id)?,
            None => out.write_all(itoa::Buffer::new().format(done.job.seq).as_bytes())?,
        }
        out.write_all(if done.outcome.is_ok() { b",\"ok\":true" } else { b",\"ok\":false" })?;
        if done.job.attempt() > 1 {
            write!(out, ",\"attempts\":{}", done.job.attempt())?;
        }
        match done.outcome {
            Ok(result) => match (done.printed, result) {
                (Some(printed), _) => {
                    out.write_all(b",\"result\":")?;
                    printed.json(out)?;
                }
                (None, Value::Json(json) | Value::Shown(json)) => {
                    out.write_all(b",\"result\":")?;
                    out.write_all(json.bytes())?;
                }
                (None, Value::Bytes(bytes)) => write_bytes("result", bytes, out)?,
            },
            Err(failure) => {
                out.write_all(b",\"error\":")?;
                error(failure, done.printed, out)?;
            }
        }
        if self.detail {
            self.detail(done, out)?;
        }
        out.write_all(b"}")
    }

    fn detail(&self, done: &Done<'_>, out: &mut impl Write) -> io::Result<()> {
        let job = done.job;
        let (cmd, args) = match (job.arg_words(), &self.commands) {
            (Some(words), Some(commands)) => {
                let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
                let program = commands.template.program().map(|name| name.to_string_lossy());
                (serde_json::to_vec(&program)?.into(), serde_json::to_vec(&words)?.into())
            }
            _ => match job.as_message() {
                Some(message) => {
                    let text = String::from_utf8_lossy(message);
                    (Cow::Borrowed(&b"null"[..]), serde_json::to_vec(&text)?.into())
                }
                None => (or_null(job.cmd()), or_null(job.args())),
            },
        };
        write!(out, ",\"seq\":{},\"cmd\":", job.seq)?;
        out.write_all(&cmd)?;
        out.write_all(b",\"args\":")?;
        out.write_all(&args)?;
        match done.run {
            Some(Run { slot, pid, attempt, start, seconds, host }) => {
                write!(
                    out,
                    ",\"slot\":{slot},\"pid\":{pid},\"attempt\":{attempt},\"start\":{start:.3},\
                     \"seconds\":{seconds:.6}"
                )?;
                if let Some(host) = host {
                    out.write_all(b",\"host\":")?;
                    serde_json::to_writer(&mut *out, host)?;
                }
                Ok(())
            }
            None => out.write_all(
                b",\"slot\":null,\"pid\":null,\"attempt\":0,\"start\":null,\"seconds\":null",
            ),
        }
    }
}

/// Appends bytes as a further member of an object: in base64 if they are not UTF-8.
fn write_bytes(key: &str, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            write!(out, ",\"{key}\":")?;
            Ok(serde_json::to_writer(out, text)?)
        }
        Err(_) => write!(out, ",\"{key}_base64\":\"{}\"", base64(bytes)),
    }
}

fn error(
    failure: &Failure,
    printed: Option<&Arc<Printed>>,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, "{{\"kind\":\"{}\",\"message\":", failure.kind.name())?;
    serde_json::to_writer(&mut *out, &failure.message)?;
    match (printed, &failure.data) {
        (Some(printed), _) => {
            out.write_all(b",\"data\":")?;
            printed.json(out)?;
        }
        (None, Some(data)) => {
            if let Some(rest) = without_message(data.get(), &failure.message) {
                out.write_all(b",\"data\":")?;
                out.write_all(rest.as_bytes())?;
            }
        }
        (None, None) => {}
    }
    out.write_all(b"}")
}

/// The error that a worker sent, without its message, which is in the record already. `None`: nothing is
/// left.
fn without_message<'a>(data: &'a str, message: &str) -> Option<Cow<'a, str>> {
    let is_message =
        |json: &str| serde_json::from_str::<String>(json).is_ok_and(|it| it == message);
    if is_message(data) {
        return None;
    }
    let ObjectFields(mut members) = serde_json::from_str(data).unwrap_or(ObjectFields(Vec::new()));
    let count = members.len();
    members.retain(|(key, value)| key != "message" || !is_message(value.get()));
    if members.len() == count {
        return Some(Cow::Borrowed(data));
    }
    let name = |key: String| serde_json::Value::from(key);
    let members = members.into_iter().map(|(key, value)| format!("{}:{}", name(key), value.get()));
    let members: Vec<String> = members.collect();
    (!members.is_empty()).then(|| Cow::Owned(format!("{{{}}}", members.join(","))))
}

fn or_null(json: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(if json.is_empty() { b"null" } else { json })
}

/// The host that ran a job, where jobs run on several.
fn host_of(done: &Done<'_>) -> Option<&'static str> {
    done.run.and_then(|run| run.host)
}

/// The text of a part of a tag for a job. A placeholder that has no value there is a part of the message of the job.
fn text_for(template: &Template, args: &Args<'_>, seq: u64) -> Vec<u8> {
    let command = template.fill(args, seq, 0);
    let text = command.ok().and_then(|command| command.argv.into_iter().next());
    text.map(OsStringExt::into_vec).unwrap_or_default()
}

/// Makes a tag fit for stderr, where people read it: control characters are escaped.
fn fit_for_stderr(tag: Vec<u8>) -> Vec<u8> {
    let Some(args) = tag.strip_suffix(b"\t") else { return tag };
    let mut shown = printable(&String::from_utf8_lossy(args)).into_bytes();
    shown.push(b'\t');
    shown
}

/// Puts a tag before each line.
pub(super) struct Tagger<'a, W> {
    tag: Vec<u8>,
    out: &'a mut W,
    /// The last line that was written has no end yet.
    in_line: bool,
}

impl<W: Write> Tagger<'_, W> {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(&last) = bytes.last() else { return Ok(()) };
        if self.tag.is_empty() {
            self.in_line = last != b'\n';
            return self.out.write_all(bytes);
        }
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !self.in_line {
                self.out.write_all(&self.tag)?;
            }
            self.out.write_all(line)?;
            self.in_line = !line.ends_with(b"\n");
        }
        Ok(())
    }
}

/// The bytes of a result that are printed as text.
pub(super) fn bytes_of(result: Value<'_>) -> Cow<'_, [u8]> {
    match result {
        Value::Json(json) | Value::Shown(json) => text(json),
        Value::Bytes(bytes) => Cow::Borrowed(bytes),
    }
}

fn text(result: Json<'_>) -> Cow<'_, [u8]> {
    let json = result.bytes();
    let Some(string) = json.trim_ascii().strip_prefix(b"\"") else { return Cow::Borrowed(json) };
    if memchr::memchr(b'\\', string).is_none() {
        return Cow::Borrowed(string.strip_suffix(b"\"").unwrap_or(string));
    }
    match serde_json::from_slice::<String>(json) {
        Ok(string) => Cow::Owned(string.into_bytes()),
        // It has half a surrogate pair, which no text can hold.
        Err(_) => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Job, Place};
    use serde_json::value::RawValue;

    fn write(shape: Shape, detail: bool, done: &Done<'_>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let sources = vec!["a.jsonl".into()];
        let failures = FailureStyle::default();
        let (tag, newline) = (Tag::None, false);
        let format = Format {
            shape,
            detail,
            tag,
            newline,
            skip_null: false,
            unpack: false,
            commands: None,
            is_open: false,
            sources,
            failures,
        };
        format.write(done, &mut out, &mut err).expect("written");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(out), text(err))
    }

    fn job(id: &str) -> Job {
        let mut job = Job::new(7, r#""resize""#, r#"["a.png"]"#, id);
        job.place = Place { source: 0, line: 9 };
        job
    }

    #[test]
    fn results() {
        for (json, value, text) in [
            ("42", "42\n", "42\n"),
            (r#""a\nb""#, "\"a\\nb\"\n", "a\nb\n"),
            (r#""é""#, "\"é\"\n", "é\n"),
            (r#""""#, "\"\"\n", "\n"),
            (r#""\\""#, "\"\\\\\"\n", "\\\n"),
            (r#""\ud800""#, "\"\\ud800\"\n", "\"\\ud800\"\n"),
            (r#"[1, 2]"#, "[1, 2]\n", "[1, 2]\n"),
        ] {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            let job = job(r#""j1""#);
            let done = Done {
                job: &job,
                outcome: Ok(Value::Json(Json::of(raw))),
                printed: None,
                run: None,
                unproven: None,
            };
            let record = format!("{{\"id\":\"j1\",\"ok\":true,\"result\":{json}}}\n");
            assert_eq!(write(Shape::Record, false, &done), (record, String::new()));
            assert_eq!(write(Shape::Value, false, &done), (value.into(), String::new()));
            assert_eq!(write(Shape::Text, false, &done), (text.into(), String::new()));
            let coded = base64(text.trim_end_matches('\n').as_bytes()) + "\n";
            assert_eq!(write(Shape::Base64, false, &done), (coded, String::new()));
        }
    }

    #[test]
    fn failures() {
        let failure = Failure::new(Kind::Crash, "it \"died\"\u{1b}[2J");
        let job = job("");
        let done =
            Done { job: &job, outcome: Err(&failure), printed: None, run: None, unproven: None };
        let record = "{\"id\":7,\"ok\":false,\"error\":{\"kind\":\"crash\",\"message\":\"it \\\"died\\\"\\u001b[2J\"}}\n";
        let line =
            "procpool: failed: resize(\"a.png\"): it \"died\"\\u{1b}[2J (job 7, a.jsonl line 9)\n";
        assert_eq!(write(Shape::Record, false, &done), (record.into(), line.into()));
        assert_eq!(write(Shape::Text, false, &done), (String::new(), line.into()));
        assert_eq!(write(Shape::Value, true, &done), (String::new(), line.into()));
    }

    #[test]
    fn details() {
        let raw: &RawValue = serde_json::from_str("1").expect("JSON");
        let run =
            Run { slot: 2, pid: 99, attempt: 1, start: 1_764_000_000.5, seconds: 0.25, host: None };
        let job = job("");
        let done = Done {
            job: &job,
            outcome: Ok(Value::Json(Json::of(raw))),
            printed: None,
            run: Some(run),
            unproven: None,
        };
        assert_eq!(
            write(Shape::Record, true, &done).0,
            "{\"id\":7,\"ok\":true,\"result\":1,\"seq\":7,\"cmd\":\"resize\",\"args\":[\"a.png\"],\
             \"slot\":2,\"pid\":99,\"attempt\":1,\"start\":1764000000.500,\"seconds\":0.250000}\n"
        );
        let failure = Failure::new(Kind::Invalid, "no");
        let job = Job::unreadable(3, Place { source: 0, line: 3 }, "");
        let done =
            Done { job: &job, outcome: Err(&failure), printed: None, run: None, unproven: None };
        assert_eq!(
            write(Shape::Record, true, &done).0,
            "{\"id\":3,\"ok\":false,\"error\":{\"kind\":\"invalid\",\"message\":\"no\"},\"seq\":3,\
             \"cmd\":null,\"args\":null,\"slot\":null,\"pid\":null,\"attempt\":0,\"start\":null,\
             \"seconds\":null}\n"
        );
    }
}
