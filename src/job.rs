//! The words all other modules use: a job, how it ended, and why it failed.

pub(crate) mod bundle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::calls::Caller;
use crate::capture::Printed;
use crate::journal::Key;
use bundle::Part;

/// A unit of work: a command and its JSON args.
///
/// The texts of a job lie in one buffer, as JSON, one behind the other: command, args, id. So a job
/// costs one allocation at most, and a request is written with two copies.
#[derive(Debug)]
pub struct Job {
    /// Its place among all jobs read, from 1. Results are ordered by it.
    pub seq: u64,
    /// Where its line stood.
    pub place: Place,
    /// How long it may take; `None`: as long as the pool's setting allows.
    pub timeout: Option<Duration>,
    /// How often it may be tried again; `None`: as often as the pool's setting allows.
    pub retries: Option<u32>,
    /// Which of several pools it is for, from 0.
    pub lane: usize,
    /// Which try this is, from 1.
    pub(crate) attempt: u32,
    /// What it was read from, where that is to be kept.
    pub(crate) line: Option<Box<[u8]>>,
    /// What it goes by in the journal; `None`: it is not to be recorded.
    pub(crate) key: Option<Key>,
    /// What came of it was recorded by an earlier run.
    pub(crate) is_recorded: bool,
    /// The caller that waits for it; `None`: the result goes to the pool's sink.
    pub(crate) caller: Option<Caller>,
    text: Vec<u8>,
    /// What stands before is not a part of the job any more.
    begin: usize,
    /// No more than `id_at`, which is no more than the text's length: `new` adds up lengths.
    args_at: usize,
    id_at: usize,
    form: Form,
}

/// What the args of a job are.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// A JSON value.
    Json,
    /// Words that end with a NUL byte each.
    Words,
    /// A message: bytes that mean something to the worker only.
    Message,
    /// So many messages, at least 2, with a newline behind each.
    Lines(usize),
    /// Jobs with a JSON value each: those from `first` on, at least 2, which begin at `begin`.
    Parts { parts: Vec<Part>, first: usize },
}

/// Where the line of a job stood in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which input, counted from 0 in the order they were given.
    pub source: u32,
    /// The line's number in that input, from 1; 0: the job did not come from a line.
    pub line: u64,
}

impl Place {
    /// The place so many lines further on.
    fn behind(self, lines: usize) -> Self {
        Self { line: self.line + lines as u64, ..self }
    }
}

impl Job {
    /// Makes a job. `cmd` is a JSON string, `args` a JSON value, `id` a JSON string or number or
    /// nothing, all of them without line breaks between their parts: they are passed on as they
    /// are.
    pub fn new(seq: u64, cmd: &str, args: &str, id: &str) -> Self {
        let mut text = Vec::with_capacity(cmd.len() + args.len() + id.len());
        text.extend_from_slice(cmd.as_bytes());
        text.extend_from_slice(args.as_bytes());
        text.extend_from_slice(id.as_bytes());
        Self {
            seq,
            place: Place::default(),
            timeout: None,
            retries: None,
            lane: 0,
            attempt: 1,
            caller: None,
            line: None,
            key: None,
            is_recorded: false,
            text,
            begin: 0,
            args_at: cmd.len(),
            id_at: cmd.len() + args.len(),
            form: Form::Json,
        }
    }

    /// A job of the pool's one command: `words` are its args, each of them followed by a NUL byte,
    /// which no argument of a command can hold.
    pub fn words(seq: u64, words: &[u8]) -> Self {
        Self::bytes(seq, words, Form::Words)
    }

    /// A job that is a message to a worker which is sent as it is.
    pub fn message(seq: u64, message: &[u8]) -> Self {
        Self::bytes(seq, message, Form::Message)
    }

    fn bytes(seq: u64, bytes: &[u8], form: Form) -> Self {
        Self { text: bytes.into(), id_at: bytes.len(), form, ..Self::new(seq, "", "", "") }
    }

    /// A job that could not be read from its line: it has no command and no args.
    pub fn unreadable(seq: u64, place: Place, id: &str) -> Self {
        let mut job = Self::new(seq, "", "", id);
        job.place = place;
        job
    }

    /// The command, as a JSON string; empty where the line was not a job.
    pub fn cmd(&self) -> &[u8] {
        &self.text[..self.args_at]
    }

    /// The args, as a JSON value; empty where the line was not a job, and where they are no JSON.
    pub fn args(&self) -> &[u8] {
        match self.form {
            Form::Json => &self.text[self.args_at..self.id_at],
            Form::Words | Form::Message | Form::Lines(_) | Form::Parts { .. } => &[],
        }
    }

    /// The message, where the job is one.
    pub fn as_message(&self) -> Option<&[u8]> {
        (self.form == Form::Message).then_some(&self.text[..])
    }

    /// The args where they are words, of any bytes: those of a command that came as plain lines.
    pub fn arg_words(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let words = &self.text[self.args_at..self.id_at];
        let words = words.strip_suffix(b"\0").map(|words| words.split(|&byte| byte == 0));
        (self.form == Form::Words).then(|| words.into_iter().flatten())
    }

    /// The id that the job names, as JSON; `None`: it names none, and goes by `seq`.
    pub fn id(&self) -> Option<&[u8]> {
        Some(&self.text[self.id_at..]).filter(|id| !id.is_empty())
    }

    /// The lines of input that it was made of, as they stood there, with the delimiter between them;
    /// `None`: they were not kept.
    pub fn line(&self) -> Option<&[u8]> {
        self.line.as_deref()
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether it ran in an earlier run, from whose journal its result comes.
    pub fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// How much memory the job's text holds, in bytes.
    pub fn size(&self) -> usize {
        let line = self.line.as_ref().map_or(0, |line| line.len());
        self.text.len() - self.begin + self.size_of_parts() + line
    }

    /// Whether the call that waited for this job was dropped.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_some_and(Caller::is_gone)
    }
}

/// What happened to a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// The input line is not a job.
    Invalid,
    /// The worker replied with an error.
    Error,
    /// The command ended with a status other than 0, or by a signal.
    Exit,
    /// The worker died before it answered.
    Crash,
    /// It took longer than its timeout.
    Timeout,
    /// What the worker printed is no reply.
    Protocol,
    /// The worker or the command could not be started.
    Spawn,
    /// It was running, or waiting to be tried again, when the run was ended.
    Cancelled,
}

impl Kind {
    /// The kind's name in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Error => "error",
            Self::Exit => "exit",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Spawn => "spawn",
            Self::Cancelled => "cancelled",
        }
    }

    /// All kinds that another try may cure.
    pub const PASSING: [Self; 6] =
        [Self::Error, Self::Exit, Self::Crash, Self::Timeout, Self::Protocol, Self::Spawn];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a job has no result.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened, as a word.
    pub kind: Kind,
    /// What happened, as a sentence for a person.
    pub message: String,
    /// For [`Kind::Error`]: the worker's error as it came, any JSON value. For a command that
    /// was started: what it printed, as an object with `exit`, `stdout` and `stderr`, unless that
    /// is in [`Done::printed`].
    pub data: Option<Box<RawValue>>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), data: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Failure {}

/// The result of a job.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// JSON text.
    Json(&'a RawValue),
    /// The message of a worker that speaks no JSON, as it came.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// What stands for the result of a command.
    pub(crate) const NULL: Self = Self::Json(RawValue::NULL);

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(json) => json.get().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// As JSON: bytes become a string, or where they are not UTF-8 an object with their `base64`.
    pub fn to_json(&self) -> Box<RawValue> {
        match self {
            Self::Json(json) => (*json).to_owned(),
            Self::Bytes(bytes) => {
                let text = match std::str::from_utf8(bytes) {
                    Ok(text) => serde_json::value::to_raw_value(text),
                    Err(_) => serde_json::value::to_raw_value(&json!({ "base64": base64(bytes) })),
                };
                // A string can always be written as JSON.
                text.unwrap_or_default()
            }
        }
    }
}

/// Bytes that are no text, for JSON.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A job that is over: what a [`Sink`] is given, once for each job.
#[derive(Debug)]
pub struct Done<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its result, or why there is none. Of a command it is `null`: its result is what it has
    /// printed.
    pub outcome: Result<Value<'a>, &'a Failure>,
    /// What a command printed and how it ended; `None`: it is none, or was not started.
    pub printed: Option<&'a Arc<Printed>>,
    /// Where and when it ran; `None`: it never did.
    pub run: Option<Run>,
}

/// Where and when a job ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The slot, from 1.
    pub slot: usize,
    /// The worker's process id.
    pub pid: u32,
    /// Which try it was, from 1.
    pub attempt: u32,
    /// When it was handed to the worker, in seconds since 1970.
    pub start: f64,
    /// How long it took, in seconds, without the time that the run was stopped.
    pub seconds: f64,
}

/// Takes the outcome of every job that no call waits for.
///
/// A sink is called by the slots, on their own threads, several at a time. While it blocks, that
/// slot's worker gets no new job: a sink that blocks is back-pressure.
pub trait Sink: Send + Sync {
    /// Takes one outcome. It may be kept back until the same thread calls [`Sink::flush`].
    fn deliver(&self, done: &Done<'_>);

    /// Passes on what this thread has delivered: called after every few outcomes, without delay.
    fn flush(&self) {}

    /// Takes the results of `count` successive jobs, from the one with the number `seq` on: texts with a
    /// newline behind each. Called only where a [`Reader`](crate::input::Reader) was told that it may
    /// bundle jobs.
    fn texts(&self, _seq: u64, _count: u64, _texts: &[u8]) {}

    /// A job's result, which was delivered, may be wrong: `done` says why, and has none of the job's
    /// texts. Whoever keeps results for later must not count this one as a success.
    fn doubt(&self, _done: &Done<'_>) {}

    /// Takes lines that a command has printed while it runs, to stdout and to stderr. They are not
    /// in what is delivered at its end. Called only where that was asked for. Returns whether it took
    /// them; otherwise they are offered again soon, so that this need not block.
    fn lines(&self, _job: &Job, _out: &[u8], _err: &[u8]) -> bool {
        true
    }
}

/// Is told what is worth a person's notice. What it is told is not the outcome of a job.
pub trait Watcher: Send + Sync {
    /// A worker wrote to its stderr: whole lines as they came, the last one perhaps unfinished when
    /// the worker has ended.
    fn worker_stderr(&self, lines: &[u8]);

    /// Something happened that a person should know: one sentence, no line break.
    fn note(&self, text: &str);

    /// Results that were delivered may be wrong: a worker has printed more than it was asked for. One
    /// sentence says which results, and what it has printed.
    fn doubtful(&self, text: &str) {
        self.note(text);
    }

    /// Too many workers in a row have died before their first reply, or could not be started. The
    /// jobs they were to run have failed with the same words.
    fn start_limit_reached(&self, failure: &Failure);

    /// Outcomes of jobs, or what a command printed, could not be kept. Such a job has failed with the
    /// same words, if it still could.
    fn output_lost(&self, message: &str) {
        self.note(message);
    }

    /// Whether a command may be run, which is given as it would be typed into a shell. Called only
    /// where that was asked for.
    fn confirms(&self, _command: &[u8]) -> bool {
        true
    }
}

/// Text from a job or a worker, fit for a message on a terminal: what could move its cursor, break the
/// line, or show the text in another order than it stands in is escaped.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    shown
}

/// Offending bytes, so that a person can read them: in quotes, escaped, and not too many.
pub(crate) fn quote(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MOST)]);
    let shown = printable(&text.chars().take(MOST).collect::<String>());
    let more = if text.chars().count() > MOST || bytes.len() > 4 * MOST { "…" } else { "" };
    format!("'{shown}'{more}")
}

/// Whether a character does something to the text around it: control characters, those of the upper
/// half (a terminal takes U+009B for an escape sequence) included; line and paragraph separators;
/// marks that turn the direction of text.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}
