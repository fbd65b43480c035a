//! The errors of a file of code that are found before a worker loads it.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::language::Language;

/// A file of code can't be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CodeFileError {
    /// There is no such file.
    Missing {
        /// Its path.
        path: String,
    },
    /// The path leads to a directory.
    Directory {
        /// The path.
        path: String,
        /// The language of the code.
        language: Language,
    },
    /// The path leads to a pipe or a device. The second worker could not read it.
    NotRegular {
        /// The path.
        path: String,
        /// The language of the code.
        language: Language,
    },
    /// The file can't be read.
    Unreadable {
        /// Its path.
        path: String,
        /// Why it can't be read.
        error: Arc<io::Error>,
    },
    /// The name of the file does not tell the language: see [`Code::file_as`](crate::Code::file_as).
    UnknownLanguage {
        /// Its path.
        path: String,
    },
    /// The file does not define the function that jobs call.
    NoFunction {
        /// The path of the file.
        path: String,
        /// The function.
        name: String,
        /// A function of the file that may be meant.
        meant: Option<String>,
        /// The functions of the file, or the first of them.
        known: Vec<String>,
        /// The file has more functions than these.
        has_more: bool,
    },
}

impl fmt::Display for CodeFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "there is no file '{path}'"),
            Self::Directory { path, language } => {
                let name = language.name();
                write!(f, "'{path}' is a directory; name a file of code for {name}")
            }
            Self::NotRegular { path, language } => write!(
                f,
                "'{path}' is not a regular file: the second worker could not read it; write the code \
                 for {} to a file, and name that file",
                language.name()
            ),
            Self::Unreadable { path, error } => {
                write!(f, "the file '{path}' can't be read: {error}")
            }
            Self::UnknownLanguage { path } => {
                write!(f, "the name of the file '{path}' has no ending that tells its language")
            }
            Self::NoFunction { path, name, meant, known, has_more } => {
                write!(f, "there is no function '{name}' in '{path}'")?;
                if let Some(meant) = meant {
                    return write!(f, "; did you mean '{meant}'?");
                }
                let more = if *has_more { ", …" } else { "" };
                write!(f, "; it has {}{more}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for CodeFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
