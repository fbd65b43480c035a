//! A job: a unit of work, and the texts that it consists of.

use std::sync::Arc;
use std::time::Duration;

use super::caller::Caller;
use super::key::Key;

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
    pub(crate) line: Option<Arc<[u8]>>,
    /// What it goes by in the journal; `None`: it is not to be recorded.
    pub(crate) key: Option<Key>,
    /// What came of it was recorded by an earlier run.
    pub(crate) is_recorded: bool,
    /// The caller that waits for it; `None`: the result goes to the pool's sink.
    pub(crate) caller: Option<Caller>,
    pub(super) text: Vec<u8>,
    /// What stands before is not a part of the job any more.
    pub(super) begin: usize,
    /// No more than `id_at`, which is no more than the text's length: `new` adds up lengths.
    pub(super) args_at: usize,
    pub(super) id_at: usize,
    pub(super) form: Form,
}

/// What the args of a job are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
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

/// Where the texts of a job stand that shares a buffer with others: they begin where those of the
/// one before it end, and end with the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) args_at: u32,
    pub(super) id_at: u32,
    pub(super) end: u32,
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
    pub(super) fn behind(self, lines: usize) -> Self {
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

    pub(super) fn bytes(seq: u64, bytes: &[u8], form: Form) -> Self {
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
