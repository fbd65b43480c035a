//! Builds all parts of a run from the options, and connects them: input, pools, output, reports, signals.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use procpool::engine::command::label::LabelSize;
use procpool::engine::input::plain_lines::{Columns, Pack, Plain};
use procpool::engine::input::{Census, Form, KeptLines, Reader, Source};
use procpool::engine::journal::Journal;
use procpool::engine::output::failure::FailureStyle;
use procpool::engine::output::{Format, Output, Screen, Settings};
use procpool::engine::{Sink, Visit, Watcher};
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::builders::{self, Size};
use super::events::{Course, Event};
use super::hosts;
use super::procs_file::ProcsFile;
use super::reporter::Reporter;
use super::slow::SlowJobs;
use super::watch::{ActiveRun, Timers};
use crate::cli::Options;
use crate::cli::halt::{Halt, Limit, What};
use crate::cli::values::ProgressMode;
use crate::descriptors::{self, Stream};
use crate::exit::Status;
use crate::guardian;
use crate::interrupts::{FatalSignal, Interrupts};
use crate::outputs::Outputs;
use crate::plan::{Misuse, Plan};
use crate::pools::Pools;
use crate::queue::{QueueEnd, QueuePlan};
use crate::report::again::Again;
use crate::report::bookkeeper::{Bookkeeper, ReportSettings};
use crate::report::closing::Closing;
use crate::report::colors::{Colors, Paint};
use crate::report::console::Console;
use crate::report::failed::{FailedLines, FailedSettings};
use crate::report::few::FewFailures;
use crate::report::names::JobNames;
use crate::report::progress::ProgressLine;
use crate::report::progress::manner::{Manner, Surroundings};
use crate::report::progress::view::{View, Viewed};
use crate::report::reports::Reports;
use crate::signals::Early;

/// The meaning of `--fail-fast`.
const FAIL_FAST: Halt = Halt { now: true, what: What::Fail, limit: Limit::Count(1) };

/// At a terminal, a job that runs for longer is remarked on.
const SLOW: Duration = Duration::from_secs(60);

/// The message to a user who may have forgotten to give lines: they come from the terminal.
const FROM_TERMINAL: &str = "reading lines from the terminal until Ctrl-D; or give args after :::";
const FROM_TERMINAL_JOBS: &str = "reading jobs from the terminal, one per line, until Ctrl-D";

/// Runs what the options ask for. `server`: the server that runs the jobs.
///
/// # Errors
/// The run could not begin.
pub fn run(mut options: Options, early: Option<Early>, server: Option<Visit>) -> Result<Status> {
    choose_temporary_folder(&options)?;
    let has_server = server.is_some();
    let hosts = hosts::find(&mut options, server)?;
    let (events, received) = unbounded_channel();
    let reporter = Arc::new(Reporter::new(events.clone()));
    let console = Arc::clone(&reporter.console);
    let mut plan = Plan::of(&options, Arc::clone(&reporter.stop))?;
    check_terminal(&options)?;
    let size = Size::of(&plan.reader.route, options.workers.max_procs).with_hosts(hosts.as_ref());
    builders::allow_descriptors(size.with_room(&options).all_slots());
    let outputs = Outputs::find(&options, &plan.reader.sources)?;
    check_whole(&plan, &options, &outputs, hosts.is_some())?;
    check_input(&options, &plan.reader, &outputs, &console)?;
    plan.reader.rest.clone_from(&outputs.rest);
    guardian::prepare(!has_server && !options.commands.dry_run);
    let journal = open_journal(&mut plan, &console)?;
    let results = ResultSinks::open(&options, &plan, outputs, &journal, size, &reporter, &events)?;
    let ResultSinks { output, reports, bookkeeper } = results;
    plan.reader.bundles &= !bookkeeper.wants_each_job();
    let watcher = Arc::clone(&reporter) as Arc<dyn Watcher>;
    let sink = Arc::clone(&bookkeeper) as Arc<dyn Sink>;
    let queue = open_queue(&plan, &options, size, &journal, &sink, &reporter)?;
    let sink = queue.as_ref().and_then(|queue| queue.sink()).unwrap_or(sink);
    let pools = builders::build(&plan, &options, size, hosts.as_ref(), &watcher, &sink, queue)?;
    bookkeeper.watch(&pools);
    let progress = show_progress(&options, &plan, &pools, size, &output, &journal, &reporter)?;
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
    listen(interrupts).context("no signal can be listened to")?;
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
        timers: Timers::new(slow_jobs(&options), ProcsFile::new(&options)),
        progress,
        reports,
        journal,
        course: Course::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(run.watch(plan.reader, events))
}

/// Sets the folder of `--tmpdir`.
fn choose_temporary_folder(options: &Options) -> Result<(), Misuse> {
    let Some(folder) = &options.output.storage.tmpdir else { return Ok(()) };
    let name = folder.display();
    match std::fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Misuse::new(format!("--tmpdir: '{name}' is no folder")));
        }
        Ok(_) => {}
        Err(error) => {
            return Err(Misuse::new(format!("--tmpdir: '{name}' can't be used: {error}")));
        }
    }
    procpool::engine::set_temporary_folder(folder);
    Ok(())
}

/// Checks that what needs all of the input can be had.
fn check_whole(
    plan: &Plan,
    options: &Options,
    outputs: &Outputs,
    has_hosts: bool,
) -> Result<(), Misuse> {
    let whole = &plan.reader.whole;
    if whole.total.is_some() && (has_hosts || options.queue.role().is_some()) {
        return Err("{total} is not known to other machines: leave it out".into());
    }
    if whole.shuffle.is_some() && outputs.rest.is_some() {
        return Err(
            "--failed FILE is the input, and keeps lines in their order, which --shuf changes: \
                    name another FILE"
                .into(),
        );
    }
    Ok(())
}

/// Checks that there is a terminal if it is needed, before any input is read, which would be lost.
fn check_terminal(options: &Options) -> anyhow::Result<()> {
    let commands = &options.commands;
    if commands.tty && !commands.dry_run {
        Console::terminal().context(
            "--tty has no terminal to give to the jobs: run procpool in a terminal, or leave out --tty",
        )?;
    }
    if commands.confirm && !commands.dry_run {
        Console::terminal().context("--confirm has no terminal to ask on")?;
    }
    Ok(())
}

/// Opens the queue that jobs go to or come from, if there is one.
fn open_queue(
    plan: &Plan,
    options: &Options,
    size: Size,
    journal: &Option<Arc<Journal>>,
    sink: &Arc<dyn Sink>,
    reporter: &Arc<Reporter>,
) -> anyhow::Result<Option<Arc<QueueEnd>>> {
    let Some((role, url)) = options.queue.role() else { return Ok(None) };
    let run = journal.as_ref().map(|journal| journal.name_of_run()).transpose();
    let queue = QueueEnd::start(&QueuePlan {
        role,
        url,
        options,
        form: &plan.reader.form,
        shape: plan.shape,
        is_open: plan.reader.kept == KeptLines::All,
        has_workers: plan.commands.is_none(),
        slots: size.all_slots(),
        run: run.context("the journal can't be read")?,
        sink,
        reporter,
    })?;
    Ok(Some(Arc::new(queue)))
}

/// Shows the progress, as the options say.
fn show_progress(
    options: &Options,
    plan: &Plan,
    pools: &Pools,
    size: Size,
    output: &Arc<Output>,
    journal: &Option<Arc<Journal>>,
    reporter: &Reporter,
) -> io::Result<ProgressLine> {
    let messages = &options.output.messages;
    let asks = messages.accepted.bar || messages.accepted.eta;
    let mode = if asks && messages.progress == ProgressMode::Auto && io::stderr().is_terminal() {
        ProgressMode::Line
    } else {
        messages.progress
    };
    let manner = if options.commands.tty || options.queue.from.is_some() {
        // The terminal is the job's, or nobody looks.
        Manner::Hidden
    } else {
        Surroundings::of(&plan.reader.sources).manner(mode)
    };
    let has_rate = options.throttling.rate >= options.throttling.delay;
    let viewed = Viewed {
        output: Arc::clone(output),
        pools: pools.clone(),
        slots: size.all_slots(),
        intake: Arc::clone(&plan.reader.intake),
        census: if manner == Manner::Hidden { None } else { Census::new(&plan.reader) },
        journal: journal.clone(),
        stop: Arc::clone(&reporter.stop),
        interval: if has_rate { "--rate" } else { "--delay" },
        has_one_command: plan.commands.as_ref().is_some_and(|commands| !commands.in_jobs),
    };
    let colors = Colors::of_stderr(options.output.messages.color);
    ProgressLine::start(manner, colors, Arc::clone(&reporter.console), View::new(viewed))
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
            tag: plan.tag.clone(),
            newline: options.output.lines.newline,
            skip_null: options.output.selection.skip_null,
            unpack: options.output.selection.unpack,
            commands: plan.commands.clone(),
            is_open: plan.reader.kept == KeptLines::All,
            sources: builders::source_names(&plan.reader),
            failures: FailureStyle {
                word: Colors::of_stderr(options.output.messages.color).paint(Paint::Bad, "failed"),
                size: label_size(),
            },
        };
        let slots = size.all_slots();
        let reports = open_reports(options, &outputs, &plan.reader.sources, &format, slots)?;
        if let Some(reports) = &reports {
            reporter.report_to(reports);
        }
        let settings = Settings {
            format,
            ordered: !options.output.stream,
            buffer: options.output.storage.buffer,
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

/// The jobs that `--slow` remarks on. By default somebody has to be there to see that.
fn slow_jobs(options: &Options) -> SlowJobs {
    let default = (io::stderr().is_terminal() && !options.commands.tty).then_some(SLOW);
    let colors = Colors::of_stderr(options.output.messages.color);
    SlowJobs::new(options.failures.slow.or(default), colors, label_size().whole)
}

/// The room for what a job runs, in a message: three rows of a terminal.
fn label_size() -> LabelSize {
    if !io::stderr().is_terminal() {
        return LabelSize::LARGE;
    }
    let columns = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    LabelSize::of_terminal(if columns == 0 { 80 } else { columns.into() })
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
        record_end: match &reader.form {
            Form::Blocks(blocks) => blocks.records.text().to_vec(),
            _ => vec![reader.delimiter],
        },
        is_csv: matches!(&reader.form, Form::Plain(plain) if plain.columns == Columns::Csv),
        header: match &reader.form {
            Form::Plain(plain) => Arc::clone(&plain.header_line),
            Form::Blocks(blocks) => Arc::clone(&blocks.header_line),
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
        closing: Closing::new(
            Again::new(options, reader),
            FewFailures::new(reader),
            Colors::of_stderr(options.output.messages.color),
        ),
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

/// Checks that the input can be read, and the output written. A machine that takes its jobs from a queue has none.
fn check_input(
    options: &Options,
    reader: &Reader,
    outputs: &Outputs,
    console: &Console,
) -> anyhow::Result<()> {
    if options.queue.from.is_none() {
        check_streams(reader, outputs)?;
        greet_terminal(reader, console);
    }
    Ok(())
}

/// Refuses to run if stdin can't be read, or if results or lines would be lost.
fn check_streams(reader: &Reader, outputs: &Outputs) -> anyhow::Result<()> {
    let sources = &reader.sources;
    if outputs.rest.is_some() && matches!(reader.form, Form::Blocks(_)) {
        let why = "--failed can't be the file that --block reads: give it another";
        return Err(Misuse::from(why).into());
    }
    if descriptors::is_closed(Stream::Stdout) {
        anyhow::bail!(
            "stdout is closed, so all results would be lost: redirect it to a file, or to /dev/null"
        );
    }
    if descriptors::is_closed(Stream::Stdin) && sources.contains(&Source::Stdin) {
        anyhow::bail!(
            "stdin is closed, but jobs are read from it: redirect it from a file or a pipe, or /dev/null"
        );
    }
    Ok(())
}

/// Says that lines are read from the terminal.
fn greet_terminal(reader: &Reader, console: &Console) {
    if reader.sources.contains(&Source::Stdin) && io::stdin().is_terminal() {
        console.say(match reader.form {
            Form::Job => FROM_TERMINAL_JOBS,
            Form::Plain(_) | Form::Message | Form::Blocks(_) => FROM_TERMINAL,
        });
    }
}

/// Opens the journal, if there is one, and reports an incomplete last line. Makes the reader look jobs up in it, and
/// pack lines as the first run did.
fn open_journal(plan: &mut Plan, console: &Console) -> anyhow::Result<Option<Arc<Journal>>> {
    let Some(settings) = &plan.journal else { return Ok(None) };
    let journal = Journal::open(settings).map_err(anyhow::Error::msg)?;
    let torn = journal.torn();
    if torn > 0 {
        let s = if torn == 1 { "" } else { "s" };
        console.say(&format!(
            "the last line of the journal '{}' was incomplete and has been cut off ({torn} byte{s}): \
             its job will be run again",
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

/// Begins to listen to signals. It first checks that enough descriptors are left, because tokio panics without them.
fn listen(interrupts: Interrupts) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    let copies: io::Result<Vec<_>> = (0..6).map(|_| reader.try_clone()).collect();
    drop((copies?, writer));
    interrupts.listen()
}
