//! The facts about each option that completions need: its names, its text, and the words that its value can be.

use clap::{Arg, ValueHint};

use crate::cli::options::definition;

/// An option.
pub struct OptionWords {
    /// Its names, with their dashes: short ones first.
    pub names: Vec<String>,
    /// One sentence.
    pub text: String,
    /// Whether it can be given several times.
    pub is_repeatable: bool,
    pub value: Completed,
}

/// How its value is completed.
pub enum Completed {
    /// It has no value.
    NoValue,
    /// Nothing is known of its value but its name in the help.
    Free(String),
    File,
    Folder,
    /// A command line in one argument.
    CommandLine,
    /// One of these words.
    Word(Vec<ValueWord>),
    /// Some of these words, with commas between them.
    List(Vec<ValueWord>),
}

/// A word that a value can be.
pub struct ValueWord {
    pub word: String,
    /// `None`: the word explains itself.
    pub text: Option<String>,
}

/// Words for values that are no closed set: the common ones.
const COMMON: &[(&str, &[&str])] = &[
    (
        "halt",
        &[
            "now,fail=1",
            "soon,fail=1",
            "now,fail=10%",
            "soon,fail=10%",
            "now,success=1",
            "soon,success=1",
            "now,done=100",
            "soon,done=100",
            "never",
        ],
    ),
    ("max_procs", &["50%", "100%", "200%", "+1", "-1", "0"]),
    ("max_args", &["max"]),
    ("pipeline", &["auto"]),
    ("timeout", &["10s", "1m", "10m", "1h", "300%"]),
    ("rate", &["1/s", "10/s", "100/m", "1000/h"]),
];

/// The kinds of failure after which a job can be tried again.
const RETRY_ON: &str = "retry_on";

/// The options whose conditions in zsh and the others depend on it: jobs go to a worker, so COMMAND is the name of a
/// function.
pub const STAYING: [&str; 7] = ["-w", "--worker", "--python", "--perl", "--node", "--ruby", "--sh"];

/// All options, in the order of `--help`.
pub fn options() -> Vec<OptionWords> {
    let mut definition = definition();
    definition.build();
    let options =
        definition.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    options.map(describe).collect()
}

fn describe(arg: &Arg) -> OptionWords {
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
    let names = shorts.iter().map(|short| format!("-{short}"));
    OptionWords {
        names: names.chain(longs.iter().map(|long| format!("--{long}"))).collect(),
        text: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        is_repeatable: matches!(arg.get_action(), clap::ArgAction::Append),
        value: value(arg),
    }
}

fn value(arg: &Arg) -> Completed {
    if !arg.get_action().takes_values() {
        return Completed::NoValue;
    }
    let id = arg.get_id().as_str();
    if id == RETRY_ON {
        return Completed::List(
            procpool::engine::Kind::PASSING.iter().map(|kind| plain(kind.name())).collect(),
        );
    }
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let word = |value: &clap::builder::PossibleValue| ValueWord {
            word: value.get_name().to_owned(),
            text: value.get_help().map(ToString::to_string),
        };
        return Completed::Word(possible.iter().map(word).collect());
    }
    if let Some((_, words)) = COMMON.iter().find(|(common, _)| *common == id) {
        return Completed::Word(words.iter().map(|word| plain(word)).collect());
    }
    match arg.get_value_hint() {
        ValueHint::FilePath | ValueHint::AnyPath => Completed::File,
        ValueHint::DirPath => Completed::Folder,
        ValueHint::CommandString => Completed::CommandLine,
        _ => {
            let names = arg.get_value_names().unwrap_or_default();
            Completed::Free(names.first().map(ToString::to_string).unwrap_or_default())
        }
    }
}

fn plain(word: &str) -> ValueWord {
    ValueWord { word: word.to_owned(), text: None }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::options::parse_words;

    #[test]
    fn each_word_is_a_value_of_its_option() {
        for option in options() {
            let (Completed::Word(words) | Completed::List(words)) = &option.value else { continue };
            let name = option.names.last().expect("an option has a name");
            for ValueWord { word, .. } in words {
                let line = ["procpool".to_owned(), format!("{name}={word}")];
                let parsed = parse_words(&line.map(OsString::from));
                assert!(parsed.is_ok(), "{name}={word}: {parsed:?}");
            }
        }
    }

    #[test]
    fn the_common_values_are_of_options() {
        let ids: Vec<String> =
            definition().get_arguments().map(|arg| arg.get_id().to_string()).collect();
        for (id, _) in COMMON {
            assert!(ids.iter().any(|known| known == id), "{id}");
        }
        assert!(ids.iter().any(|known| known == RETRY_ON));
    }
}
