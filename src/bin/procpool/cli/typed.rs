//! The options as the user typed them, in their order, so that a message can show the command line with a change.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgMatches, Command};

use super::options::definition;

/// Options whose value, which may be left out, is after an equals sign.
const WITH_EQUALS: [&str; 2] = ["shell", "shuf"];

/// An option that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedOption {
    /// Its id: `arg_file`.
    pub id: String,
    /// Its name: `-a`.
    pub name: String,
    /// `None`: it is a switch.
    pub value: Option<OsString>,
}

impl TypedOption {
    /// Adds the option as it is typed.
    pub fn push_to(&self, words: &mut Vec<OsString>) {
        let Some(value) = &self.value else { return words.push(self.name.clone().into()) };
        if self.id == "shell" && value == "sh" {
            return words.push(self.name.clone().into());
        }
        let mut name = OsString::from(&self.name);
        let is_joined = WITH_EQUALS.contains(&self.id.as_str());
        if is_joined || value.as_bytes().starts_with(b"-") || value.is_empty() {
            // As a word of its own it would pass for an option.
            if self.name.starts_with("--") {
                name.push("=");
            }
            name.push(value);
            words.push(name);
        } else {
            words.extend([name, value.clone()]);
        }
    }
}

/// The options of this process. Empty: the command line is wrong.
pub fn typed() -> Vec<TypedOption> {
    typed_in(&std::env::args_os().collect::<Vec<_>>())
}

/// As [`typed`], of any command line.
pub fn typed_in(words: &[OsString]) -> Vec<TypedOption> {
    of_definition(definition(), words)
}

/// As [`typed_in`], of words that may lack an option that another one needs.
pub fn typed_of_part(words: &[OsString]) -> Vec<TypedOption> {
    of_definition(definition().ignore_errors(true), words)
}

fn of_definition(definition: Command, words: &[OsString]) -> Vec<TypedOption> {
    let Ok(matches) = definition.clone().try_get_matches_from(words) else { return Vec::new() };
    let options = definition.get_arguments().filter(|arg| !arg.is_positional());
    let mut all: Vec<(usize, TypedOption)> =
        options.flat_map(|arg| occurrences(arg, &matches)).collect();
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, option)| option).collect()
}

/// Each time that an option was given, with its place.
fn occurrences(arg: &Arg, matches: &ArgMatches) -> Vec<(usize, TypedOption)> {
    let id = arg.get_id().as_str();
    if matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
        return Vec::new();
    }
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let name = short.or(long).unwrap_or_default();
    let option = |value| TypedOption { id: id.to_owned(), name: name.clone(), value };
    let indices = matches.indices_of(id).into_iter().flatten();
    if !arg.get_action().takes_values() {
        return indices.map(|index| (index, option(None))).collect();
    }
    let values = matches.get_raw(id).into_iter().flatten();
    indices.zip(values).map(|(index, value)| (index, option(Some(value.to_owned())))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_keep_their_order_and_values() {
        let words = ["procpool", "-0j4", "-a", "x y", "--retry-on=exit,crash", "--tag", "sh", "-c"];
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let typed = typed_in(&words);
        let shown: Vec<String> = typed
            .iter()
            .map(|it| format!("{} {}", it.name, it.value.clone().unwrap_or_default().display()))
            .collect();
        assert_eq!(
            shown,
            ["-0 ", "-j 4", "-a x y", "--retry-on exit", "--retry-on crash", "--tag "]
        );
    }
}
