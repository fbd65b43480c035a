//! What a result looks like.

use std::io::Write as _;

use serde_json::value::RawValue;

use super::name;
use crate::job::{Done, Failure, Kind, Run, printable};

/// The format of results.
#[derive(Clone, Debug)]
pub struct Format {
    /// What is printed of a job.
    pub shape: Shape,
    /// Records say where, when and what.
    pub detail: bool,
    /// What the sources of jobs are called in messages.
    pub sources: Vec<String>,
}

/// What is printed of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object, whether it failed or not.
    Record,
    /// The bare result as JSON; a failure is a line on stderr.
    Value,
    /// A string as it is, any other result as JSON; a failure is a line on stderr.
    Text,
}

impl Format {
    /// Appends what is to be printed to stdout to `out`, and to stderr, in whole lines, to `err`.
    pub fn write(&self, done: &Done<'_>, out: &mut Vec<u8>, err: &mut Vec<u8>) {
        match (self.shape, done.outcome) {
            (Shape::Record, _) => self.record(done, out),
            (Shape::Value, Ok(result)) => out.extend_from_slice(result.get().as_bytes()),
            (Shape::Text, Ok(result)) => text(result, out),
            (_, Err(failure)) => return self.failure(done, failure, err),
        }
        out.push(b'\n');
    }

    fn record(&self, done: &Done<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        match done.job.id() {
            Some(id) => out.extend_from_slice(id),
            None => put(out, format_args!("{}", done.job.seq)),
        }
        match done.outcome {
            Ok(result) => {
                out.extend_from_slice(b",\"ok\":true,\"result\":");
                out.extend_from_slice(result.get().as_bytes());
            }
            Err(failure) => {
                out.extend_from_slice(b",\"ok\":false,\"error\":{\"kind\":\"");
                out.extend_from_slice(failure.kind.name().as_bytes());
                out.extend_from_slice(b"\",\"message\":");
                // A string can always be written as JSON.
                let _ = serde_json::to_writer(&mut *out, &failure.message);
                if let Some(data) = &failure.data {
                    out.extend_from_slice(b",\"data\":");
                    out.extend_from_slice(data.get().as_bytes());
                }
                out.push(b'}');
            }
        }
        if self.detail {
            detail(done, out);
        }
        out.push(b'}');
    }

    fn failure(&self, done: &Done<'_>, failure: &Failure, err: &mut Vec<u8>) {
        // The message of an invalid job begins with its line.
        let name = match failure.kind {
            Kind::Invalid => format!("job {}", super::id(done.job)),
            _ => name(done.job, &self.sources),
        };
        let message = printable(&failure.message);
        put(err, format_args!("procpool: {name}: {}: {message}\n", failure.kind));
    }
}

fn detail(done: &Done<'_>, out: &mut Vec<u8>) {
    let or_null = |json: &'_ [u8]| {
        if json.is_empty() { b"null".to_vec() } else { json.to_vec() }
    };
    put(out, format_args!(",\"seq\":{},\"cmd\":", done.job.seq));
    out.extend_from_slice(&or_null(done.job.cmd()));
    out.extend_from_slice(b",\"args\":");
    out.extend_from_slice(&or_null(done.job.args()));
    match done.run {
        Some(Run { slot, pid, attempt, start, seconds }) => put(
            out,
            format_args!(
                ",\"slot\":{slot},\"pid\":{pid},\"attempt\":{attempt},\"start\":{start:.3},\
                 \"seconds\":{seconds:.6}"
            ),
        ),
        None => out.extend_from_slice(
            b",\"slot\":null,\"pid\":null,\"attempt\":0,\"start\":null,\"seconds\":null",
        ),
    }
}

fn text(result: &RawValue, out: &mut Vec<u8>) {
    let json = result.get();
    match serde_json::from_str::<std::borrow::Cow<'_, str>>(json) {
        Ok(string) => out.extend_from_slice(string.as_bytes()),
        // Not a string, or one with half a surrogate pair, which no text can hold.
        Err(_) => out.extend_from_slice(json.as_bytes()),
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A Vec takes all that is written to it.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Job, Place};

    fn write(shape: Shape, detail: bool, done: &Done<'_>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let format = Format { shape, detail, sources: vec!["a.jsonl".into()] };
        format.write(done, &mut out, &mut err);
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
            (r#""\ud800""#, "\"\\ud800\"\n", "\"\\ud800\"\n"),
            (r#"[1, 2]"#, "[1, 2]\n", "[1, 2]\n"),
        ] {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            let job = job(r#""j1""#);
            let done = Done { job: &job, outcome: Ok(raw), run: None };
            let record = format!("{{\"id\":\"j1\",\"ok\":true,\"result\":{json}}}\n");
            assert_eq!(write(Shape::Record, false, &done), (record, String::new()));
            assert_eq!(write(Shape::Value, false, &done), (value.into(), String::new()));
            assert_eq!(write(Shape::Text, false, &done), (text.into(), String::new()));
        }
    }

    #[test]
    fn failures() {
        let failure = Failure::new(Kind::Crash, "it \"died\"\u{1b}[2J");
        let job = job("");
        let done = Done { job: &job, outcome: Err(&failure), run: None };
        let record = "{\"id\":7,\"ok\":false,\"error\":{\"kind\":\"crash\",\"message\":\"it \\\"died\\\"\\u001b[2J\"}}\n";
        assert_eq!(write(Shape::Record, false, &done), (record.into(), String::new()));
        let line = "procpool: job 7 (a.jsonl line 9): crash: it \"died\"\\u{1b}[2J\n";
        assert_eq!(write(Shape::Text, false, &done), (String::new(), line.into()));
        assert_eq!(write(Shape::Value, true, &done), (String::new(), line.into()));
    }

    #[test]
    fn details() {
        let raw: &RawValue = serde_json::from_str("1").expect("JSON");
        let run = Run { slot: 2, pid: 99, attempt: 1, start: 1_764_000_000.5, seconds: 0.25 };
        let job = job("");
        let done = Done { job: &job, outcome: Ok(raw), run: Some(run) };
        assert_eq!(
            write(Shape::Record, true, &done).0,
            "{\"id\":7,\"ok\":true,\"result\":1,\"seq\":7,\"cmd\":\"resize\",\"args\":[\"a.png\"],\
             \"slot\":2,\"pid\":99,\"attempt\":1,\"start\":1764000000.500,\"seconds\":0.250000}\n"
        );
        let failure = Failure::new(Kind::Invalid, "no");
        let job = Job::unreadable(3, Place { source: 0, line: 3 }, "");
        let done = Done { job: &job, outcome: Err(&failure), run: None };
        assert_eq!(
            write(Shape::Record, true, &done).0,
            "{\"id\":3,\"ok\":false,\"error\":{\"kind\":\"invalid\",\"message\":\"no\"},\"seq\":3,\
             \"cmd\":null,\"args\":null,\"slot\":null,\"pid\":null,\"attempt\":0,\"start\":null,\
             \"seconds\":null}\n"
        );
    }
}
