//! Builds all parts of a run from the options, and connects them: input, pools, output, reports, signals.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anyhow::Context as _;
use procpool::engine::input::plain_lines::{Columns, Pack, Plain};
use procpool::engine::input::{Form, Reader, Source};
use procpool::engine::journal::Journal;
use procpool::engine::output::{Format, Output, Screen, Settings};
use procpool::engine::{Sink, Watcher};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::builders::{self, Size};
use super::events::{Course, Event};
use super::reporter::Reporter;
use super::watch::ActiveRun;
use crate::cli::Options;
use crate::cli::halt::{Halt, Limit, What};
use crate::descriptors::{self, Stream};
use crate::exit::Status;
use crate::interrupts::{FatalSignal, Interrupts};
use crate::outputs::Outputs;
use crate::plan::Plan;
use crate::report::bookkeeper::{Bookkeeper, ReportSettings};
use crate::report::console::Console;
use crate::report::failed::{FailedLines, FailedSettings};
use crate::report::names::JobNames;
use crate::report::progress::ProgressLine;
use crate::report::reports::Reports;
use crate::signals::Early;

/// The meaning of `--fail-fast`.
const FAIL_FAST: Halt = Halt { now: true, what: What::Fail, limit: Limit::Count(1) };

/// Runs what the options ask for.
///
/// # Errors
/// The run could not begin.
pub fn run(options: Options, early: Option<Early>) -> anyhow::Result<Status> {
    let (events, received) = unbounded_channel();
    let reporter = Arc::new(Reporter::new(events.clone()));
    let console = Arc::clone(&reporter.console);
    let mut plan = Plan::of(&options, Arc::clone(&reporter.stop))?;
    if options.commands.confirm && !options.commands.dry_run {
        // This is checked before any input is read, which would be lost.
        Console::terminal().context("--confirm has no terminal to ask on")?;
    }
    let size = Size::of(&plan.reader.route, options.workers.max_procs);
    builders::allow_descriptors(size.all_slots());
    let outputs = Outputs::find(&options, &plan.reader.sources)?;
    check_streams(&plan.reader.sources)?;
    plan.reader.rest.clone_from(&outputs.rest);
    let journal = open_journal(&mut plan, &console)?;
    let results = ResultSinks::open(&options, &plan, outputs, &journal, size, &reporter, &events)?;
    let ResultSinks { output, reports, bookkeeper } = results;
    plan.reader.bundles &= !bookkeeper.wants_each_job();
    let watcher = Arc::clone(&reporter) as Arc<dyn Watcher>;
    let sink = Arc::clone(&bookkeeper) as Arc<dyn Sink>;
    let pools = builders::build(&plan, &options, size, &watcher, &sink)?;
    bookkeeper.watch(&pools);
    let counts = Arc::clone(&output);
    let progress = ProgressLine::start(options.output.progress, Arc::clone(&console), move || {
        counts.counts()
    })?;
    let (orders, ordered) = unbounded_channel();
    let signal = FatalSignal::default();
    let interrupts = Interrupts {
        pools: pools.clone(),
        console: Arc::clone(&console),
        stop: Arc::clone(&reporter.stop),
        grace: options.failures.grace,
        orders,
        signal: signal.clone(),
    };
    listen(interrupts).context("signals can't be listened to")?;
    drop(early);
    let run = ActiveRun {
        pools,
        output,
        bookkeeper,
        console,
        stop: Arc::clone(&reporter.stop),
        events: received,
        orders: ordered,
        signal,
        hint_at: None,
        give_up_at: None,
        progress,
        reports,
        journal,
        course: Course::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(run.watch(plan.reader, events))
}

/// Where results go.
struct ResultSinks {
    output: Arc<Output>,
    reports: Option<Arc<Reports>>,
    bookkeeper: Arc<Bookkeeper>,
}

impl ResultSinks {
    fn open(
        options: &Options,
        plan: &Plan,
        outputs: Outputs,
        journal: &Option<Arc<Journal>>,
        size: Size,
        reporter: &Arc<Reporter>,
        events: &UnboundedSender<Event>,
    ) -> anyhow::Result<Self> {
        let format = Format {
            shape: plan.shape,
            detail: options.output.detail,
            tag: options.output.tag,
            commands: plan.commands.clone(),
            sources: builders::source_names(&plan.reader),
        };
        let slots = size.all_slots();
        let reports = open_reports(options, &outputs, &plan.reader.sources, &format, slots)?;
        if let Some(reports) = &reports {
            reporter.report_to(reports);
        }
        let settings = Settings {
            format,
            ordered: !options.output.stream,
            buffer: options.output.buffer,
            journal: journal.clone(),
        };
        let screen = Arc::clone(reporter) as Arc<dyn Screen>;
        let output = Output::start(settings, screen);
        let output = Arc::new(output.context("the output can't be started")?);
        let settings = report_settings(options, outputs, &plan.reader, reports.clone())?;
        let events = events.clone();
        let halted = Box::new(move || drop(events.send(Event::Halted)));
        let commands = plan.commands.clone();
        let bookkeeper = Bookkeeper::new(Arc::clone(&output), settings, commands, halted)?;
        Ok(Self { output, reports, bookkeeper: Arc::new(bookkeeper) })
    }
}

/// Settings of the bookkeeper.
fn report_settings(
    options: &Options,
    outputs: Outputs,
    reader: &Reader,
    reports: Option<Arc<Reports>>,
) -> anyhow::Result<ReportSettings> {
    let settings = FailedSettings {
        delimiter: reader.delimiter,
        is_csv: matches!(&reader.form, Form::Plain(plain) if plain.columns == Columns::Csv),
        header: match &reader.form {
            Form::Plain(plain) => Arc::clone(&plain.header_line),
            Form::Job | Form::Message => Arc::default(),
        },
        rest: outputs.rest,
        is_piped: outputs.is_piped,
    };
    let failed = outputs.failed.map(|failed| FailedLines::open(failed, settings));
    let halt = options.failures.halt.as_ref().and_then(|halt| halt.0);
    Ok(ReportSettings {
        halt: if options.failures.fail_fast { Some(FAIL_FAST) } else { halt },
        joblog: outputs.joblog,
        resume: options.journal.resume,
        reports,
        failed: failed.transpose()?,
    })
}

/// Opens the reports that the user asks for, if there are any.
fn open_reports(
    options: &Options,
    outputs: &Outputs,
    sources: &[Source],
    format: &Format,
    slots: usize,
) -> anyhow::Result<Option<Arc<Reports>>> {
    let file = |source: &Source| match source {
        Source::File(path) => Some(path.clone()),
        Source::Stdin | Source::Args(_) => None,
    };
    let names = JobNames {
        commands: format.commands.clone(),
        sources: format.sources.clone(),
        files: sources.iter().map(file).collect(),
    };
    let reports = Reports::open(options, outputs, names, format, slots)?;
    Ok(reports.map(Arc::new))
}

/// Refuses to run if stdin can't be read, or if results would be lost.
fn check_streams(sources: &[Source]) -> anyhow::Result<()> {
    if descriptors::is_closed(Stream::Stdout) {
        anyhow::bail!(
            "stdout is closed, and all results would be lost: let it go to a file, or to /dev/null"
        );
    }
    if descriptors::is_closed(Stream::Stdin) && sources.contains(&Source::Stdin) {
        anyhow::bail!(
            "stdin is closed, and jobs are read from there: give it a file or a pipe, or /dev/null"
        );
    }
    Ok(())
}

/// Opens the journal, if there is one, and reports an incomplete last line. The reader then looks jobs up in it, and
/// packs lines as the first run did.
fn open_journal(plan: &mut Plan, console: &Console) -> anyhow::Result<Option<Arc<Journal>>> {
    let Some(settings) = &plan.journal else { return Ok(None) };
    let journal = Journal::open(settings).map_err(anyhow::Error::msg)?;
    let torn = journal.torn();
    if torn > 0 {
        let s = if torn == 1 { "" } else { "s" };
        console.say(&format!(
            "the last line of the journal '{}' was not written to its end, and was cut off \
             ({torn} byte{s}): its job will be run again",
            settings.path.display()
        ));
    }
    let journal = Arc::new(journal);
    let reader = &mut plan.reader;
    reader.journal = Some(Arc::clone(&journal));
    if let Form::Plain(Plain { pack: Pack::Bytes { most, .. }, .. }) = &mut reader.form {
        *most = journal.pack().unwrap_or(*most);
    }
    Ok(Some(journal))
}

/// Begins to listen to signals. Without some descriptors tokio panics. So this first checks that there are enough.
fn listen(interrupts: Interrupts) -> io::Result<()> {
    let pairs: io::Result<Vec<_>> = (0..4).map(|_| UnixStream::pair()).collect();
    drop(pairs?);
    interrupts.listen()
}
