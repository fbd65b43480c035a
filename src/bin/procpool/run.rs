//! One run: builds what the options ask for, and waits for its end or for what ends it.

use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use procpool::input::plain_lines::{Columns, Pack, Plain};
use procpool::input::route::Choice;
use procpool::input::{End, Form, Reader, Source};
use procpool::journal::{self, Journal};
use procpool::output::{Format, Output, Settings, Surroundings, Trouble};
use procpool::{
    Builder, Failure, Init, Pool, Protocol, Sink, Timeout, Watcher, WorkerEnd, printable,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cli::Options;
use crate::cli::halt::{Halt, Limit, What};
use crate::descriptors::{self, Stream};
use crate::exit::Status;
use crate::interrupts::{Interrupts, Order};
use crate::outputs::Outputs;
use crate::plan::Plan;
use crate::pools::Lanes;
use crate::report::console::{Console, Progress};
use crate::report::failed::{FailedLines, Lines};
use crate::report::findings::{Ending, Outcome};
use crate::report::names::Names;
use crate::report::reports::Reports;
use crate::report::{Seconds, Tally, Wanted};
use crate::signals::Early;
use crate::terminal;

/// What `--fail-fast` means.
const FAIL_FAST: Halt = Halt { now: true, what: What::Fail, limit: Limit::Count(1) };

/// How long what is finished may take to be printed once a run was interrupted.
const LAST_PRINT: Duration = Duration::from_secs(1);

/// How long reports may take to be written then.
const LAST_REPORT: Duration = Duration::from_secs(5);

/// How long the lines of failed jobs, and what was not run, may take to be written once a run was
/// interrupted.
const LAST_KEEP: Duration = Duration::from_secs(5);

/// How long killed workers may take to be gone.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A person is told what a run waits for that was interrupted, if it still does after so long.
const HINT_AFTER: Duration = Duration::from_millis(100);

/// Slots have so long to say what they run.
const ROLL_PATIENCE: Duration = Duration::from_millis(200);

/// What can end a run, but for signals.
enum Event {
    /// The input has been read to its end; all of it, or not.
    InputRead(End),
    /// `--halt` has ended the run.
    Halted,
    /// stdout or the temporary file can't be written.
    Output(Trouble),
    /// No worker can be started.
    StartLimit(Failure),
    /// Results that were printed may be wrong, which was told.
    Doubtful,
}

/// Tells the run what happens in the pool and at the output.
struct Reporter {
    console: Arc<Console>,
    events: UnboundedSender<Event>,
    /// Results and messages are on the same screen.
    stdout_is_terminal: bool,
    /// No job is to be begun any more.
    stop: Arc<AtomicBool>,
    /// One question is asked at a time.
    asking: Mutex<()>,
    /// It was told that output is lost: what befalls one slot befalls the others.
    has_lost: AtomicBool,
    /// They are told of workers that are gone.
    reports: OnceLock<Arc<Reports>>,
}

impl Watcher for Reporter {
    fn worker_stderr(&self, lines: &[u8]) {
        self.console.pass_on(lines);
    }

    fn note(&self, text: &str) {
        self.console.say(text);
    }

    fn doubtful(&self, text: &str) {
        self.console.say(text);
        let _ = self.events.send(Event::Doubtful);
    }

    fn terminal_wanted(&self) {
        terminal::silence();
    }

    fn start_limit_reached(&self, failure: &Failure) {
        let _ = self.events.send(Event::StartLimit(failure.clone()));
    }

    fn worker_ended(&self, worker: &WorkerEnd) {
        if let Some(reports) = self.reports.get() {
            reports.add_worker(worker);
        }
    }

    fn output_lost(&self, message: &str) {
        if !self.has_lost.swap(true, Ordering::AcqRel) {
            let _ = self.events.send(Event::Output(Trouble::Disordered(message.to_owned())));
        }
    }

    fn confirms(&self, command: &[u8]) -> bool {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = || self.stop.load(Ordering::Acquire);
        if is_over() {
            return false;
        }
        // What is confirmed must be what is seen.
        let shown = printable(&String::from_utf8_lossy(command));
        let question = [shown.as_bytes(), b" ?..."].concat();
        match self.console.ask(&question, &is_over) {
            Ok(is_confirmed) => is_confirmed && !is_over(),
            Err(error) => {
                let message = format!("--confirm has no terminal to ask on: {error}");
                let _ = self.events.send(Event::Output(Trouble::Disordered(message)));
                false
            }
        }
    }
}

impl Surroundings for Reporter {
    fn failure(&self, lines: &[u8]) {
        self.console.print(lines);
    }

    fn around_write(&self, text: &[u8], write: &mut dyn FnMut()) {
        // Elsewhere the write may block, and messages must not wait for that.
        match self.stdout_is_terminal {
            true => self.console.aside(text, write),
            false => write(),
        }
    }

    fn trouble(&self, trouble: Trouble) {
        let _ = self.events.send(Event::Output(trouble));
    }
}

/// Runs what the options ask for.
///
/// # Errors
/// The run could not begin.
pub fn run(options: Options, early: Option<Early>) -> anyhow::Result<Status> {
    let (events, receiver) = unbounded_channel();
    let console = Arc::new(Console::new());
    let reporter = Arc::new(Reporter {
        console: Arc::clone(&console),
        events: events.clone(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stop: Arc::new(AtomicBool::new(false)),
        asking: Mutex::new(()),
        has_lost: AtomicBool::new(false),
        reports: OnceLock::new(),
    });
    let stop = Arc::clone(&reporter.stop);
    let Plan { mut reader, commands, code, workers, protocol, first, shape, limits, journal } =
        Plan::of(&options, Arc::clone(&stop));
    if options.commands.confirm && !options.commands.dry_run {
        // Before any input is read and lost.
        Console::terminal().context("--confirm has no terminal to ask on")?;
    }
    let sources: Vec<String> = reader.sources.iter().map(Source::name).collect();
    let (lanes, lane_procs) = match (&reader.choice, options.workers.max_procs) {
        (Choice::Key { count, .. }, _) => (*count, 1),
        (Choice::Names(names), procs) => (names.len(), procs.unwrap_or_else(num_cpus::get)),
        (Choice::One, procs) => (1, procs.unwrap_or_else(num_cpus::get)),
    };
    let max_procs = lanes * lane_procs;
    allow_descriptors(max_procs);
    let outputs = Outputs::find(&options, &reader.sources)?;
    check_streams(&reader.sources)?;
    reader.rest.clone_from(&outputs.rest);
    let journal = journal.as_ref().map(|settings| open_journal(settings, &console)).transpose()?;
    if let Some(journal) = &journal {
        resume_from(journal, &mut reader);
    }
    let settings = Settings {
        format: Format {
            shape,
            detail: options.output.detail,
            tag: options.output.tag,
            commands: commands.clone(),
            sources: sources.clone(),
        },
        ordered: !options.output.stream,
        buffer: options.output.buffer,
        journal: journal.clone(),
    };
    let reports = reports(&options, &outputs, &reader.sources, &settings.format, max_procs)?;
    if let Some(reports) = &reports {
        // It is set once.
        let _ = reporter.reports.set(Arc::clone(reports));
    }
    let surroundings = Arc::clone(&reporter) as Arc<dyn Surroundings>;
    let output =
        Arc::new(Output::start(settings, surroundings).context("the output can't be started")?);
    let halted = Box::new({
        let events = events.clone();
        move || drop(events.send(Event::Halted))
    });
    let wanted = wanted(&options, outputs, &reader, reports.clone())?;
    let tally = Tally::new(Arc::clone(&output), wanted, commands.clone(), halted)?;
    let tally = Arc::new(tally);
    // What is the same for all pools.
    let described = |pool: Builder| {
        set(pool, &options)
            .limits(limits.clone())
            .sources(sources.clone())
            .watcher(Arc::clone(&reporter) as Arc<dyn Watcher>)
            .sink(Arc::clone(&tally) as Arc<dyn Sink>)
    };
    let builders: Vec<Builder> = match (&commands, &code) {
        (Some(commands), _) => vec![Pool::commands((**commands).clone())],
        (None, Some(code)) => vec![Pool::code(code)],
        (None, None) => {
            workers.iter().map(|line| worker(line, protocol, &first, options.workers.pty)).collect()
        }
    };
    // As many of a kind as there are lanes, or a kind for each.
    let builders = builders.into_iter().map(described).cycle().take(lanes);
    let mut pools: Vec<Pool> = Vec::new();
    for (index, builder) in builders.enumerate() {
        let builder = builder.max_procs(lane_procs);
        let builder = match pools.first() {
            Some(first) => builder.beside(first, index * lane_procs),
            None => builder,
        };
        pools.push(builder.build()?);
    }
    let pool = Lanes::new(pools);
    tally.watch(&pool);
    let counts = Arc::clone(&output);
    let progress =
        Progress::start(options.output.progress, Arc::clone(&console), move || counts.counts())?;
    allow_signals().context("signals can't be listened to")?;
    let (tell, orders) = unbounded_channel();
    let signal = Arc::new(AtomicI32::new(0));
    let interrupts = Interrupts {
        pool: pool.clone(),
        console: Arc::clone(&console),
        stop: Arc::clone(&stop),
        grace: options.failures.grace,
        orders: tell,
        signal: Arc::clone(&signal),
    };
    interrupts.listen().context("signals can't be listened to")?;
    drop(early);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (input, unfed) = (None, 0);
    let run = Run {
        pool,
        output,
        tally,
        console,
        stop,
        events: receiver,
        orders,
        signal,
        hint_at: None,
        give_up_at: None,
        progress,
        reports,
        has_summary: options.output.summary,
        journal,
        trouble: false,
        is_doubtful: false,
        input,
        unfed,
    };
    runtime.block_on(run.watch(reader, events))
}

/// What is to be kept count of.
fn wanted(
    options: &Options,
    outputs: Outputs,
    reader: &Reader,
    reports: Option<Arc<Reports>>,
) -> anyhow::Result<Wanted> {
    let lines = Lines {
        delimiter: reader.delimiter,
        is_csv: matches!(&reader.form, Form::Plain(plain) if plain.columns == Columns::Csv),
        header: match &reader.form {
            Form::Plain(plain) => Arc::clone(&plain.header_line),
            Form::Job | Form::Message => Arc::default(),
        },
        rest: outputs.rest,
        is_piped: outputs.is_piped,
    };
    Ok(Wanted {
        halt: match (&options.failures.halt, options.failures.fail_fast) {
            (_, true) => Some(FAIL_FAST),
            (halt, false) => halt.and_then(|halt| halt.0),
        },
        joblog: outputs.joblog,
        resume: options.journal.resume,
        reports,
        failed: outputs.failed.map(|failed| FailedLines::open(failed, lines)).transpose()?,
    })
}

/// Refuses to run where nothing can be read, or what is printed would be lost.
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

/// What is reported of the run, if anything is.
fn reports(
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
    let names = Names {
        commands: format.commands.clone(),
        sources: format.sources.clone(),
        files: sources.iter().map(file).collect(),
    };
    let reports = Reports::open(options, outputs, names, format, slots)?;
    Ok(reports.map(Arc::new))
}

/// The pool of one worker.
fn worker(line: &str, protocol: Protocol, first: &[Init], pty: bool) -> Builder {
    let pool = Pool::builder(line).protocol(protocol).pty(pty);
    first.iter().fold(pool, |pool, init| pool.init(init.clone()))
}

/// Opens the journal; what a person should know of it is told.
fn open_journal(settings: &journal::Settings, console: &Console) -> anyhow::Result<Arc<Journal>> {
    let journal = Journal::open(settings).map_err(anyhow::Error::msg)?;
    if journal.torn() > 0 {
        let bytes =
            if journal.torn() == 1 { "1 byte".into() } else { format!("{} bytes", journal.torn()) };
        console.say(&format!(
            "the last line of the journal '{}' was not written to its end, and was cut off \
             ({bytes}): its job will be run again",
            settings.path.display()
        ));
    }
    Ok(Arc::new(journal))
}

/// Has jobs looked up in the journal, and lines packed as they were when it was begun.
fn resume_from(journal: &Arc<Journal>, reader: &mut Reader) {
    reader.journal = Some(Arc::clone(journal));
    if let Form::Plain(Plain { pack: Pack::Bytes { most, .. }, .. }) = &mut reader.form {
        *most = journal.pack().unwrap_or(*most);
    }
}

/// What is to be said of a journal that is of another input, or has all of it. Of the jobs, so many have
/// succeeded and failed; `others` is not 0 if any was run, or is to be.
fn told_by(journal: &Journal, (succeeded, failed): (u64, u64), others: u64) -> Option<String> {
    let resumed = journal.resumed();
    if resumed == 0 && journal.recorded() > 0 {
        return Some("none of the jobs that the journal has is in this input".into());
    }
    if resumed == 0 || resumed != succeeded || others > 0 {
        return None;
    }
    // Lines that are no jobs have failed.
    let (all, s) = (if failed == 0 { "all " } else { "" }, if resumed == 1 { "" } else { "s" });
    let path = journal.path().display();
    Some(format!("nothing was run: {all}results come from the journal '{path}' ({resumed} job{s})"))
}

/// Sets what is the same for workers and commands.
fn set(pool: Builder, options: &Options) -> Builder {
    let pool = match options.failures.timeout {
        Some(Timeout::Time(time)) if !time.is_zero() => pool.timeout(time),
        Some(Timeout::Median(times)) => pool.timeout_by_median(times),
        _ => pool,
    };
    let pool = match options.workers.pipeline {
        Some(depth) => pool.depth(depth),
        None => pool,
    };
    let pool = match options.workers.start_limit {
        Some(limit) => pool.start_limit(limit),
        None => pool,
    };
    pool.max_reqs(options.workers.max_reqs)
        .max_reqs_jitter(options.recycling.max_reqs_jitter)
        .max_age(options.recycling.max_age.filter(|age| !age.is_zero()))
        .max_rss(options.recycling.max_rss.map(|bytes| bytes as u64))
        .idle_timeout(options.recycling.idle_timeout.filter(|time| !time.is_zero()))
        .standby(options.recycling.standby.unwrap_or(usize::MAX))
        .retries(options.failures.retries)
        .retry_on(options.failures.retry_on.iter().map(|kind| kind.0).collect())
        .retry_delay(options.failures.retry_delay)
        .grace(options.failures.grace)
        .start_timeout(Some(options.workers.start_timeout).filter(|time| !time.is_zero()))
        .max_reply(options.workers.max_reply)
        .nice(options.throttling.nice.unwrap_or_default())
        .reap_orphans(adopts_orphans())
}

/// Whether the orphans among the descendants of this process become its children.
fn adopts_orphans() -> bool {
    #[cfg(target_os = "linux")]
    if rustix::process::child_subreaper().is_ok_and(|subreaper| subreaper.is_some()) {
        return true;
    }
    rustix::process::getpid().is_init()
}

/// Raises the limit of open files, as far as the system lets it, if that many workers need it: each
/// takes its three pipes, one more for its exit, two for its slot, and as much again for a spare.
fn allow_descriptors(max_procs: usize) {
    let wanted = 64 + 10 * u64::try_from(max_procs).unwrap_or(u64::MAX / 16);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // If it stays too low, the workers that can't be started say so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
    }
}

/// Finds out whether there is room for the descriptors that a runtime takes, some of which tokio
/// panics without.
fn allow_signals() -> io::Result<()> {
    let pairs: io::Result<Vec<_>> = (0..4).map(|_| UnixStream::pair()).collect();
    pairs.map(drop)
}

/// Waits for a moment, or for ever.
async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// How a process ends that has caught this signal; `None`: it has caught none.
fn caught(signal: &AtomicI32) -> Option<Status> {
    Some(signal.load(Ordering::Acquire)).filter(|signal| *signal != 0).map(Status::Signal)
}

/// A run under way.
struct Run {
    pool: Lanes,
    output: Arc<Output>,
    tally: Arc<Tally>,
    console: Arc<Console>,
    /// Tells the reader to stop.
    stop: Arc<AtomicBool>,
    events: UnboundedReceiver<Event>,
    orders: UnboundedReceiver<Order>,
    /// The signal that the process is to die of; 0: none has come.
    signal: Arc<AtomicI32>,
    /// When a person is to be told what is waited for.
    hint_at: Option<tokio::time::Instant>,
    /// When nothing that was killed is waited for any more.
    give_up_at: Option<tokio::time::Instant>,
    progress: Progress,
    reports: Option<Arc<Reports>>,
    has_summary: bool,
    journal: Option<Arc<Journal>>,
    /// Some input could not be read.
    trouble: bool,
    /// Some results may be wrong.
    is_doubtful: bool,
    /// How the reading ended, once it has.
    input: Option<End>,
    /// Jobs that were read and did not get to the pool.
    unfed: usize,
}

impl Run {
    /// Waits for the end of the run, and says how it ended.
    async fn watch(
        mut self,
        reader: Reader,
        events: UnboundedSender<Event>,
    ) -> anyhow::Result<Status> {
        let (pool, sink) = (self.pool.clone(), Arc::clone(&self.tally));
        let console = Arc::clone(&self.console);
        thread::Builder::new()
            .name("input".into())
            .spawn(move || {
                let complain = |problem: &str| console.say(problem);
                let read = || reader.run(&pool, &*sink, &complain);
                // Without an end of its input a run would never end.
                let end = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                    complain("the input could not be read on: this is a defect of procpool");
                    End::Incomplete
                });
                let _ = events.send(Event::InputRead(end));
            })
            .context("no thread could be started for the input")?;
        let mut end = None;
        let mut is_ending = false;
        loop {
            tokio::select! {
                biased;
                Some(order) = self.orders.recv() => {
                    self.obey(order);
                    if order == Order::Report {
                        continue;
                    }
                }
                () = sleep_until(self.hint_at) => {
                    self.hint();
                    continue;
                }
                // Whatever holds a slot up holds up no more than that slot.
                () = sleep_until(self.give_up_at) => break,
                Some(event) = self.events.recv() => end = self.happened(event).or(end),
                () = self.pool.ended(), if is_ending => break,
            }
            is_ending = true;
            if self.tally.has_halted() {
                self.stop.store(true, Ordering::Release);
            }
            if end.is_some() {
                self.stop.store(true, Ordering::Release);
                self.output.hurry();
            }
        }
        self.print_rest(end).await;
        self.keep_failed().await;
        let end = self.write_reports(end).await;
        let signal = Arc::clone(&self.signal);
        let status = self.finish(end);
        // It may have come at the very last.
        Ok(caught(&signal).unwrap_or(status))
    }

    /// Does what a signal asks for.
    fn obey(&mut self, order: Order) {
        if order == Order::Report {
            return self.say_what_runs();
        }
        // First, or else what is handed out now would wait for whoever reads stdout.
        self.output.hurry();
        match order {
            Order::Stop => {
                self.pool.stop();
                self.hint_at = Some(tokio::time::Instant::now() + HINT_AFTER);
            }
            Order::Terminate => self.pool.terminate(),
            Order::Kill | Order::Report => {
                self.pool.kill();
                self.give_up();
            }
        }
    }

    /// All was killed: the run waits a little for that, and not for ever.
    fn give_up(&mut self) {
        self.give_up_at.get_or_insert_with(|| tokio::time::Instant::now() + LAST_WAIT);
    }

    /// Tells who sits there what is waited for, if anything is.
    fn hint(&mut self) {
        self.hint_at = None;
        let jobs = self.pool.underway(ROLL_PATIENCE / 2).len();
        if jobs > 0 {
            let s = if jobs == 1 { "" } else { "s" };
            self.console.hint(&format!("waiting for {jobs} running job{s}; once more to end them"));
        }
    }

    /// Says what runs.
    fn say_what_runs(&self) {
        let jobs = self.pool.underway(ROLL_PATIENCE);
        let (succeeded, failed) = self.output.counts();
        let mut text = format!("{} done, {failed} failed, ", succeeded + failed);
        match jobs.len() {
            0 => text.push_str("none running"),
            count => text.push_str(&format!("{count} running:")),
        }
        for job in &jobs {
            let time = Seconds(job.time.as_secs_f64());
            text.push_str(&format!(
                "\n  {}, for {time} in slot {} (pid {}): {}",
                job.job, job.slot, job.pid, job.what
            ));
            if job.waiting > 0 {
                text.push_str(&format!("; {} more at this worker", job.waiting));
            }
        }
        self.console.say(&text);
    }

    /// All workers are gone: prints what is left to print. Whoever reads stdout may take their
    /// time, unless the run was ended early.
    async fn print_rest(&mut self, end: Option<Status>) {
        let output = Arc::clone(&self.output);
        let printed = output.finish();
        tokio::pin!(printed);
        while !matches!(end, Some(Status::Signal(_))) && caught(&self.signal).is_none() {
            tokio::select! {
                () = &mut printed => return,
                Some(order) = self.orders.recv() => self.obey(order),
            }
        }
        let _ = tokio::time::timeout(LAST_PRINT, printed).await;
    }

    /// Has the lines of failed jobs put in their place. A signal, another one if there was one, leaves
    /// what is there as it is.
    async fn keep_failed(&mut self) {
        let soon = |time| Some(tokio::time::Instant::now() + time);
        let mut last = caught(&self.signal).and_then(|_| soon(LAST_KEEP));
        if self.give_up_at.is_some() {
            last = soon(LAST_WAIT);
        }
        let mut kept = self.keep();
        loop {
            tokio::select! {
                _ = &mut kept => return,
                Some(order) = self.orders.recv() => match order {
                    Order::Report => {}
                    // All are gone.
                    Order::Kill => last = soon(LAST_WAIT),
                    Order::Stop | Order::Terminate => return,
                },
                () = sleep_until(last) => return,
            }
        }
    }

    /// Puts the lines of failed jobs in their place, on a thread of its own: a disk may be slow. What is
    /// returned is told when that is done, or is not to be done.
    fn keep(&self) -> tokio::sync::oneshot::Receiver<()> {
        let is_read = matches!(self.input, Some(End::Complete(_)));
        let is_whole = is_read && self.pool.left() + self.unfed == 0;
        let (tally, console) = (Arc::clone(&self.tally), Arc::clone(&self.console));
        let (done, kept) = tokio::sync::oneshot::channel();
        let finish = move || {
            if let Some(note) = tally.finish_failed(is_whole) {
                console.say(&note);
            }
            let _ = done.send(());
        };
        if self.tally.keeps_failed() {
            // Without a thread, what is there stays as it is.
            let _ = thread::Builder::new().name("failed".into()).spawn(finish);
        }
        kept
    }

    /// Has the reports written. They may go to a pipe that nobody reads: a signal, another one if there
    /// was one, ends that.
    async fn write_reports(&mut self, end: Option<Status>) -> Option<Status> {
        let Some(reports) = self.reports.clone() else { return end };
        let soon = |time| Some(tokio::time::Instant::now() + time);
        let mut last = caught(&self.signal).and_then(|_| soon(LAST_REPORT));
        if self.give_up_at.is_some() {
            last = soon(LAST_WAIT);
        }
        let (output, ending) = (Arc::clone(&self.output), self.ending(end));
        let (done, mut written) = tokio::sync::oneshot::channel();
        // On a thread of its own: whoever reads a report may be slow.
        let write = move || drop(done.send(reports.write(ending, &output)));
        if let Err(error) = thread::Builder::new().name("reports".into()).spawn(write) {
            self.console.say(&format!("the reports could not be written: {error}"));
            return end.or(Some(Status::Trouble));
        }
        loop {
            tokio::select! {
                troubles = &mut written => {
                    let troubles = troubles.unwrap_or_default();
                    troubles.iter().for_each(|trouble| self.console.say(trouble));
                    return end.or((!troubles.is_empty()).then_some(Status::Trouble));
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Report => {}
                    // All are gone.
                    Order::Kill => last = soon(LAST_WAIT),
                    Order::Stop | Order::Terminate => return end,
                },
                () = sleep_until(last) => return end,
            }
        }
    }

    /// How the run ended, as reports tell it.
    fn ending(&self, end: Option<Status>) -> Ending {
        let is_read = matches!(self.input, Some(End::Complete(_) | End::Incomplete));
        let left = self.pool.left() + self.unfed;
        let outcome = match caught(&self.signal).or(end) {
            Some(Status::Signal(signal)) => Outcome::Interrupted(signal),
            Some(_) => Outcome::Broken,
            None if self.tally.has_halted() => Outcome::Halted,
            None if self.trouble => Outcome::Broken,
            None if self.is_doubtful => Outcome::Doubtful,
            None => Outcome::Complete,
        };
        let processes = self.pool.started();
        Ending { outcome, left: left as u64, has_unread_input: !is_read, processes }
    }

    /// Deals with an event; returns how the run is to end, if it is.
    fn happened(&mut self, event: Event) -> Option<Status> {
        if matches!(event, Event::Output(_) | Event::StartLimit(_)) {
            // Whoever asks a question has the terminal until then.
            self.stop.store(true, Ordering::Release);
        }
        match event {
            Event::InputRead(End::Misused(message)) => {
                self.console.say(&message);
                self.pool.kill();
                Some(Status::Usage)
            }
            Event::InputRead(End::Unresumable(message)) => {
                self.console.say(&message);
                self.pool.stop();
                Some(Status::Trouble)
            }
            Event::InputRead(input) => {
                match input {
                    End::Complete(jobs) => self.tally.set_total(jobs),
                    End::Stopped(jobs) => self.unfed = jobs,
                    _ => self.trouble = true,
                }
                self.input = Some(input);
                self.pool.finish();
                None
            }
            Event::Halted => None,
            Event::Doubtful => {
                self.is_doubtful = true;
                None
            }
            Event::Output(Trouble::Closed) => {
                self.console.hurry();
                self.pool.kill();
                self.give_up();
                Some(Status::Signal(rustix::process::Signal::PIPE.as_raw()))
            }
            Event::Output(Trouble::Broken(message)) => {
                self.pool.kill();
                self.console.say(&message);
                Some(Status::Trouble)
            }
            Event::Output(Trouble::Disordered(message) | Trouble::Unrecorded(message)) => {
                self.pool.stop();
                self.console.say(&message);
                Some(Status::Trouble)
            }
            Event::StartLimit(failure) => {
                self.console.say(&failure.message);
                self.pool.stop();
                Some(Status::CannotRun)
            }
        }
    }

    /// Says what is to be said at the end.
    fn finish(self, end: Option<Status>) -> Status {
        let ending = self.ending(end);
        let (reports, has_summary) = (self.reports.clone(), self.has_summary);
        let Self { output, console, pool, tally, progress, journal, mut events, .. } = self;
        drop(progress);
        let (mut end, mut input, mut unfed) = (end, self.input, self.unfed);
        let mut is_doubtful = self.is_doubtful;
        while let Ok(event) = events.try_recv() {
            end = end.or(match event {
                Event::InputRead(end) => {
                    if let End::Stopped(jobs) = end {
                        unfed = jobs;
                    }
                    input = Some(end);
                    None
                }
                Event::Output(Trouble::Closed) => {
                    Some(Status::Signal(rustix::process::Signal::PIPE.as_raw()))
                }
                Event::Output(
                    Trouble::Broken(message)
                    | Trouble::Disordered(message)
                    | Trouble::Unrecorded(message),
                ) => {
                    console.say(&message);
                    Some(Status::Trouble)
                }
                Event::Doubtful => {
                    is_doubtful = true;
                    None
                }
                Event::Halted | Event::StartLimit(_) => None,
            });
        }
        let is_quiet = end == Some(Status::Signal(rustix::process::Signal::PIPE.as_raw()));
        let left = pool.left() + unfed;
        let is_read = matches!(input, Some(End::Complete(_) | End::Incomplete));
        if !is_quiet && (left > 0 || (tally.has_halted() && !is_read)) {
            let s = if left == 1 { "" } else { "s" };
            let by = if tally.has_halted() { " by --halt" } else { "" };
            let rest = if is_read { "" } else { ", and input left unread" };
            console.say(&format!("the run was ended{by}: {left} job{s} read and not run{rest}"));
        }
        if let Some(journal) = journal.filter(|_| is_read)
            && let Some(message) = told_by(&journal, output.counts(), pool.started() + left as u64)
        {
            console.say(&message);
        }
        if let Some(annotations) = reports.as_ref().and_then(|reports| reports.annotations()) {
            console.print(annotations.as_bytes());
        }
        let summary = reports.as_ref().and_then(|reports| reports.summary(ending));
        if let Some(summary) = summary.filter(|_| has_summary) {
            console.say(&summary);
        }
        let trouble = tally.trouble();
        if let Some(message) = &trouble {
            console.say(message);
        }
        match output.counts() {
            _ if end.is_some() => end.unwrap_or(Status::Trouble),
            _ if self.trouble || trouble.is_some() => Status::Trouble,
            _ if tally.has_halted() && (left > 0 || !is_read) => Status::JobsFailed,
            (_, 0) if !is_doubtful => Status::Success,
            _ => Status::JobsFailed,
        }
    }
}
