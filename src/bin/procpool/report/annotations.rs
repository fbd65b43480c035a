//! Failures as annotations of a GitHub workflow: lines on stderr that its runner reads as commands.

use std::env;
use std::sync::Mutex;

use procpool::engine::{Done, printable};

use super::names::{JobNames, details};
use crate::lock::lock;

/// The largest number of errors that GitHub shows for a step.
const MOST: usize = 10;

/// The largest number of bytes of a job's output in an annotation.
const DETAILS: usize = 2 << 10;

/// The first failures of a run.
#[derive(Debug, Default)]
pub struct Annotations {
    first: Mutex<FirstFailures>,
}

#[derive(Debug, Default)]
struct FirstFailures {
    lines: Vec<(u64, String)>,
    count: u64,
}

impl Annotations {
    /// The annotations, if a workflow of GitHub runs this process.
    pub fn wanted() -> Option<Self> {
        let is_there =
            env::var_os("GITHUB_ACTIONS").is_some_and(|it| !it.is_empty() && it != "false");
        is_there.then(Self::default)
    }

    /// Adds a job that is over.
    pub fn add(&self, done: &Done<'_>, names: &JobNames) {
        if done.outcome.is_ok() {
            return;
        }
        let mut first = lock(&self.first);
        first.count += 1;
        if first.lines.len() < MOST {
            first.lines.push((done.job.seq, line(done, names)));
        }
    }

    /// A line for each annotation, in the order of the input.
    pub fn text(&self) -> String {
        let mut first = lock(&self.first);
        first.lines.sort();
        let mut text: String = first.lines.iter().map(|(_, line)| line.as_str()).collect();
        if first.count > MOST as u64 {
            let more = first.count - MOST as u64;
            let s = if more == 1 { "" } else { "s" };
            text.push_str(&format!("::notice title=procpool::{more} more failed job{s}\n"));
        }
        text
    }
}

fn line(done: &Done<'_>, names: &JobNames) -> String {
    let Err(failure) = done.outcome else { return String::new() };
    let job = done.job;
    let label = names.label(job, done.run.map_or(1, |run| run.slot));
    let mut properties = Vec::new();
    if let (Some(file), line @ 1..) = names.place(job) {
        let file = property(&printable(&file.to_string_lossy()));
        properties.extend([format!("file={file}"), format!("line={line}")]);
    }
    properties.push(format!("title={}", property(&format!("{} failed", names.name(job)))));
    let what = if label.is_empty() { String::new() } else { format!("{label}: ") };
    let mut text = format!("{what}{}", names.why(job, failure));
    let details = details(done, DETAILS);
    if !details.is_empty() {
        text.push('\n');
        text.push_str(&details);
    }
    format!("::error {}::{}\n", properties.join(","), data(&text))
}

/// Escapes the message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_property_or_a_line_is_escaped() {
        assert_eq!(data("50 %\r\nx::y,"), "50 %25%0D%0Ax::y,");
        assert_eq!(property("a,b::c\n%0A"), "a%2Cb%3A%3Ac%0A%250A");
    }
}
