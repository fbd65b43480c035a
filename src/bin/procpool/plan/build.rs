//! [`Plan`], and the order in which its parts are made.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use procpool::engine::input::{KeptLines, Reader, Whole};
use procpool::engine::journal;
use procpool::engine::output::format::{Shape, Tag};
use procpool::engine::{Code, Commands, Init, Limits, Protocol};

use super::bundles::{Consumers, may_bundle};
use super::invocation::Invocation;
use super::joining::joining;
use super::machine::Machine;
use super::misuse::Misuse;
use super::mode::Mode;
use super::surroundings::{WorkerPlace, surroundings};
use super::workers::{check_names, first_messages, named_workers, protocol};
use super::{
    blocks, commands, journal as journal_plan, lines, no_shell, queue, results, route, sources,
    stdin, usage,
};
use crate::cli::{self, Options};

/// The demands of the options.
pub struct Plan {
    /// Where jobs come from, and what they are.
    pub reader: Reader,
    /// The commands that run jobs; `None`: workers run them.
    pub commands: Option<Arc<Commands>>,
    /// The code of the workers; `None`: they are programs.
    pub code: Option<Code>,
    /// The command lines of the workers.
    pub workers: Vec<String>,
    /// The environment and the directory of the workers.
    pub surroundings: WorkerPlace,
    /// The protocol of the workers.
    pub protocol: Protocol,
    /// The messages that a fresh worker gets first.
    pub first: Vec<Init>,
    pub shape: Shape,
    /// What each line of text begins with.
    pub tag: Tag,
    pub limits: Limits,
    /// The settings of the journal, if there is one.
    pub journal: Option<journal::JournalSettings>,
}

impl Plan {
    /// Makes the plan for this machine. `stop` ends the reading of the input.
    ///
    /// # Errors
    /// The command line makes no sense.
    pub fn of(options: &Options, stop: Arc<AtomicBool>) -> Result<Self, Misuse> {
        Self::on(&Machine::current(), options, stop)
    }

    /// As [`Plan::of`], for any machine.
    pub fn on(machine: &Machine, options: &Options, stop: Arc<AtomicBool>) -> Result<Self, Misuse> {
        let invocation = Invocation::new(options, machine)?;
        check(&invocation)?;
        let has_commands = !invocation.has_workers();
        let template = has_commands.then(|| commands::template(&invocation)).transpose()?;
        let protocol = protocol(options)?;
        let first = first_messages(options, &protocol)?;
        let form = lines::form(&invocation, &protocol, template.as_ref())?;
        let (names, workers) = named_workers(&options.workers.worker)?;
        check_names(&invocation, &protocol, &names)?;
        let journal = journal_plan::settings(&invocation, &protocol, &form, &names);
        let route = route::route(&invocation, names, &form)?;
        let sources = sources::sources(&invocation)?;
        blocks::check(&form, &sources)?;
        let shape = results::shape(&invocation, &protocol)?;
        let tag = results::tag(&invocation)?;
        let limits = limits(options);
        let consumers =
            Consumers { shape, route: &route, limits: &limits, has_journal: journal.is_some() };
        let default_delimiter = if options.input.null { 0 } else { b'\n' };
        let total = template.as_ref().and_then(|template| template.total().cloned());
        let whole = Whole::new(options.input.lists.shuf, total);
        let reader = Reader {
            sources,
            bundles: may_bundle(options, &protocol, &form, &consumers),
            coding: lines::coding(options),
            delimiter: options.input.delimiter.unwrap_or(default_delimiter),
            max_line: options.input.max_line,
            kept: kept_lines(&invocation),
            joining: joining(&invocation)?,
            route,
            journal: None,
            rest: None,
            stop,
            intake: Arc::default(),
            whole,
            form,
        };
        let commands = template.map(|template| commands::commands(&invocation, template, &reader));
        let code = invocation.code;
        let surroundings =
            if has_commands { WorkerPlace::default() } else { surroundings(options)? };
        Ok(Self {
            reader,
            commands,
            code,
            workers,
            surroundings,
            protocol,
            first,
            shape,
            tag,
            limits,
            journal,
        })
    }
}

/// Checks that the options and COMMAND can be used together.
fn check(invocation: &Invocation<'_>) -> Result<(), Misuse> {
    let options = invocation.options;
    if let Some(message) = cli::report::misuse(options) {
        return Err(message.into());
    }
    if let Some(code) = &invocation.code {
        code.check_path().map_err(Misuse::new)?;
        if code.preload && !code.language.has_preload() {
            return Err(Misuse::new(format!(
                "--preload is for --python and --ruby: workers of {} can't be forked",
                code.language.name()
            )));
        }
    }
    usage::check(options, Mode::of(invocation), invocation.has_only_words())?;
    stdin::check_terminal(invocation)?;
    queue::check(invocation)?;
    for line in &options.workers.worker {
        no_shell::check_worker(line)?;
    }
    if !invocation.has_workers() && options.commands.shell.is_none() {
        no_shell::check_command(invocation.words)?;
    }
    let file = invocation.code.as_ref().filter(|code| code.is_file());
    let function = invocation.words.first().and_then(|word| word.to_str());
    match (file, function) {
        (Some(code), Some(name)) => code.check_function(name).map_err(Misuse::new),
        _ => Ok(()),
    }
}

/// The limits that jobs wait for. A dry run starts nothing, so it waits for nothing.
fn limits(options: &Options) -> Limits {
    if options.commands.dry_run {
        return Limits::default();
    }
    let throttling = &options.throttling;
    Limits {
        interval: throttling.delay.max(throttling.rate).filter(|interval| !interval.is_zero()),
        max_load: throttling.max_load,
        min_free_memory: throttling.min_free_memory.map(|bytes| bytes as u64),
        jobserver: true,
    }
}

/// Which lines are needed after their jobs were made.
fn kept_lines(invocation: &Invocation<'_>) -> KeptLines {
    if queue::is_open(invocation) {
        KeptLines::All
    } else if invocation.options.failures.failed.is_some() {
        KeptLines::OfJobs
    } else {
        KeptLines::None
    }
}
