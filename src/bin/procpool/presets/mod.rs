//! Options from elsewhere than the command line: `PROCPOOL_OPTIONS`, and the profiles that `--profile` names.
//! They come before the options of the command line.

mod fitting;
mod profiles;
mod show;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::cli::options::{definition, parse_part, parse_words};
use crate::cli::typed::{TypedOption, typed_of_part};
use crate::cli::{EarlyExit, Options};
use crate::run::sides::ServerRole;
use crate::{plan, semaphore};

use fitting::Fitting;

pub use show::show;

/// The variable with options.
const VARIABLE: &str = "PROCPOOL_OPTIONS";

/// Options that are no part of a run: they are for the command line.
const ALONE: [&str; 11] = [
    "help",
    "version",
    "doctor",
    "example_worker",
    "generate",
    "show_options",
    "semaphore",
    "serve",
    "status",
    "stop",
    "dead",
];

/// Where an option comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionOrigin {
    CommandLine,
    Variable,
    /// A profile, and the file that it is in.
    Profile(String, PathBuf),
}

/// An option, and where it comes from.
#[derive(Clone, Debug)]
pub struct Preset {
    pub origin: OptionOrigin,
    pub option: TypedOption,
    /// It has no effect in this run, so it is left out.
    pub is_idle: bool,
}

/// The command line, with the options from elsewhere.
pub struct Invoked {
    pub options: Options,
    /// All options that were given, in the order in which they count.
    pub presets: Vec<Preset>,
}

impl fmt::Display for OptionOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Variable => f.write_str(VARIABLE),
            Self::Profile(name, path) => write!(f, "profile {name} in {}", path.display()),
        }
    }
}

/// Parses the command line of this process, and the options from elsewhere.
///
/// # Errors
/// There is nothing to run, or an option is wrong: the message says where it comes from.
pub fn parse() -> Result<Invoked, EarlyExit> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let variable = std::env::var_os(VARIABLE).unwrap_or_default();
    // An option that it needs may come from elsewhere.
    let (own, lacks_none) = parse_part(&words)?;
    let is_alone = variable.is_empty() && own.help.profile.is_empty();
    let is_no_run =
        own.help.doctor || own.help.generate.is_some() || own.help.example_worker.is_some();
    let of_own = || {
        typed_of_part(&words).into_iter().map(|option| preset(OptionOrigin::CommandLine, option))
    };
    if is_alone || is_no_run {
        let options = if lacks_none { own } else { parse_words(&words)? };
        let presets = if options.help.show_options { of_own().collect() } else { Vec::new() };
        return Ok(Invoked { options, presets });
    }
    let mut presets = of_variable(&variable)?;
    presets.extend(profiles::read_all(&own.help.profile)?);
    let (options, mut presets) = combine(&words, &own, presets)?;
    presets.extend(of_own());
    Ok(Invoked { options, presets })
}

/// The options of the variable, after those of the profiles that it names.
fn of_variable(variable: &OsString) -> Result<Vec<Preset>, EarlyExit> {
    let wrong = |why: &str| EarlyExit::misuse(&format!("{VARIABLE}: {why}"));
    let text = variable.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
    let words = shell_words::split(text).map_err(|_| wrong("a quote is not closed"))?;
    let options = read(&OptionOrigin::Variable, words)?;
    let names: Vec<String> = options
        .iter()
        .filter(|option| option.id == "profile")
        .filter_map(|option| option.value.as_ref()?.to_str().map(str::to_owned))
        .collect();
    let mut presets = profiles::read_all(&names)?;
    presets.extend(options.into_iter().map(|option| preset(OptionOrigin::Variable, option)));
    Ok(presets)
}

fn preset(origin: OptionOrigin, option: TypedOption) -> Preset {
    Preset { origin, option, is_idle: false }
}

/// Reads words that are all options.
fn read(origin: &OptionOrigin, words: Vec<String>) -> Result<Vec<TypedOption>, EarlyExit> {
    let wrong = |why: &str| EarlyExit::misuse(&format!("{origin}: {why}"));
    let program = OsString::from("procpool");
    let words: Vec<OsString> =
        [program].into_iter().chain(words.into_iter().map(Into::into)).collect();
    let options = match parse_part(&words) {
        Ok((options, _)) => options,
        Err(exit) if exit.is_misuse() => return Err(wrong(&exit.reason())),
        Err(_) => return Err(wrong("--help and --version are for the command line")),
    };
    if let Some(word) = options.command.first() {
        return Err(wrong(&format!(
            "'{}' is no option: write a COMMAND on the command line",
            word.display()
        )));
    }
    let typed = typed_of_part(&words);
    match typed.iter().find(|option| ALONE.contains(&option.id.as_str())) {
        Some(option) => Err(wrong(&format!("{} is for the command line", option.name))),
        None => Ok(typed),
    }
}

/// Puts presets before the options of the command line. Those that have no effect in this run are left out, as
/// are those that the command line excludes, and those that make it wrong.
fn combine(
    words: &[OsString],
    own: &Options,
    mut presets: Vec<Preset>,
) -> Result<(Options, Vec<Preset>), EarlyExit> {
    let excluded = excluded(own);
    for preset in &mut presets {
        preset.is_idle = excluded.contains(&preset.option.id);
    }
    let mut fitting = Fitting { words, presets };
    fitting.fit();
    let mut options = fitting.parse()?;
    let mut idle = idle(&options);
    if options.commands.semaphore.semaphore.is_some() {
        // A limit that is meant for the jobs of a run is not that of a semaphore.
        let has_effect = |id: &str| semaphore::has_effect(id) && id != "max_procs";
        idle.extend(options.line.given.iter().filter(|id| !has_effect(id)).cloned());
    }
    let is_own = |id: &str| own.line.given.iter().any(|own| own == id);
    let is_idle = |preset: &Preset| idle.contains(&preset.option.id) && !is_own(&preset.option.id);
    if fitting.presets.iter().any(is_idle) {
        for preset in &mut fitting.presets {
            preset.is_idle |= is_idle(preset);
        }
        options = fitting.parse()?;
    }
    options.line.own.clone_from(&own.line.given);
    options.line.presets = options.commands.hosts.words.len() - words.len();
    Ok((options, fitting.presets))
}

/// The given options that have no effect, on their side of a server if there is one.
fn idle(options: &Options) -> Vec<String> {
    let role = ServerRole::of(options);
    let of_role = role.map(|role| role.without_effect(options)).unwrap_or_default();
    match role {
        // The server decides it: what its workers are is not known yet.
        Some(ServerRole::Connect | ServerRole::Status | ServerRole::Stop) => of_role,
        Some(ServerRole::Serve | ServerRole::Keep) | None => {
            [of_role, plan::without_effect(options)].concat()
        }
    }
}

/// The options that those of the command line exclude.
fn excluded(own: &Options) -> Vec<String> {
    let definition = definition();
    let given =
        definition.get_arguments().filter(|arg| own.line.given.contains(&arg.get_id().to_string()));
    let one_way = given.flat_map(|arg| definition.get_arg_conflicts_with(arg));
    let mut excluded: Vec<String> = one_way.map(|arg| arg.get_id().to_string()).collect();
    let other_way = definition.get_arguments().filter(|arg| {
        let conflicts = definition.get_arg_conflicts_with(arg);
        conflicts.iter().any(|other| own.line.given.contains(&other.get_id().to_string()))
    });
    excluded.extend(other_way.map(|arg| arg.get_id().to_string()));
    excluded
}
