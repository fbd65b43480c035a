//! All reports of a run: passes every job that is over to each of them, and writes them at the end.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use procpool::engine::output::{Format, Output};
use procpool::engine::{Done, WorkerEnd};

use super::annotations::Annotations;
use super::collector::Collector;
use super::findings::{Findings, RunEnding};
use super::junit::Cases;
use super::names::JobNames;
use super::results::Results;
use super::trace::Trace;
use super::{html, json, markdown, summary};
use crate::cli::Options;
use crate::cli::report::{Report, ReportFormat};
use crate::lock::lock;
use crate::outputs::{Outputs, WriteTarget};

/// The reports of a run, at least one.
#[derive(Debug)]
pub struct Reports {
    names: Arc<JobNames>,
    collector: Option<Collector>,
    /// The reports that are written at the end.
    files: Mutex<Vec<ReportFile>>,
    cases: Option<Cases>,
    trace: Option<Trace>,
    results: Option<Results>,
    annotations: Option<Annotations>,
    command_line: String,
    host: String,
    /// The user asks for `--summary`.
    has_summary: bool,
}

/// A report, and where it goes.
#[derive(Debug)]
struct ReportFile {
    format: ReportFormat,
    /// `None`: it goes to stdout.
    file: Option<(PathBuf, File)>,
}

impl Reports {
    /// Begins the reports that the user asks for, if there are any. Their files are made now, so that a run does
    /// not fail at its end because it can't write them.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn open(
        options: &Options,
        outputs: &Outputs,
        names: JobNames,
        format: &Format,
        slots: usize,
    ) -> anyhow::Result<Option<Self>> {
        let annotations = Annotations::wanted().filter(|_| !options.commands.dry_run);
        let is_counted = options.output.summary || !options.output.report.is_empty();
        let is_asked_for =
            is_counted || options.output.trace.is_some() || options.output.results.is_some();
        if !is_asked_for && annotations.is_none() {
            return Ok(None);
        }
        let names = Arc::new(names);
        let files = options.output.report.iter().zip(&outputs.reports);
        let files = files.map(|(report, target)| destination(report, target.as_ref()));
        let files = files.collect::<anyhow::Result<Vec<_>>>()?;
        let cases = files.iter().any(|file| file.format == ReportFormat::Junit);
        let cases = cases.then(|| Cases::new(&class(options))).transpose();
        let cases = cases.context("a temporary file for the report could not be made")?;
        let host = host();
        let trace = outputs.trace.as_ref().map(|made| create("trace", made)).transpose()?;
        let results = options.output.results.as_deref();
        let results = results.map(|folder| Results::open(folder, options.journal.resume, format));
        let results = results.transpose().map_err(anyhow::Error::msg)?;
        Ok(Some(Self {
            collector: is_asked_for.then(|| Collector::new(slots, Arc::clone(&names))),
            names,
            files: Mutex::new(files),
            cases,
            trace: trace.map(|file| Trace::new(file, &host)),
            results,
            annotations,
            command_line: command_line(),
            host,
            has_summary: options.output.summary,
        }))
    }

    /// Whether they need each job by itself. Annotations need failed jobs only, which are never in bundles.
    pub fn want_each_job(&self) -> bool {
        self.collector.is_some()
    }

    /// Adds a job that is over.
    pub fn add(&self, done: &Done<'_>) {
        let span = self.collector.as_ref().and_then(|collector| collector.add(done, false));
        if let Some(trace) = &self.trace {
            trace.add(done, span, false, &self.names);
        }
        if let Some(cases) = &self.cases {
            cases.add(done, &self.names);
        }
        if let Some(results) = &self.results {
            results.add(done, &self.names);
        }
        if let Some(annotations) = &self.annotations {
            annotations.add(done, &self.names);
        }
    }

    /// Adds a failed attempt of a job that will be tried again.
    pub fn add_try(&self, done: &Done<'_>) {
        let span = self.collector.as_ref().and_then(|collector| collector.add(done, true));
        if let Some(trace) = &self.trace {
            trace.add(done, span, true, &self.names);
        }
    }

    /// Adds a worker that has ended.
    pub fn add_worker(&self, worker: &WorkerEnd) {
        let Some(collector) = &self.collector else { return };
        collector.add_worker(worker);
        if let Some(trace) = &self.trace {
            trace.add_worker(&WorkerEnd { start: worker.start - collector.began, ..*worker });
        }
    }

    /// The lines of `--summary`, if the user asks for them.
    pub fn summary(&self, ending: RunEnding) -> Option<String> {
        let collector = self.collector.as_ref().filter(|_| self.has_summary)?;
        Some(self.find(collector, ending, summary::text))
    }

    /// The annotations of a workflow.
    pub fn annotations(&self) -> Option<String> {
        self.annotations.as_ref().map(Annotations::text).filter(|text| !text.is_empty())
    }

    /// Writes all reports after the run. Returns a sentence for each that could not be written.
    pub fn write(&self, ending: RunEnding, output: &Output) -> Vec<String> {
        let mut troubles = Vec::new();
        for destination in lock(&self.files).drain(..) {
            troubles.extend(self.write_to(destination, ending, output).err());
        }
        let trace = self.trace.as_ref().map_or(Ok(()), Trace::finish);
        troubles
            .extend(trace.err().map(|error| format!("the trace could not be written: {error}")));
        troubles.extend(self.results.as_ref().and_then(Results::trouble));
        troubles
    }

    fn write_to(&self, to: ReportFile, ending: RunEnding, output: &Output) -> Result<(), String> {
        let Some(collector) = &self.collector else { return Ok(()) };
        let format = to.format;
        let write = |to: &mut dyn Write| {
            self.find(collector, ending, |findings| self.print(format, findings, to))
        };
        match to.file {
            None => {
                let mut text = Vec::new();
                write(&mut text)
                    .and_then(|()| output.print_last(&text))
                    .map_err(|error| format!("the report could not be written to stdout: {error}"))
            }
            Some((path, file)) => {
                let mut file = io::BufWriter::new(file);
                write(&mut file).and_then(|()| file.flush()).map_err(|error| {
                    format!("the report '{}' could not be written: {error}", path.display())
                })
            }
        }
    }

    fn print(
        &self,
        format: ReportFormat,
        findings: &Findings<'_>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        match format {
            ReportFormat::Json => {
                serde_json::to_writer(&mut *to, &json::document(findings, false))?;
                to.write_all(b"\n")
            }
            ReportFormat::Html => to.write_all(html::page(findings)?.as_bytes()),
            ReportFormat::Markdown => to.write_all(markdown::text(findings).as_bytes()),
            ReportFormat::Junit => match &self.cases {
                Some(cases) => cases.write(findings, to),
                None => Ok(()),
            },
        }
    }

    fn find<T>(
        &self,
        collector: &Collector,
        ending: RunEnding,
        tell: impl FnOnce(&Findings<'_>) -> T,
    ) -> T {
        let seconds = collector.elapsed();
        let totals = collector.totals();
        tell(&Findings {
            command_line: &self.command_line,
            host: &self.host,
            // A host has as many slots as it has CPUs, if it was not said how many.
            slots: totals.series.slots(),
            began: collector.began,
            seconds,
            ending,
            totals: &totals,
        })
    }
}

fn destination(
    report: &Report,
    made: Option<&(PathBuf, WriteTarget)>,
) -> anyhow::Result<ReportFile> {
    let file = match made {
        Some(made) => Some((made.0.clone(), create("report", made)?)),
        None => None,
    };
    Ok(ReportFile { format: report.format, file })
}

fn create(what: &str, (path, target): &(PathBuf, WriteTarget)) -> anyhow::Result<File> {
    target.create().with_context(|| format!("the {what} '{}' can't be written", path.display()))
}

/// The class of all test cases: the program that runs.
fn class(options: &Options) -> String {
    let code = [
        (&options.code.python, "python"),
        (&options.code.perl, "perl"),
        (&options.code.node, "node"),
        (&options.code.ruby, "ruby"),
        (&options.code.sh, "sh"),
    ];
    let code = code.into_iter().find_map(|(code, name)| code.as_ref().map(|_| name.to_owned()));
    let worker =
        options.workers.worker.first().and_then(|line| {
            shell_words::split(line).ok().and_then(|words| words.into_iter().next())
        });
    let command = options.command.first().map(|word| word.to_string_lossy().into_owned());
    let program = code.or(worker).or(command).unwrap_or_else(|| "procpool".into());
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
    procpool::engine::printable(&name.unwrap_or(program))
}

/// The command line of this process, as you can type it into a shell.
fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = std::iter::once("procpool".to_owned()).chain(words).collect();
    procpool::engine::command::label::cut(
        &procpool::engine::printable(&shell_words::join(words)),
        2_000,
    )
}

/// The name of this machine.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    procpool::engine::printable(&name)
}
