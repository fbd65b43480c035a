//! clap's errors → messages that say what to write instead.

use std::ffi::OsString;
use std::io;

use clap::Arg;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::foreign::advice;
use super::options::definition;

/// The process ends without a run: for `--help` or `--version`, or because of a wrong command line.
#[derive(Debug)]
pub struct EarlyExit(clap::Error);

impl EarlyExit {
    /// A wrong command line. The message says why, and what to do.
    pub fn misuse(message: &str) -> Self {
        Self(definition().error(ErrorKind::ArgumentConflict, message))
    }

    /// Whether the command line is wrong.
    pub fn is_misuse(&self) -> bool {
        self.0.use_stderr()
    }

    /// Why the command line is wrong, on one line and without the usage.
    pub fn reason(&self) -> String {
        let text = self.0.to_string();
        let reason = text.split("\n\n").next().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        reason.lines().map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Prints the help to stdout, or the message to stderr.
    ///
    /// # Errors
    /// It can't be written.
    pub fn print(&self) -> io::Result<()> {
        self.0.print()
    }
}

impl From<clap::Error> for EarlyExit {
    fn from(error: clap::Error) -> Self {
        Self(error)
    }
}

/// Adds advice to an error of clap. For an option of another tool, the advice is the option of procpool.
pub fn explain(mut error: clap::Error, words: &[OsString]) -> EarlyExit {
    let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) => option.clone(),
        _ => return error.into(),
    };
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(option) = option_before(&unknown, &words) {
        return EarlyExit::misuse(&format!(
            "{option} needs a value; write a value that begins with '-' as {option}='…'"
        ));
    }
    if let Some(hint) = advice(&unknown) {
        return EarlyExit::misuse(&format!("there is no option '{unknown}'; {hint}"));
    }
    // clap's suggestions mislead: `--` begins the COMMAND here, and the options that it names are often unrelated.
    error.remove(ContextKind::Suggested);
    error.remove(ContextKind::SuggestedArg);
    let definition = definition();
    let longs: Vec<String> = definition
        .get_arguments()
        .filter_map(Arg::get_long)
        .map(|long| format!("--{long}"))
        .collect();
    if let Some(similar) = procpool::engine::similar(&unknown, longs.iter().map(String::as_str)) {
        let similar = ContextValue::String(similar.to_owned());
        error.insert(ContextKind::SuggestedArg, similar);
    }
    error.into()
}

/// Whether an option can't be given without a value.
fn needs_value(arg: &Arg) -> bool {
    let is_optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
    arg.get_action().takes_values() && !is_optional
}

/// The option without its value: the word before the first word that begins with `unknown`.
fn option_before(unknown: &str, words: &[String]) -> Option<String> {
    let at = words.iter().position(|word| word.starts_with(unknown))?;
    let before = words.get(at.checked_sub(1)?)?;
    let definition = definition();
    let mut options = definition.get_arguments().filter(|arg| needs_value(arg));
    let is_it = |arg: &Arg| {
        arg.get_long().is_some_and(|long| *before == format!("--{long}"))
            || arg
                .get_short_and_visible_aliases()
                .is_some_and(|shorts| shorts.iter().any(|short| *before == format!("-{short}")))
    };
    options.any(is_it).then(|| before.clone())
}
