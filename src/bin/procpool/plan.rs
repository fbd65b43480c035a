//! Options → what the library is to do: where jobs come from, what they are, how results look.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use procpool::command::{Names, Settings, Template};
use procpool::input::plain_lines::{Columns, Pack, Plain, Target};
use procpool::input::route::Choice;
use procpool::input::{Form, Reader, Source};
use procpool::journal::{self, Context};
use procpool::output::format::Shape;
use procpool::protocol::framing;
use procpool::{Code, Commands, Depth, Init, Language, Limits, Protocol, parse_init};
use rustix::process::{Resource, getrlimit};

use crate::cli::values::{Format, InputFormat, MaxArgs};
use crate::cli::{self, Options};
use crate::no_shell;
use crate::usage::{self, Mode};

/// A command line and its environment have room for so many bytes at least…
const LEAST_ARGS: u64 = 128 << 10;
/// …and for no more than so many.
const MOST_ARGS: u64 = 6 << 20;

/// So many bytes of that are left free.
const SPARE_ARGS: u64 = 4 << 10;

/// No argument and no variable may have more bytes on Linux.
const LONGEST_ARG: usize = (128 << 10) - 1;

/// The text of a shell command needs no more bytes to refer to an argument.
const SHELL_REFERENCE: usize = 64;

/// What the options ask for.
pub struct Plan {
    /// Where jobs come from, and what they are.
    pub reader: Reader,
    /// What is run for each; `None`: a worker does it.
    pub commands: Option<Arc<Commands>>,
    /// The code of the workers; `None`: they have their own.
    pub code: Option<Code>,
    /// The command lines of the workers.
    pub workers: Vec<String>,
    /// How a worker is spoken to.
    pub protocol: Protocol,
    /// What a fresh one is asked or told first.
    pub first: Vec<Init>,
    pub shape: Shape,
    pub limits: Limits,
    /// Where what comes of jobs is recorded.
    pub journal: Option<journal::Settings>,
}

impl Plan {
    /// Makes it, or says how the options are misused.
    pub fn of(options: &Options, stop: Arc<AtomicBool>) -> Self {
        no_foreign_lists(&options.command);
        if let Some(message) = cli::report::misuse(options) {
            cli::misused(&message);
        }
        let (words, lists) = split_lists(&options.command);
        let code = code(options);
        let has_worker = !options.workers.worker.is_empty() || code.is_some();
        let checked = check(options, words, &lists, code.as_ref());
        checked.unwrap_or_else(|message| cli::misused(&message));
        let template = (!has_worker).then(|| template(options, words, &lists));
        let protocol = protocol(options);
        let first = first(options, protocol);
        let form = match &code {
            Some(code) if !code.is_file() => expression_form(options, words, code),
            _ if protocol.is_raw() => message_form(words),
            _ => form(options, words, template.as_ref()),
        };
        let journal = options.journal.file.as_ref().map(|path| journal::Settings {
            path: path.clone(),
            resume: options.journal.resume,
            sync: options.journal.fsync,
            context: context(options, words, code.as_ref(), protocol, &form),
            pack: match &form {
                Form::Plain(Plain { pack: Pack::Bytes { most, .. }, .. }) => Some(*most),
                _ => None,
            },
        });
        let commands = template.map(|template| {
            Arc::new(Commands {
                in_jobs: words.is_empty(),
                stdin: options.commands.stdin,
                dry_run: options.commands.dry_run,
                confirm: options.commands.confirm,
                live: options.output.live,
                header: match &form {
                    Form::Plain(plain) => Arc::clone(&plain.header),
                    Form::Job | Form::Message => Arc::default(),
                },
                ..Commands::new(template)
            })
        });
        let (names, workers) = named_workers(&options.workers.worker);
        if !names.is_empty() && protocol.is_raw() {
            cli::misused("with --protocol raw a line can't say which worker it is for: name none");
        }
        let is_name = |word: &OsString| names.iter().any(|name| word == name.as_str());
        if !names.is_empty() && words.first().is_some_and(|word| !is_name(word)) {
            cli::misused(&format!(
                "COMMAND is none of the workers; there are {}",
                names.join(", ")
            ));
        }
        let choice = choice(options, has_worker, names);
        if let Err(message) = check_route(&choice, options, words, &lists, &form) {
            cli::misused(&message);
        }
        let reader = Reader {
            sources: sources(options, words.is_empty() && !has_worker, lists),
            form,
            delimiter: options.input.delimiter.unwrap_or(if options.input.null {
                0
            } else {
                b'\n'
            }),
            max_line: options.input.max_line,
            keep_lines: options.failures.failed.is_some(),
            bundles: may_bundle(options, protocol, shape(options, code.as_ref(), protocol)),
            choice,
            journal: None,
            rest: None,
            stop,
        };
        let shape = shape(options, code.as_ref(), protocol);
        let limits = limits(options);
        Self { reader, commands, code, workers, protocol, first, shape, limits, journal }
    }
}

/// What jobs wait for. Nothing is started by a dry run, so it waits for nothing.
fn limits(options: &Options) -> Limits {
    if options.commands.dry_run {
        return Limits::default();
    }
    Limits {
        interval: options
            .throttling
            .delay
            .max(options.throttling.rate)
            .filter(|interval| !interval.is_zero()),
        max_load: options.throttling.max_load,
        min_free_memory: options.throttling.min_free_memory.map(|bytes| bytes as u64),
        jobserver: true,
    }
}

/// The COMMAND and its ARGs, and the lists of args behind each `:::`.
fn split_lists(command: &[OsString]) -> (&[OsString], Vec<Vec<OsString>>) {
    let mut parts = command.split(|word| word == ":::");
    let words = parts.next().unwrap_or_default();
    (words, parts.map(<[OsString]>::to_vec).collect())
}

/// GNU parallel's other signs for args would pass for args themselves.
fn no_foreign_lists(command: &[OsString]) {
    let hint = |word: &OsString| match word.to_str() {
        Some("::::" | "::::+") => Some("args from a FILE are read with -a FILE, before COMMAND"),
        Some(":::+") => {
            Some("args that belong together are the columns of a line: --input csv, tsv or json")
        }
        _ => None,
    };
    if let Some((word, hint)) = command.iter().find_map(|word| Some((word, hint(word)?))) {
        cli::misused(&format!("there is no '{}'; {hint}", word.display()));
    }
}

/// Looks whether all that was given goes together, before any of it is used.
fn check(
    options: &Options,
    words: &[OsString],
    lists: &[Vec<OsString>],
    code: Option<&Code>,
) -> Result<(), String> {
    if let Some(code) = code {
        code.check_path()?;
    }
    usage::check(options, mode(options, !words.is_empty(), code), !lists.is_empty())?;
    for line in &options.workers.worker {
        no_shell::check_worker(line)?;
    }
    if options.workers.worker.is_empty() && code.is_none() && !options.commands.shell {
        no_shell::check_command(words)?;
    }
    match (code.filter(|code| code.is_file()), words.first().and_then(|word| word.to_str())) {
        (Some(code), Some(name)) => code.check_function(name),
        _ => Ok(()),
    }
}

/// What runs jobs, and what a line is.
fn mode(options: &Options, has_command: bool, code: Option<&Code>) -> Mode {
    match code {
        Some(code) if !code.is_file() => Mode::Expression,
        Some(_) if has_command => Mode::FileCommand,
        Some(_) => Mode::File,
        None if options.workers.worker.is_empty() && has_command => Mode::Command,
        None if options.workers.worker.is_empty() => Mode::JobCommands,
        None if options.workers.protocol == "raw" => Mode::Raw,
        None if has_command => Mode::WorkerCommand,
        None => Mode::Worker,
    }
}

/// The most args that a job can have, where that does not depend on its line.
fn most_args(options: &Options, lists: &[Vec<OsString>]) -> Option<usize> {
    let lines = match options.input.max_args {
        None => 1,
        Some(MaxArgs::Lines(lines)) => lines,
        Some(MaxArgs::Max) => return None,
    };
    let is_plain = columns(options) == Columns::One;
    is_plain.then(|| lines.saturating_mul(lists.len().max(1)))
}

fn template(options: &Options, words: &[OsString], lists: &[Vec<OsString>]) -> Template {
    let has_names =
        options.input.header || options.input.format == InputFormat::Json || words.is_empty();
    let settings = Settings {
        shell: options.commands.shell,
        replace: options.commands.replace.as_ref().map(|text| text.as_bytes().to_vec()),
        names: if has_names { Names::Any } else { Names::None },
        stdin: options.commands.stdin,
        env: options.commands.env.clone(),
        cwd: options.commands.cwd.clone(),
    };
    let template = match words {
        [word, ..] if word.is_empty() => cli::misused("COMMAND is an empty word"),
        [] => Template::for_jobs(&settings),
        words => Template::new(words, &settings),
    };
    let template = template.unwrap_or_else(|message| cli::misused(&message));
    match most_args(options, lists).filter(|_| !words.is_empty()) {
        None => template,
        Some(count) => template.with_count(count).unwrap_or_else(|message| {
            cli::misused(&format!(
                "{message}; --input csv or tsv takes a line apart, -n N makes one job of N lines, and \
                 each ::: gives an arg"
            ))
        }),
    }
}

/// The code that workers are to run, if there is any.
fn code(options: &Options) -> Option<Code> {
    let (language, text) = [
        (Language::Python, &options.code.python),
        (Language::Perl, &options.code.perl),
        (Language::Node, &options.code.node),
        (Language::Ruby, &options.code.ruby),
        (Language::Sh, &options.code.sh),
    ]
    .into_iter()
    .find_map(|(language, text)| Some((language, text.clone()?)))?;
    let lists = !matches!(options.input.max_args, None | Some(MaxArgs::Lines(1)));
    Some(Code { language, text, setup: options.code.setup.clone(), lists })
}

/// The names of the workers, if they have any, and their command lines.
fn named_workers(workers: &[String]) -> (Vec<String>, Vec<String>) {
    let split = |worker: &String| {
        let (name, line) = worker.split_once('=')?;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let is_variable = || workers.len() == 1 && no_shell::sets_variable(name, line);
        (is_name && !is_variable()).then(|| (name.to_owned(), line.to_owned()))
    };
    let named: Vec<_> = workers.iter().filter_map(split).collect();
    if named.is_empty() && workers.len() < 2 {
        return (Vec::new(), workers.to_vec());
    }
    if named.len() < workers.len() {
        cli::misused("several workers need names, so that jobs can say which: -w NAME=CMDLINE");
    }
    let mut seen = HashSet::new();
    if let Some((name, _)) = named.iter().find(|(name, _)| !seen.insert(name.clone())) {
        cli::misused(&format!("two workers are named '{name}'"));
    }
    named.into_iter().unzip()
}

/// Whether jobs that come together may go together: lines that are messages, of which nothing is asked
/// but their results.
fn may_bundle(options: &Options, protocol: Protocol, shape: Shape) -> bool {
    let is_each_counted = options.output.summary
        || !options.output.report.is_empty()
        || options.output.trace.is_some()
        || options.output.results.is_some()
        || options.output.joblog.is_some()
        || options.failures.failed.is_some()
        || options.failures.halt.is_some()
        || options.journal.file.is_some()
        || options.failures.fail_fast
        || options.output.tag
        || options.failures.timeout.is_some()
        || options.failures.retries > 0
        || options.workers.route.is_some()
        || options.workers.worker.len() > 1;
    let has_gates = options.throttling.delay.is_some()
        || options.throttling.rate.is_some()
        || options.throttling.max_load.is_some()
        || options.throttling.min_free_memory.is_some();
    let lines = Protocol::named("raw").is_some_and(|raw| raw == protocol)
        && options.input.delimiter.is_none_or(|end| end == b'\n')
        && !options.input.null;
    lines
        && shape == Shape::Text
        && options.workers.pipeline == Some(Depth::Auto)
        && !is_each_counted
        && !has_gates
}

/// How the worker of a job is found.
fn choice(options: &Options, has_worker: bool, names: Vec<String>) -> Choice {
    match &options.workers.route {
        Some(_) if !has_worker => {
            cli::misused("--route sends jobs to workers that stay: name a --worker or give code")
        }
        Some(_) if !names.is_empty() => {
            cli::misused("--route has one kind of worker: it goes without -w NAME=CMDLINE")
        }
        Some(key) => {
            let count = options.workers.max_procs.unwrap_or_else(num_cpus::get);
            Choice::by_key(key, count).unwrap_or_else(|message| cli::misused(&message))
        }
        None if names.is_empty() => Choice::One,
        None => Choice::Names(names),
    }
}

/// Looks whether jobs can have the key that they are shared out by.
fn check_route(
    choice: &Choice,
    options: &Options,
    words: &[OsString],
    lists: &[Vec<OsString>],
    form: &Form,
) -> Result<(), String> {
    let Choice::Key { key, .. } = choice else { return Ok(()) };
    let has_names = options.input.header || options.input.format == InputFormat::Json;
    let count = match form {
        Form::Job => return Ok(()),
        Form::Message => Some(1),
        Form::Plain(_) => {
            most_args(options, lists).map(|count| count + words.len().saturating_sub(1))
        }
    };
    if !has_names && key.check_names(&[]).is_err() {
        return Err(
            "--route names a field, and the args of these lines have no names: give the number \
                    of an arg, or --header or --input json"
                .to_owned(),
        );
    }
    let too_far =
        count.filter(|_| !has_names).and_then(|count| key.clone().with_count(count).err());
    too_far.map_or(Ok(()), |message| Err(format!("--route: {message}")))
}

/// The lines that an expression is evaluated for.
fn expression_form(options: &Options, words: &[OsString], code: &Code) -> Form {
    if !words.is_empty() {
        let text = &code.text;
        let is_word = text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
        let what = if is_word { format!("there is no file '{text}', and ") } else { String::new() };
        cli::misused(&format!(
            "{what}an expression needs no COMMAND: it is evaluated for each line; to run a function \
             for each, name a FILE of functions, then the function as COMMAND"
        ));
    }
    let columns = columns(options);
    let mut plain = match columns {
        Columns::Json => Plain::json(""),
        _ => Plain::strings("", &[]),
    };
    plain.columns = columns;
    pack(options, plain, None)
}

/// What jobs mean besides what stands in them: the command or the expression that lines are for. A
/// worker is not a part of it where jobs name their commands: it may be mended, and the run resumed.
fn context(
    options: &Options,
    words: &[OsString],
    code: Option<&Code>,
    protocol: Protocol,
    form: &Form,
) -> Context {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    match (code, options.workers.worker.as_slice()) {
        (Some(code), _) if !code.is_file() => {
            parts.extend([b"code".to_vec(), code.language.name().into(), code.text.clone().into()]);
            parts.extend(code.setup.iter().map(|setup| setup.clone().into_bytes()));
        }
        (None, [worker]) if protocol.is_raw() => {
            parts.extend([b"raw".to_vec(), worker.clone().into()]);
        }
        (None, []) => {
            parts.push(format!("command of {} words", words.len()).into_bytes());
            parts.extend(words.iter().map(|word| word.as_bytes().to_vec()));
            parts.push(
                format!("shell {}, stdin {}", options.commands.shell, options.commands.stdin)
                    .into_bytes(),
            );
            let texts = [("replace", &options.commands.replace), ("cwd", &options.commands.cwd)];
            let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
            let env = options.commands.env.iter().map(|variable| ("env", variable));
            parts.extend(
                texts
                    .chain(env)
                    .map(|(name, text)| [name.as_bytes(), b" ", text.as_bytes()].concat()),
            );
        }
        _ => {}
    }
    let header = match form {
        Form::Plain(plain) => Arc::clone(&plain.header),
        Form::Job | Form::Message => Arc::default(),
    };
    let (names, _) = named_workers(&options.workers.worker);
    Context::new(parts.iter().map(Vec::as_slice), header).with_workers(names)
}

/// How the worker is spoken to.
fn protocol(options: &Options) -> Protocol {
    // Both names were checked when they were parsed.
    let protocol = Protocol::named(&options.workers.protocol).unwrap_or_default();
    let protocol = match options.workers.framing.as_deref().and_then(framing::named) {
        Some(framing) => protocol.framed(framing),
        None => protocol,
    };
    match protocol.with_reply_messages(options.workers.reply_messages) {
        Ok(protocol) => protocol,
        Err(message) => cli::misused(&format!("--reply-messages: {message}")),
    }
}

/// What fresh workers are asked or told.
fn first(options: &Options, protocol: Protocol) -> Vec<Init> {
    let read = |(line, has_reply): &(String, bool)| {
        let option = if *has_reply { "--init" } else { "--notify" };
        parse_init(line, *has_reply, protocol)
            .unwrap_or_else(|message| cli::misused(&format!("{option} '{line:.60}': {message}")))
    };
    options.first.iter().map(read).collect()
}

/// Lines that are messages.
fn message_form(words: &[OsString]) -> Form {
    if !words.is_empty() {
        cli::misused("with --protocol raw a line is the whole message: it goes without COMMAND");
    }
    Form::Message
}

fn columns(options: &Options) -> Columns {
    match options.input.format {
        InputFormat::Lines => Columns::One,
        InputFormat::Json => Columns::Json,
        InputFormat::Csv => Columns::Csv,
        InputFormat::Tsv => Columns::Tsv,
    }
}

fn form(options: &Options, words: &[OsString], template: Option<&Template>) -> Form {
    let columns = columns(options);
    if words.is_empty() {
        return Form::Job;
    }
    let target = match template {
        Some(template) => Target::Command(template.clone()),
        None => worker_target(words, columns),
    };
    pack(options, Plain::new(target, columns), template)
}

/// What of the options concerns all plain lines.
fn pack(options: &Options, mut plain: Plain, template: Option<&Template>) -> Form {
    let columns = plain.columns;
    if columns == Columns::Json && (options.input.max_args.is_some() || options.input.header) {
        cli::misused("with --input json a line is all the args of a job: no -n and no --header");
    }
    let is_split = options.input.null || options.input.delimiter.is_some();
    if columns == Columns::Csv && is_split {
        cli::misused("CSV says itself where its lines end: --input csv goes without -0 and -d");
    }
    plain.has_header = options.input.header;
    plain.pack = match options.input.max_args {
        None => Pack::Lines(1),
        Some(MaxArgs::Lines(lines)) => Pack::Lines(lines),
        Some(MaxArgs::Max) => max_args(options, template),
    };
    Form::Plain(plain)
}

fn worker_target(words: &[OsString], columns: Columns) -> Target {
    let words: Option<Vec<String>> =
        words.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let words =
        words.unwrap_or_else(|| cli::misused("COMMAND and its ARGs must be UTF-8 for a worker"));
    match Plain::strings(&words[0], &words[1..]).target {
        Target::Worker { head, .. } if columns == Columns::Json && !head.is_empty() => {
            cli::misused("with --input json a line is all the args, so no ARG can stand before it")
        }
        target => target,
    }
}

/// As many lines as the arguments of a command have room for.
fn max_args(options: &Options, template: Option<&Template>) -> Pack {
    let limit = match getrlimit(Resource::Stack).current {
        Some(bytes) => (bytes / 4).clamp(LEAST_ARGS, MOST_ARGS),
        None => MOST_ARGS,
    };
    let pointer = size_of::<usize>();
    let size = |text: &OsStr| text.len() + 1;
    let env: usize =
        std::env::vars_os().map(|(name, value)| size(&name) + size(&value) + pointer).sum();
    let more: usize = options.commands.env.iter().map(|text| size(text) + pointer).sum();
    let fixed = template.map_or(0, Template::fixed_size) + env + more;
    let limit = usize::try_from(limit - SPARE_ARGS).unwrap_or(usize::MAX);
    let most = limit.saturating_sub(fixed);
    Pack::Bytes {
        most: match template.is_some_and(Template::joins) {
            true => most.min(LONGEST_ARG.saturating_sub(fixed - env)),
            false => most,
        },
        longest: LONGEST_ARG,
        overhead: 1 + pointer + if options.commands.shell { SHELL_REFERENCE } else { 0 },
        copies: template.map_or(1, Template::copies).max(1),
    }
}

fn sources(options: &Options, is_idle: bool, lists: Vec<Vec<OsString>>) -> Vec<Source> {
    match (options.input.arg_file.as_slice(), lists.is_empty()) {
        ([], true) => {
            if is_idle && std::io::stdin().is_terminal() {
                cli::misused(
                    "nothing to do: name a COMMAND that runs for each input line, or a --worker, \
                     or give job lines on stdin",
                );
            }
            vec![Source::Stdin]
        }
        ([], false) if options.failures.failed.is_some() => {
            cli::misused("--failed keeps lines of input, and args behind ::: are none")
        }
        ([], false) => vec![Source::Args(lists)],
        (files, true) => files
            .iter()
            .map(|file| match file.as_os_str() == "-" {
                true => Source::Stdin,
                false => Source::File(file.clone()),
            })
            .collect(),
        (_, false) => cli::misused("args come from files (-a) or from behind :::, not from both"),
    }
}

fn shape(options: &Options, code: Option<&Code>, protocol: Protocol) -> Shape {
    let shape = match options.output.format {
        Some(Format::Record) => Shape::Record,
        Some(Format::Value) => Shape::Value,
        Some(Format::Text) => Shape::Text,
        None if protocol.is_raw() => Shape::Text,
        None if !options.workers.worker.is_empty() || code.is_some_and(Code::is_file) => {
            Shape::Record
        }
        None => Shape::Text,
    };
    if options.output.detail && shape != Shape::Record {
        cli::misused("--detail adds to records: it goes with --format record only");
    }
    if options.output.tag && shape != Shape::Text {
        cli::misused("--tag marks lines of text: it goes with --format text only");
    }
    if options.output.live && shape != Shape::Text {
        cli::misused("--live passes lines on as they come: it goes with --format text only");
    }
    shape
}
