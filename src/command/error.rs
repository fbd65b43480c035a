//! [`CommandError`]: why there is no command.

use std::fmt;

use crate::util::setting::{Setting, has_names};

/// The placeholders that can always be used.
const KNOWN: &str = "{} {.} {/} {//} {/.} {..} {%.gz} {s/a/b/}, {1} {1.} {1/} {1//} {1/.} and so on, \
     {#} {%} {%0}";

/// Why there is no command: its words are misused, or do not fit the args of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// There are no words.
    NoWords,
    /// The job names no command.
    NoCommand,
    /// The command that the job names is no text. The text says why.
    NotText(String),
    /// The name of the program is empty.
    EmptyProgram,
    /// The name of the directory to run in is empty.
    EmptyDirectory,
    /// A variable of the environment is not written as `NAME=VALUE`.
    NoVariable(String),
    /// This would have a NUL byte, which no process can be given.
    Nul(&'static str),
    /// The args are not JSON. The text says why.
    NotJson(String),
    /// An arg has a lone surrogate. The text says where.
    HalfCharacter(String),
    /// The args are not UTF-8.
    NotUtf8,
    /// The args of a command that the job names are an object.
    ArgsWithNames,
    /// The text that is the placeholder is empty.
    EmptyPlaceholder,
    /// A placeholder can't be replaced.
    Placeholder {
        /// The placeholder as it is written in the command.
        spelled: String,
        /// The problem with it.
        problem: PlaceholderProblem,
    },
    /// The text for a shell has a placeholder in a place where no quotes are safe.
    UnsafePlace(&'static str),
    /// The text for a shell has a placeholder in a place where the shell evaluates its value.
    EvaluatedPlace(&'static str),
    /// Args can't be appended to the text for a shell.
    ClosedText,
}

/// A problem with a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceholderProblem {
    /// GNU parallel has it, and procpool does not.
    Foreign,
    /// Nothing has this name.
    Unknown,
    /// The pattern of its substitution is wrong. The text says why.
    Pattern(String),
    /// The number of all jobs is unknown.
    NoTotal,
    /// It counts args from 0.
    Zeroth,
    /// Its number is greater than that of the args.
    Beyond {
        /// The job that has the args, in words.
        job: &'static str,
        /// How many args there are.
        count: usize,
    },
    /// It is none of these columns of the header.
    NoColumn(Vec<String>),
    /// It is none of these fields of the job.
    NoField(Vec<String>),
    /// It follows a `$` in the text for a shell, which can be read in two ways.
    AfterDollar,
}

impl CommandError {
    pub(super) fn placeholder(spelled: &[u8], problem: PlaceholderProblem) -> Self {
        Self::Placeholder { spelled: String::from_utf8_lossy(spelled).into_owned(), problem }
    }
}

impl std::error::Error for CommandError {}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWords => f.write_str("there is no command"),
            Self::NoCommand => f.write_str("the job names no command"),
            Self::NotText(error) => write!(f, "the command is no text: {error}"),
            Self::EmptyProgram => f.write_str("the name of the program is empty"),
            Self::EmptyDirectory => {
                write!(f, "the name of the directory to run in ({}) is empty", Setting::Cwd)
            }
            Self::NoVariable(text) => {
                write!(f, "'{text}' sets no variable; write {} NAME=VALUE", Setting::Env)
            }
            Self::Nul(what) => write!(f, "{what} would have a NUL byte, which is not allowed"),
            Self::NotJson(error) => write!(f, "the args are not JSON: {error}"),
            Self::HalfCharacter(error) => {
                write!(f, "an arg is no text, because it has half of a character: {error}")
            }
            Self::NotUtf8 => f.write_str("the args are not UTF-8"),
            Self::ArgsWithNames => f.write_str("the args of a command are an array, not an object"),
            Self::EmptyPlaceholder => {
                write!(f, "the placeholder that {} chooses is empty", Setting::Replace)
            }
            Self::Placeholder { spelled, problem } => problem.write(spelled, f),
            Self::UnsafePlace(place) => write!(
                f,
                "with {} no placeholder is allowed {place}; assign it to a variable before that \
                 (x={{}}; … \"$x\" …), or feed it to the command with {}",
                Setting::Shell,
                Setting::Stdin
            ),
            Self::EvaluatedPlace(place) => write!(
                f,
                "with {} no placeholder is allowed {place}: the shell would run code that is in the \
                 argument; assign it to a variable and check that before the shell evaluates it \
                 (x={{}}; case $x in ''|*[!0-9]*) exit 2;; esac; … $x …), or feed it to the command with {}",
                Setting::Shell,
                Setting::Stdin
            ),
            Self::ClosedText => write!(
                f,
                "with {} the args can't be appended to this text (it ends in a comment, in quotes, \
                 after a here-document, or in mid-command): write {{}} where they belong",
                Setting::Shell
            ),
        }
    }
}

impl PlaceholderProblem {
    fn write(&self, spelled: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(
                f,
                "the placeholder {spelled} is GNU parallel's, and procpool does not have it; known are \
                 {KNOWN} {{total}}; a substitution is {{s/REGEX/TEXT/}}, the number of jobs is {{total}}, and for more there are \
                 shells and code; {Literally}"
            ),
            Self::Unknown => write!(
                f,
                "the placeholder {spelled} is unknown; known are {KNOWN} {{total}}, and names only with {}; \
                 {Literally}",
                Setting::Names
            ),
            Self::Pattern(why) => {
                write!(f, "the pattern of the placeholder {spelled} is wrong: {why}; {Literally}")
            }
            Self::NoTotal => {
                write!(
                    f,
                    "the placeholder {spelled} has no value here: the number of jobs is unknown"
                )
            }
            Self::Zeroth => {
                write!(f, "the placeholder {spelled} has no value: args are counted from 1")
            }
            Self::Beyond { job, count } => {
                let s = if *count == 1 { "" } else { "s" };
                write!(f, "the placeholder {spelled} has no value: {job} has {count} arg{s}")
            }
            Self::NoColumn(columns) => write!(
                f,
                "the placeholder {spelled} is no column of the header; its columns are {}; always \
                 known are {KNOWN}",
                list(columns)
            ),
            Self::NoField(fields) => write!(
                f,
                "the placeholder {spelled} is no field of this job; its fields are {}",
                list(fields)
            ),
            Self::AfterDollar => write!(
                f,
                "with {} ${spelled} is ambiguous: write \\${spelled} for a dollar sign before the \
                 placeholder {spelled}",
                Setting::Shell
            ),
        }
    }
}

/// The advice for braces that are meant as plain text.
struct Literally;

impl fmt::Display for Literally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !has_names() {
            return f.write_str("braces that are meant literally can only be in an arg of a job");
        }
        write!(
            f,
            "if you mean it literally, choose another placeholder with {} STR: then braces are \
             plain text",
            Setting::Replace
        )
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
