//! A run as JUnit's XML for CI systems: a test case for each job. The head of the document has the number of cases,
//! which is known only at the end. So the cases are in a temporary file until the run is over.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::Mutex;

use procpool::engine::{Done, Kind};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::findings::Findings;
use super::names::{JobNames, details, message, tail};
use crate::lock::lock;

/// Cases are written to the file when they have this many bytes.
const ENOUGH: usize = 64 << 10;

/// The number of bytes that are kept of the output of a failed job.
const PRINTED: usize = 8 << 10;

/// The cases of jobs that are over.
#[derive(Debug)]
pub struct Cases {
    state: Mutex<CaseSpool>,
    /// The class of all cases.
    class: String,
}

#[derive(Debug)]
struct CaseSpool {
    spool: File,
    unwritten: Vec<u8>,
    errors: u64,
    failures: u64,
    trouble: Option<io::Error>,
}

impl Cases {
    /// Begins with no case. `class` is the command or the worker.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub fn new(class: &str) -> io::Result<Self> {
        let state = CaseSpool {
            spool: tempfile::tempfile()?,
            unwritten: Vec::new(),
            errors: 0,
            failures: 0,
            trouble: None,
        };
        Ok(Self { state: Mutex::new(state), class: class.to_owned() })
    }

    /// Adds a job that is over.
    pub fn add(&self, done: &Done<'_>, names: &JobNames) {
        let mut case = Writer::new(Vec::with_capacity(256));
        // Writing to a Vec can't fail.
        let _ = self.write_case(done, names, &mut case);
        let mut state = lock(&self.state);
        state.unwritten.append(&mut case.into_inner());
        match done.outcome.err().map(|failure| is_failure(failure.kind)) {
            Some(true) => state.failures += 1,
            Some(false) => state.errors += 1,
            None => {}
        }
        if state.unwritten.len() >= ENOUGH {
            state.write();
        }
    }

    fn write_case(
        &self,
        done: &Done<'_>,
        names: &JobNames,
        to: &mut Writer<Vec<u8>>,
    ) -> io::Result<()> {
        let job = done.job;
        let label = names.label(job, done.run.map_or(1, |run| run.slot));
        let name = names.name(job);
        let name = if label.is_empty() { name } else { format!("{label} [{name}]") };
        let run = done.run.filter(|_| !job.is_recorded());
        let seconds = format!("{:.3}", run.map_or(0.0, |run| run.seconds));
        let case = [("classname", &*self.class), ("name", &*name), ("time", &*seconds)];
        let case = start("testcase", &case);
        if done.outcome.is_ok() && !job.is_recorded() {
            to.write_event(Event::Empty(case))?;
            return to.get_mut().write_all(b"\n");
        }
        to.write_event(Event::Start(case))?;
        if job.is_recorded() {
            element(to, "system-out", "not run again: its result is from the journal")?;
        }
        if let Err(failure) = done.outcome {
            let tag = if is_failure(failure.kind) { "failure" } else { "error" };
            let why = message(failure);
            let attributes = [("message", &*why), ("type", failure.kind.name())];
            to.write_event(Event::Start(start(tag, &attributes)))?;
            let attempt = job.attempt();
            let tries = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            let trace = if done.printed.is_none() { details(done, PRINTED) } else { String::new() };
            text(to, format!("{why}{tries}\n{trace}").trim_end())?;
            to.write_event(Event::End(BytesEnd::new(tag)))?;
        }
        if let (Some(printed), Err(_)) = (done.printed, done.outcome) {
            for (tag, stream) in [("system-out", &printed.stdout), ("system-err", &printed.stderr)]
            {
                if !stream.is_empty() {
                    element(to, tag, &tail(stream, PRINTED))?;
                }
            }
        }
        to.write_event(Event::End(BytesEnd::new("testcase")))?;
        to.get_mut().write_all(b"\n")
    }

    /// Writes the whole document.
    ///
    /// # Errors
    /// It can't be written, or not all cases could be kept.
    pub fn write(&self, findings: &Findings<'_>, to: &mut dyn Write) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.write();
        if let Some(error) = state.trouble.take() {
            return Err(error);
        }
        let mut head = Writer::new(Vec::new());
        state.head(findings, &mut head)?;
        to.write_all(head.get_ref())?;
        state.spool.rewind()?;
        io::copy(&mut state.spool, to)?;
        to.write_all(b"</testsuite>\n</testsuites>\n")
    }
}

impl CaseSpool {
    fn write(&mut self) {
        if self.trouble.is_none() {
            self.trouble = self.spool.write_all(&self.unwritten).err();
        }
        self.unwritten.clear();
    }

    fn head(&self, findings: &Findings<'_>, to: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let seconds = format!("{:.3}", findings.seconds);
        let [tests, failures, errors] =
            [findings.totals.jobs(), self.failures, self.errors].map(|count| count.to_string());
        to.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        to.get_mut().push(b'\n');
        let counts = [
            ("name", "procpool"),
            ("tests", &*tests),
            ("failures", &*failures),
            ("errors", &*errors),
            ("time", &*seconds),
        ];
        to.write_event(Event::Start(start("testsuites", &counts)))?;
        to.get_mut().push(b'\n');
        let time = findings.time(0.0);
        // The format has no zone. The time is UTC.
        let timestamp = time.get(..19).unwrap_or_default();
        let more = [("skipped", "0"), ("timestamp", timestamp), ("hostname", findings.host)];
        let attributes = [&counts[..], &more].concat();
        to.write_event(Event::Start(start("testsuite", &attributes)))?;
        to.get_mut().push(b'\n');
        self.properties(findings, to)
    }

    /// The properties of the run as a whole.
    fn properties(&self, findings: &Findings<'_>, to: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let totals = findings.totals;
        to.write_event(Event::Start(BytesStart::new("properties")))?;
        for (name, value) in [
            ("command_line", findings.command_line.to_owned()),
            ("outcome", findings.ending.outcome.name().to_owned()),
            ("recorded", totals.recorded.to_string()),
            ("not_run", findings.ending.left.to_string()),
            ("retries", totals.retries.to_string()),
            ("passed_on_retry", totals.passed_on_retry.to_string()),
        ] {
            let property = [("name", name), ("value", value.as_str())];
            to.write_event(Event::Empty(start("property", &property)))?;
        }
        to.write_event(Event::End(BytesEnd::new("properties")))?;
        to.get_mut().write_all(b"\n")
    }
}

/// Whether JUnit calls such a job a failure. It calls the others errors.
fn is_failure(kind: Kind) -> bool {
    matches!(kind, Kind::Error | Kind::Exit)
}

fn element(to: &mut Writer<Vec<u8>>, tag: &str, content: &str) -> io::Result<()> {
    to.write_event(Event::Start(BytesStart::new(tag)))?;
    text(to, content)?;
    to.write_event(Event::End(BytesEnd::new(tag)))
}

fn text(to: &mut Writer<Vec<u8>>, text: &str) -> io::Result<()> {
    to.write_event(Event::Text(BytesText::new(&characters(text))))
}

/// Replaces characters that XML does not allow. Control characters were escaped before.
fn characters(text: &str) -> Cow<'_, str> {
    let is_none =
        |c: char| matches!(c, '\u{fffe}' | '\u{ffff}') || (c < ' ' && c != '\n' && c != '\t');
    if text.contains(is_none) {
        Cow::Owned(text.replace(is_none, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The start of an element, with attributes.
fn start<'a>(tag: &'a str, attributes: &[(&str, &str)]) -> BytesStart<'a> {
    let mut start = BytesStart::new(tag);
    for (name, value) in attributes {
        start.push_attribute((*name, &*characters(value)));
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_has_no_characters_for_is_replaced() {
        assert_eq!(characters("a\n\tb"), "a\n\tb");
        assert_eq!(characters("\u{0}\u{1b}\u{ffff}\u{fffd}"), "\u{fffd}".repeat(4));
    }
}
