//! How a failure is worded: the one line on stderr that says which job failed, why, and where it is.

use std::time::Duration;

use serde::Deserialize;

use crate::command::Commands;
use crate::command::label::{LabelSize, cut, label};
use crate::job::naming::{details, place};
use crate::job::printed::Printed;
use crate::job::{Done, Failure, Job, Kind};
use crate::util::text::{printable, printable_bytes};

/// The most characters of the reason.
const LONGEST_REASON: usize = 1_000;

/// The most bytes of a command's stderr that are looked at for its last line.
const LAST_WORDS: usize = 1 << 10;

/// How failures look on stderr.
#[derive(Clone, Debug)]
pub struct FailureStyle {
    /// The word `failed`, which may have a colour.
    pub word: String,
    /// The room for the label of a job.
    pub size: LabelSize,
}

impl Default for FailureStyle {
    fn default() -> Self {
        Self { word: "failed".to_owned(), size: LabelSize::LARGE }
    }
}

/// The settings of the words for a failure.
#[derive(Clone, Copy, Debug)]
pub struct Wording<'a> {
    /// How jobs without a worker are run.
    pub commands: Option<&'a Commands>,
    /// The names of the sources of jobs.
    pub sources: &'a [String],
    /// The stderr of commands is not shown elsewhere: its last line is a part of the reason.
    pub quotes_stderr: bool,
}

impl Wording<'_> {
    /// The line for a job that failed, without its end.
    pub fn line(&self, done: &Done<'_>, failure: &Failure, style: &FailureStyle) -> String {
        let what = self.label(done, style.size);
        let mut why = self.why(done.job, failure);
        if let Some(printed) = done.printed.filter(|_| self.quotes_stderr) {
            why.push_str(&last_words(printed));
        }
        let details = self.details(done);
        format!("procpool: {}: {what}: {why} ({details})", style.word)
    }

    /// The label of a job. If the job runs nothing, its name.
    pub fn label(&self, done: &Done<'_>, size: LabelSize) -> String {
        let slot = done.run.map_or(1, |run| run.slot);
        let text = label(self.commands, done.job, slot, size);
        if text.is_empty() { format!("job {}", done.job.seq) } else { text }
    }

    /// Why a job failed. An exception is named with the place in the code where it was raised.
    pub fn why(&self, job: &Job, failure: &Failure) -> String {
        let message = match failure.message.trim() {
            "" => "no reason was given".into(),
            _ => printable(&failure.message),
        };
        match failure.kind {
            Kind::Invalid => {
                // The place is among the details.
                let place = place(job.place, self.sources).unwrap_or_default();
                let what = message.strip_prefix(&place).unwrap_or(&message);
                let what = what.strip_prefix([',', ':']).map_or(what, str::trim_start);
                format!("invalid job: {}", cut(what, LONGEST_REASON))
            }
            Kind::Error => {
                let raised_at = raised_at(failure).map(|at| format!(" ({at})"));
                cut(&message, LONGEST_REASON) + &raised_at.unwrap_or_default()
            }
            _ => cut(&message, LONGEST_REASON),
        }
    }

    /// The job's id, its place in the input, how long it ran, and which attempt it was.
    fn details(&self, done: &Done<'_>) -> String {
        let mut text = details(done.job, self.sources);
        if let Some(run) = done.run {
            text.push_str(&format!(", {}", seconds(run.seconds)));
        }
        if done.job.attempt() > 1 {
            text.push_str(&format!(", attempt {}", done.job.attempt()));
        }
        text
    }
}

/// The last line that a command has printed to stderr, as an addition to the reason. Empty: there is none.
fn last_words(printed: &Printed) -> String {
    // What can't be read back is left out.
    let end = printed.stderr.end(LAST_WORDS).unwrap_or_default();
    let last = end.split(|&byte| byte == b'\n' || byte == b'\r').rev();
    let last = last.map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    last.map(|line| format!("; its stderr ended with: {}", printable_bytes(line)))
        .unwrap_or_default()
}

/// Where an exception was raised, if the error says that and the message does not.
fn raised_at(failure: &Failure) -> Option<String> {
    #[derive(Deserialize)]
    struct RaisedAt {
        at: String,
    }
    let error: RaisedAt = serde_json::from_str(failure.data.as_ref()?.get()).ok()?;
    let is_new = !error.at.is_empty() && !failure.message.contains(&error.at);
    is_new.then(|| cut(&printable(&error.at), LONGEST_REASON))
}

/// A time in seconds, for people.
fn seconds(seconds: f64) -> String {
    match seconds {
        ..9.995 => format!("{seconds:.2} s"),
        ..99.95 => format!("{seconds:.1} s"),
        _ => humantime::format_duration(Duration::from_secs(seconds as u64)).to_string(),
    }
}
