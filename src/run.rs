//! One run: builds what the options ask for, and waits for its end or for what ends it.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use procpool::input::plain::Plain;
use procpool::input::{Form, Reader, Source};
use procpool::output::format::Shape;
use procpool::output::{Format, Output, Settings, Surroundings, Trouble};
use procpool::{Failure, Pool, Watcher};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cli::{self, InputFormat, Options};
use crate::exit::Status;
use crate::progress::{Console, Progress};
use crate::signals::{Caught, Signals, suspend_self};

/// How long what is finished may take to be printed once a run was interrupted.
const LAST_PRINT: Duration = Duration::from_secs(1);

/// How long killed workers may take to be gone.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What can end a run, but for signals.
enum Event {
    /// The input has been read to its end; all of it, or not.
    InputRead { is_complete: bool },
    /// stdout or the temporary file can't be written.
    Output(Trouble),
    /// No worker can be started.
    StartLimit(Failure),
}

/// Tells the run what happens in the pool and at the output.
struct Reporter {
    console: Arc<Console>,
    events: UnboundedSender<Event>,
    /// Results and messages are on the same screen.
    stdout_is_terminal: bool,
}

impl Watcher for Reporter {
    fn worker_stderr(&self, lines: &[u8]) {
        self.console.print(lines);
    }

    fn note(&self, text: &str) {
        self.console.say(text);
    }

    fn start_limit_reached(&self, failure: &Failure) {
        let _ = self.events.send(Event::StartLimit(failure.clone()));
    }
}

impl Surroundings for Reporter {
    fn failure(&self, lines: &[u8]) {
        self.console.print(lines);
    }

    fn around_write(&self, write: &mut dyn FnMut()) {
        // Elsewhere the write may block, and messages must not wait for that.
        match self.stdout_is_terminal {
            true => self.console.aside(write),
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
pub fn run(options: Options) -> anyhow::Result<Status> {
    let (events, receiver) = unbounded_channel();
    let console = Arc::new(Console::new());
    let reporter = Arc::new(Reporter {
        console: Arc::clone(&console),
        events: events.clone(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
    });
    let stop = Arc::new(AtomicBool::new(false));
    let reader = reader(&options, Arc::clone(&stop))?;
    let sources: Vec<String> = reader.sources.iter().map(Source::name).collect();
    let worker = options.worker.as_deref().unwrap_or_default();
    let max_procs = options.max_procs.unwrap_or_else(num_cpus::get);
    allow_descriptors(max_procs);
    let pool = Pool::builder(worker)
        .max_procs(max_procs)
        .depth(options.pipeline)
        .max_reqs(options.max_reqs)
        .max_reqs_jitter(options.max_reqs_jitter)
        .max_age(options.max_age.filter(|age| !age.is_zero()))
        .max_rss(options.max_rss.map(|bytes| bytes as u64))
        .idle_timeout(options.idle_timeout.filter(|time| !time.is_zero()))
        .standby(options.standby.unwrap_or(usize::MAX))
        .timeout(options.timeout.filter(|timeout| !timeout.is_zero()))
        .grace(options.grace)
        .start_limit(options.start_limit)
        .max_reply(options.max_reply)
        .sources(sources.clone())
        .watcher(Arc::clone(&reporter) as Arc<dyn Watcher>);
    let settings = Settings {
        format: Format { shape: shape(options.format), detail: options.detail, sources },
        ordered: !options.stream,
        buffer: options.buffer,
    };
    let output =
        Arc::new(Output::start(settings, reporter).context("the output can't be started")?);
    let pool = pool.sink(Arc::clone(&output) as Arc<dyn procpool::Sink>).build()?;
    let counts = Arc::clone(&output);
    let progress =
        Progress::start(options.progress, Arc::clone(&console), move || counts.counts())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = Run { pool, output, console, stop, events: receiver, progress, trouble: false };
    runtime.block_on(run.watch(reader, events))
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

fn reader(options: &Options, stop: Arc<AtomicBool>) -> anyhow::Result<Reader> {
    let words = options.command.iter().map(|word| word.to_str().map(str::to_owned));
    let words: Option<Vec<String>> = words.collect();
    let words =
        words.unwrap_or_else(|| cli::misused("COMMAND and its ARGs must be UTF-8 for a worker"));
    let form = match (words.split_first(), options.input) {
        _ if options.worker.is_none() => cli::misused(
            "no worker is named: say which program runs the jobs, with --worker CMDLINE",
        ),
        (None, InputFormat::Json) => cli::misused(
            "--input json needs a COMMAND: each line is the args of a job of it; without a COMMAND \
             each line is a whole job",
        ),
        (None, InputFormat::Lines) => Form::Job,
        (Some((cmd, args)), InputFormat::Lines) => Form::Plain(Plain::strings(cmd, args)),
        (Some((cmd, [])), InputFormat::Json) => Form::Plain(Plain::json(cmd)),
        (Some(_), InputFormat::Json) => {
            cli::misused("with --input json a line is all the args, so no ARG can stand before it")
        }
    };
    let sources = match options.arg_file.as_slice() {
        [] => vec![Source::Stdin],
        files => files.iter().map(|file| Source::File(file.clone())).collect(),
    };
    if options.detail && options.format != cli::Format::Record {
        cli::misused("--detail adds to records: it goes with --format record only");
    }
    let delimiter = if options.null { 0 } else { b'\n' };
    Ok(Reader { sources, form, delimiter, max_line: options.max_line, stop })
}

fn shape(format: cli::Format) -> Shape {
    match format {
        cli::Format::Record => Shape::Record,
        cli::Format::Value => Shape::Value,
        cli::Format::Text => Shape::Text,
    }
}

/// Waits for a moment, or for ever.
async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A run under way.
struct Run {
    pool: Pool,
    output: Arc<Output>,
    console: Arc<Console>,
    /// Tells the reader to stop.
    stop: Arc<AtomicBool>,
    events: UnboundedReceiver<Event>,
    progress: Progress,
    /// Some input could not be read.
    trouble: bool,
}

impl Run {
    /// Waits for the end of the run, and says how it ended.
    async fn watch(
        mut self,
        reader: Reader,
        events: UnboundedSender<Event>,
    ) -> anyhow::Result<Status> {
        let mut signals = Signals::listen().context("signals can't be listened to")?;
        let (pool, sink) = (self.pool.clone(), Arc::clone(&self.output));
        let console = Arc::clone(&self.console);
        thread::Builder::new()
            .name("input".into())
            .spawn(move || {
                let is_complete = reader.run(&pool, &*sink, &|problem| console.say(problem));
                let _ = events.send(Event::InputRead { is_complete });
            })
            .context("no thread could be started for the input")?;
        let mut end = None;
        let mut is_ending = false;
        // Once all is killed, nothing may hold up the end: not even a stderr that nobody reads.
        let mut killed_at: Option<tokio::time::Instant> = None;
        loop {
            tokio::select! {
                biased;
                caught = signals.next() => match caught {
                    Caught::Suspend => {
                        self.pool.pause();
                        self.console.aside(&mut suspend_self);
                        self.pool.resume();
                        continue;
                    }
                    Caught::End(signal) if end.is_none() => {
                        end = Some(Status::Signal(signal));
                        self.pool.stop();
                        self.console.hint("waiting for running jobs; once more to kill them");
                    }
                    Caught::End(signal) | Caught::Quit(signal) => {
                        end = Some(Status::Signal(signal));
                        self.pool.kill();
                        killed_at.get_or_insert_with(tokio::time::Instant::now);
                    }
                },
                () = sleep_until(killed_at.map(|at| at + LAST_WAIT)) => {
                    // Whatever holds a thread up holds up no more than that thread.
                    let _ = end.unwrap_or(Status::Trouble).leave();
                }
                Some(event) = self.events.recv() => end = self.happened(event).or(end),
                () = self.pool.ended(), if is_ending => break,
            }
            is_ending = true;
            if end.is_some() {
                self.stop.store(true, Ordering::Release);
                self.output.hurry();
            }
        }
        let end = self.print_rest(&mut signals, end).await;
        Ok(self.finish(end))
    }

    /// All workers are gone: prints what is left to print. Whoever reads stdout may take their
    /// time, unless the run was ended early.
    async fn print_rest(&self, signals: &mut Signals, end: Option<Status>) -> Option<Status> {
        let printed = self.output.finish();
        tokio::pin!(printed);
        let mut end = end;
        while !matches!(end, Some(Status::Signal(_))) {
            tokio::select! {
                () = &mut printed => return end,
                caught = signals.next() => match caught {
                    Caught::Suspend => self.console.aside(&mut suspend_self),
                    Caught::End(signal) | Caught::Quit(signal) => end = Some(Status::Signal(signal)),
                },
            }
        }
        let _ = tokio::time::timeout(LAST_PRINT, printed).await;
        end
    }

    /// Deals with an event; returns how the run is to end, if it is.
    fn happened(&mut self, event: Event) -> Option<Status> {
        match event {
            Event::InputRead { is_complete } => {
                self.trouble |= !is_complete;
                self.pool.finish();
                None
            }
            Event::Output(Trouble::Closed) => {
                self.pool.kill();
                Some(Status::Signal(rustix::process::Signal::PIPE.as_raw()))
            }
            Event::Output(Trouble::Broken(message)) => {
                self.pool.kill();
                self.console.say(&message);
                Some(Status::Trouble)
            }
            Event::Output(Trouble::Disordered(message)) => {
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
        let Self { output, console, pool, progress, mut events, .. } = self;
        drop(progress);
        let mut end = end;
        while let Ok(event) = events.try_recv() {
            end = end.or(match event {
                Event::Output(Trouble::Closed) => {
                    Some(Status::Signal(rustix::process::Signal::PIPE.as_raw()))
                }
                Event::Output(Trouble::Broken(message) | Trouble::Disordered(message)) => {
                    console.say(&message);
                    Some(Status::Trouble)
                }
                Event::InputRead { .. } | Event::StartLimit(_) => None,
            });
        }
        let is_quiet = end == Some(Status::Signal(rustix::process::Signal::PIPE.as_raw()));
        if pool.left() > 0 && !is_quiet {
            let s = if pool.left() == 1 { "" } else { "s" };
            console.say(&format!("the run was ended: {} job{s} read and not run", pool.left()));
        }
        match output.counts() {
            _ if end.is_some() => end.unwrap_or(Status::Trouble),
            _ if self.trouble => Status::Trouble,
            (_, 0) => Status::Success,
            _ => Status::JobsFailed,
        }
    }
}
