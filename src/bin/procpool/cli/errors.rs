//! clap's errors → messages that say what to write instead.

use std::any::TypeId;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

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
        (ErrorKind::InvalidUtf8, _) => return no_text(words).unwrap_or_else(|| error.into()),
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

/// The message about the first value that is not UTF-8, of an option whose value must be.
fn no_text(words: &[OsString]) -> Option<EarlyExit> {
    let definition = definition();
    let takes = |arg: &Arg, value| arg.get_value_parser().type_id() == value;
    let takes_bytes =
        |arg: &Arg| takes(arg, TypeId::of::<OsString>()) || takes(arg, TypeId::of::<PathBuf>());
    let takes_text = |arg: &Arg| needs_value(arg) && !takes_bytes(arg);
    let is_text = |option: &str| {
        definition.get_arguments().any(|arg| takes_text(arg) && is_called(arg, option))
    };
    words.windows(2).find_map(|pair| {
        let value = pair[1].as_bytes();
        let own = memchr::memchr(b'=', value).map(|at| value.split_at(at));
        let own =
            own.and_then(|(option, value)| Some((std::str::from_utf8(option).ok()?, &value[1..])));
        let own = own.filter(|(option, _)| is_text(option));
        let (option, value) = own.or_else(|| Some((pair[0].to_str()?, value)))?;
        let is_at_fault = std::str::from_utf8(value).is_err() && is_text(option);
        let value = procpool::engine::printable_bytes(value);
        is_at_fault
            .then(|| EarlyExit::misuse(&format!("{option} takes text, and '{value}' is not UTF-8")))
    })
}

/// Whether an option has this name, with its dashes.
fn is_called(arg: &Arg, name: &str) -> bool {
    let mut shorts = arg.get_short_and_visible_aliases().unwrap_or_default().into_iter();
    arg.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
        || shorts.any(|short| name == format!("-{short}"))
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
    options.any(|arg| is_called(arg, before)).then(|| before.clone())
}
