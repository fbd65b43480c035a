//! The names of jobs in reports, and their failures as text. Control characters are escaped everywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use procpool::engine::command::Args;
use procpool::engine::command::label::{LabelSize, cut, label};
use procpool::engine::output::failure::Wording;
use procpool::engine::{Commands, Done, Failure, Job, name, printable};
use serde_json::Value;

/// The largest number of characters in an id.
const LONGEST_ID: usize = 240;

/// The room for the label of a job.
const LABEL: LabelSize = LabelSize { arg: 200, whole: 240 };

/// The largest number of characters in a message.
const LONGEST_MESSAGE: usize = 1_000;

/// The number of bytes of a job that are looked at.
const ENOUGH: usize = 4 << 10;

/// The sources of the names of jobs.
#[derive(Debug)]
pub struct JobNames {
    pub commands: Option<Arc<Commands>>,
    /// The names of the inputs in messages.
    pub sources: Vec<String>,
    /// The files among them.
    pub files: Vec<Option<PathBuf>>,
}

impl JobNames {
    /// The label of a job: its command line, or its call. It is empty for a line that was no job.
    pub fn label(&self, job: &Job, slot: usize) -> String {
        let is_job = !job.cmd().is_empty() || !job.args().is_empty();
        if !is_job && job.as_message().is_none() && job.arg_words().is_none() {
            return String::new();
        }
        label(self.commands.as_deref(), job, slot, LABEL)
    }

    /// Why a job failed, as the line on stderr says it.
    pub fn why(&self, job: &Job, failure: &Failure) -> String {
        let commands = self.commands.as_deref();
        Wording { commands, sources: &self.sources, quotes_stderr: false }.why(job, failure)
    }

    /// The args of a job, separated by blanks.
    pub fn args(&self, job: &Job) -> String {
        let args = match &self.commands {
            Some(commands) => commands.args(job),
            None => Args::from_json(job.args()),
        };
        let bytes = match (job.as_message(), args) {
            (Some(message), _) => head(message).to_vec(),
            (None, Ok(Args { whole: Some(whole), .. })) => head(&whole).to_vec(),
            (None, Ok(args)) => head(&args.words.join(&b' ')).to_vec(),
            (None, Err(_)) => head(job.args()).to_vec(),
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The name of a job in messages: `job j1 (line 3)`.
    pub fn name(&self, job: &Job) -> String {
        name(job, &self.sources)
    }

    /// The id of a job, as text.
    pub fn id(&self, job: &Job) -> Option<String> {
        let text = String::from_utf8_lossy(job.id()?);
        let text = serde_json::from_str::<String>(&text).unwrap_or_else(|_| text.into_owned());
        Some(cut(&printable(&text), LONGEST_ID))
    }

    /// The file of a job, if it was read from one, and its line. 0: it has no line.
    pub fn place(&self, job: &Job) -> (Option<&Path>, u64) {
        let index = usize::try_from(job.place.source).unwrap_or(usize::MAX);
        (self.files.get(index).and_then(Option::as_deref), job.place.line)
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(ENOUGH)]
}

/// Why a job failed, on one line.
pub fn message(failure: &Failure) -> String {
    cut(&printable(&failure.message), LONGEST_MESSAGE)
}

/// The details of a failed job: the last `most` bytes of its stderr or of its traceback.
pub fn details(done: &Done<'_>, most: usize) -> String {
    match (done.printed, done.outcome) {
        (Some(printed), _) => tail(&printed.stderr, most),
        (None, Err(failure)) => {
            let data = failure.data.as_ref().map(|data| data.get()).unwrap_or_default();
            let end = data.len().min(64 * most);
            let text = data.get(..end).unwrap_or_default();
            multiline(last(&trace_of(text), most))
        }
        (None, Ok(_)) => String::new(),
    }
}

/// The traceback in an error, if it has one. Otherwise the error itself, unless it is a text: that is the message.
fn trace_of(data: &str) -> String {
    match serde_json::from_str(data) {
        Ok(Value::String(_)) | Err(_) => String::new(),
        Ok(Value::Object(members)) => match members.get("data") {
            Some(Value::String(trace)) => trace.clone(),
            _ => data.to_owned(),
        },
        Ok(_) => data.to_owned(),
    }
}

/// The end of a stream's output, as text.
pub fn tail(stream: &procpool::engine::Capture, most: usize) -> String {
    // Output that can't be read back is left out.
    let kept = stream.end(most).unwrap_or_default();
    let text = multiline(&String::from_utf8_lossy(&kept));
    if stream.total() > kept.len() as u64 { format!("…{text}") } else { text }
}

fn last(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    (from..=text.len()).find_map(|at| text.get(at..)).unwrap_or_default()
}

/// Text of several lines that can't control a terminal. Colours are left out. Other control characters are escaped.
fn multiline(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.trim_end().split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let parts: Vec<String> = without_colours(line).split('\t').map(printable).collect();
        lines.push(parts.join("\t"));
    }
    lines.join("\n")
}

/// A line without the sequences that set colours: `ESC [`, numbers, `m`.
pub(super) fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit() && c != ';');
        match end.and_then(|end| piece[end..].strip_prefix('m')) {
            Some(rest) => plain.push_str(rest),
            None => plain.extend(["\u{1b}[", piece]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_other_controls_are_shown() {
        assert_eq!(multiline("\u{1b}[1;31mred\u{1b}[m\r\n\tin\u{7}\n"), "red\n\tin\\u{7}");
        assert_eq!(multiline("\u{1b}[2Jgone"), "\\u{1b}[2Jgone");
    }

    #[test]
    fn the_last_bytes_begin_with_a_character() {
        assert_eq!(last("aé", 1), "");
    }
}
