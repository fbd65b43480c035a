//! The failed jobs of a run as text, as long as they are few.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use procpool::engine::input::coding::Coding;
use procpool::engine::input::route::Route;
use procpool::engine::input::{Form, Reader};
use procpool::engine::{Done, Job, Kind};
use serde_json::Value;

use crate::lock::lock;

/// The largest number of jobs that are kept.
const MOST: usize = 10;

/// The largest number of bytes of a job that is kept.
const LONGEST: usize = 1 << 10;

/// The origin of a failed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailedText {
    /// The args of a command.
    Words(Vec<Vec<u8>>),
    /// The args of a worker's COMMAND or of an expression, as JSON.
    Args(String),
    /// A job line, or a message.
    Line(Vec<u8>),
}

/// The first failed jobs.
#[derive(Debug, Default)]
pub struct FewFailures {
    /// Each line is a whole job.
    has_job_lines: bool,
    list: Mutex<Vec<(u64, FailedText)>>,
    /// A job has failed that is not in the list.
    is_too_much: AtomicBool,
}

impl FewFailures {
    /// An empty list for the jobs of this input.
    pub fn new(reader: &Reader) -> Self {
        Self {
            has_job_lines: matches!(reader.form, Form::Job | Form::Message),
            // The worker that a job line has named is not known any more, nor is a line that stands for others.
            // A block is not short.
            is_too_much: AtomicBool::new(
                matches!(reader.route, Route::Names(_))
                    || matches!(reader.form, Form::Blocks(_))
                    || reader.coding != Coding::Plain,
            ),
            ..Self::default()
        }
    }

    /// Adds a job that has failed.
    pub fn add(&self, done: &Done<'_>) {
        let is_invalid = done.outcome.is_err_and(|failure| failure.kind == Kind::Invalid);
        if is_invalid || self.is_too_much.load(Ordering::Relaxed) {
            return;
        }
        let text = self.text(done.job).filter(|text| text.size() <= LONGEST);
        let mut list = lock(&self.list);
        match text {
            Some(text) if list.len() < MOST => list.push((done.job.seq, text)),
            _ => self.is_too_much.store(true, Ordering::Relaxed),
        }
    }

    /// All of them, in the order of the input. `None`: there are too many.
    pub fn all(&self) -> Option<Vec<FailedText>> {
        let mut list = std::mem::take(&mut *lock(&self.list));
        list.sort_by_key(|(seq, _)| *seq);
        let texts = list.into_iter().map(|(_, text)| text);
        (!self.is_too_much.load(Ordering::Relaxed)).then(|| texts.collect())
    }

    fn text(&self, job: &Job) -> Option<FailedText> {
        if let Some(message) = job.as_message() {
            return Some(FailedText::Line(message.to_vec())).filter(|_| !message.contains(&b'\n'));
        }
        if let Some(words) = job.arg_words() {
            return Some(FailedText::Words(words.map(<[u8]>::to_vec).collect()));
        }
        let args = std::str::from_utf8(job.args()).ok()?;
        if self.has_job_lines {
            line(job, args).map(FailedText::Line)
        } else {
            Some(FailedText::Args(args.to_owned()))
        }
    }
}

/// A job line.
fn line(job: &Job, args: &str) -> Option<Vec<u8>> {
    let cmd = std::str::from_utf8(job.cmd()).ok()?;
    let word: String = serde_json::from_str(cmd).ok()?;
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let id = job.id().map(|id| format!("\"id\":{},", String::from_utf8_lossy(id)));
    let timeout = job.timeout.map(|time| format!(",\"timeout\":{}", time.as_secs_f64()));
    let retries = job.retries.map(|retries| format!(",\"retries\":{retries}"));
    if is_word && id.is_none() && timeout.is_none() && retries.is_none() {
        return Some(format!("{word} {args}").into_bytes());
    }
    let [id, timeout, retries] = [id, timeout, retries].map(Option::unwrap_or_default);
    Some(format!("{{{id}\"cmd\":{cmd},\"args\":{args}{timeout}{retries}}}").into_bytes())
}

impl FailedText {
    fn size(&self) -> usize {
        match self {
            Self::Words(words) => words.iter().map(|word| word.len() + 3).sum(),
            Self::Args(json) => json.len(),
            Self::Line(line) => line.len(),
        }
    }

    /// Its args as words, without those that all jobs begin with. `None`: they are not all texts.
    pub fn args(&self, fixed: usize) -> Option<Vec<OsString>> {
        match self {
            Self::Words(words) => Some(words.iter().cloned().map(OsString::from_vec).collect()),
            Self::Args(json) => {
                let words: Vec<String> = serde_json::from_str(json).ok()?;
                Some(words.into_iter().skip(fixed).map(OsString::from).collect())
            }
            Self::Line(_) => None,
        }
    }

    /// A line of input for the job: the job line, or its args as JSON, without those that all jobs begin with.
    pub fn line(&self, fixed: usize) -> Option<String> {
        match self {
            Self::Words(words) => {
                let words: Result<Vec<_>, _> =
                    words.iter().map(|word| std::str::from_utf8(word)).collect();
                serde_json::to_string(&words.ok()?).ok()
            }
            Self::Args(json) if fixed == 0 => Some(json.clone()),
            Self::Args(json) => {
                let values: Vec<Value> = serde_json::from_str(json).ok()?;
                serde_json::to_string(values.get(fixed..)?).ok()
            }
            Self::Line(line) => String::from_utf8(line.clone()).ok(),
        }
    }
}
