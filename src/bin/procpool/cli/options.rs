//! The definition of the command line: the groups of options, in the order of `--help`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, ColorChoice, CommandFactory, FromArgMatches, Parser, ValueHint};

use super::capacity;
use super::code::CodeOptions;
use super::commands::CommandOptions;
use super::errors::{EarlyExit, explain};
use super::failures::FailureOptions;
use super::help::HelpOptions;
use super::input::InputOptions;
use super::journal::JournalOptions;
use super::output::OutputOptions;
use super::queue::QueueOptions;
use super::recycling::RecyclingOptions;
use super::short_help;
use super::texts::{EXAMPLES, LONG_ABOUT, STYLES};
use super::throttling::ThrottlingOptions;
use super::workers::WorkerOptions;

/// The command line, as the user gave it.
#[derive(Debug, Parser)]
#[command(
    name = "procpool",
    version,
    about = short_help::BEFORE_USAGE,
    override_usage = "procpool [OPTIONS] [COMMAND [ARG]...]",
    long_about = LONG_ABOUT,
    after_help = short_help::AFTER_USAGE,
    after_long_help = EXAMPLES,
    styles = STYLES,
    max_term_width = 100,
    args_override_self = true,
    disable_help_flag = true,
    disable_version_flag = true,
    trailing_var_arg = true
)]
pub struct Options {
    /// The command to run for each line of input
    ///
    /// Each line has the arguments of one job, as --input says. They replace the placeholders in the ARGs
    /// ({}, {.}, {1} …). Without a placeholder, they come after the ARGs. With a worker, COMMAND is the
    /// function, and the arguments always come after the ARGs. Without a COMMAND and an expression, each line
    /// is a whole job. Options go before COMMAND. All words after COMMAND belong to it. COMMAND ::: A B C takes
    /// arguments from the command line instead of stdin. Several ::: make all combinations.
    #[arg(value_name = "COMMAND", num_args = 0.., value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,

    #[command(flatten, next_help_heading = "Workers")]
    pub workers: WorkerOptions,

    #[command(flatten, next_help_heading = "Recycling")]
    pub recycling: RecyclingOptions,

    #[command(flatten, next_help_heading = "Code")]
    pub code: CodeOptions,

    #[command(flatten, next_help_heading = "Commands")]
    pub commands: CommandOptions,

    #[command(flatten, next_help_heading = "Throttling")]
    pub throttling: ThrottlingOptions,

    #[command(flatten, next_help_heading = "Input")]
    pub input: InputOptions,

    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputOptions,

    #[command(flatten, next_help_heading = "Failures")]
    pub failures: FailureOptions,

    #[command(flatten, next_help_heading = "Journal")]
    pub journal: JournalOptions,

    #[command(flatten, next_help_heading = "Queue")]
    pub queue: QueueOptions,

    #[command(flatten, next_help_heading = "Help")]
    pub help: HelpOptions,

    /// What clap does not say.
    #[arg(skip)]
    pub line: GivenOptions,
}

/// What was given, and in which order.
#[derive(Debug, Default)]
pub struct GivenOptions {
    /// The ids of the options that were given.
    pub given: Vec<String>,
    /// The ids of those that were given on the command line itself.
    pub own: Vec<String>,
    /// How many words come from elsewhere. They follow the name of the program.
    pub presets: usize,
    /// The lines of --init and --notify in their order, and whether each has a reply.
    pub first: Vec<(String, bool)>,
}

/// Parses a command line. The first word is the name of the program.
///
/// # Errors
/// There is nothing to run: the command line asks for help or the version, or is wrong.
pub fn parse_words(words: &[OsString]) -> Result<Options, EarlyExit> {
    let mut definition = definition();
    let matches =
        definition.try_get_matches_from_mut(words).map_err(|error| explain(error, words))?;
    of_matches(matches, definition, words)
}

/// As [`parse_words`], of words that may lack an option that another one needs. Also returns whether they lack none.
///
/// # Errors
/// As for [`parse_words`].
pub fn parse_part(words: &[OsString]) -> Result<(Options, bool), EarlyExit> {
    let mut definition = definition();
    let (matches, is_whole) = match definition.try_get_matches_from_mut(words) {
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            definition = definition.ignore_errors(true);
            (definition.try_get_matches_from_mut(words)?, false)
        }
        matches => (matches.map_err(|error| explain(error, words))?, true),
    };
    Ok((of_matches(matches, definition, words)?, is_whole))
}

fn of_matches(
    mut matches: ArgMatches,
    definition: clap::Command,
    words: &[OsString],
) -> Result<Options, EarlyExit> {
    let first = first_lines(&matches);
    let given = given(&matches, &definition);
    let procs_file = procs_file(&matches);
    // To take it apart costs more than its 200 KB are worth in a process that parses once.
    std::mem::forget(definition);
    let mut options = Options::from_arg_matches_mut(&mut matches)?;
    options.line.first = first;
    options.line.given = given;
    options.throttling.procs_file = procs_file;
    options.commands.hosts.words = words.to_vec();
    if options.commands.tty {
        options.workers.max_procs.get_or_insert(1);
    }
    if options.workers.max_procs == Some(0) {
        options.workers.max_procs = Some(options.most_procs());
    }
    Ok(options)
}

impl Options {
    /// The meaning of `-j0`: as many jobs of each worker as the limits of the system allow.
    pub fn most_procs(&self) -> usize {
        // If there are several workers, each has up to this number of processes.
        let kinds = self.workers.worker.len().max(1);
        (capacity::most() / kinds).max(1)
    }
}

/// The file of `--max-procs @FILE`.
fn procs_file(matches: &ArgMatches) -> Option<PathBuf> {
    let value = matches.get_raw("max_procs")?.next_back()?;
    let path = value.as_bytes().strip_prefix(b"@")?;
    Some(OsStr::from_bytes(path).into())
}

/// The lines of --init and --notify, in the order they were given.
fn first_lines(matches: &ArgMatches) -> Vec<(String, bool)> {
    let lines = |name: &str, has_reply: bool| {
        let indices = matches.indices_of(name).into_iter().flatten();
        let lines = matches.get_many::<String>(name).into_iter().flatten();
        indices.zip(lines.map(|line| (line.clone(), has_reply))).collect::<Vec<_>>()
    };
    let mut all = lines("init", true);
    all.extend(lines("notify", false));
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, line)| line).collect()
}

/// The ids of the options that were given, even with their default value.
fn given(matches: &ArgMatches, definition: &clap::Command) -> Vec<String> {
    let is_given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let ids = definition.get_arguments().map(|arg| arg.get_id().as_str());
    ids.filter(is_given).map(str::to_owned).collect()
}

/// The colours of help and of errors in the command line, which is not parsed by then.
fn early_color() -> ColorChoice {
    let words: Vec<OsString> = std::env::args_os().take_while(|word| word != "--").collect();
    let value = words.iter().enumerate().rev().find_map(|(at, word)| match word.to_str()? {
        "--color" => words.get(at + 1)?.to_str(),
        word => word.strip_prefix("--color="),
    });
    match value {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// The definition of the command line, for the man page and the completions.
pub fn definition() -> clap::Command {
    // A negative number is a wrong value of its option, not an option that does not exist.
    Options::command().color(early_color()).mut_args(|arg| {
        // -h is one screen of text, which is written by hand.
        let arg = arg.hide_short_help(true);
        let is_option = arg.get_long().is_some() && arg.get_action().takes_values();
        let names = arg.get_value_names().unwrap_or_default();
        let is_amount = names.iter().any(|name| {
            let is_number = *name == "N" || name.starts_with("N|") || name.starts_with("N/");
            is_number || name.contains("TIME") || name.contains("SIZE")
        });
        if is_option && is_amount {
            arg.allow_hyphen_values(true)
        } else if is_option {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    })
}
