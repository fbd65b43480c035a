//! The shells that can run the text of a command, and how they differ where that matters for quotes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A shell that runs the text of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    program: OsString,
    pub(super) dialect: Dialect,
}

/// The language of a shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    /// POSIX sh. Shells disagree about what is not POSIX.
    #[default]
    Posix,
    Bash,
    Zsh,
}

impl Default for Shell {
    /// `sh`.
    fn default() -> Self {
        Self { program: "sh".into(), dialect: Dialect::Posix }
    }
}

/// The shells that can be named, with their languages.
const KNOWN: [(&str, Dialect); 5] = [
    ("sh", Dialect::Posix),
    ("dash", Dialect::Posix),
    ("ash", Dialect::Posix),
    ("bash", Dialect::Bash),
    ("zsh", Dialect::Zsh),
];

impl Shell {
    /// The shell of this name or path. `None`: its quotes are unknown here.
    pub fn named(program: &OsStr) -> Option<Self> {
        let name = Path::new(program).file_name()?;
        let dialect = KNOWN.iter().find(|(known, _)| name == *known)?.1;
        Some(Self { program: program.to_owned(), dialect })
    }

    /// Its name or path, as it was given.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Whether it is `sh`, the usual one.
    pub fn is_usual(&self) -> bool {
        self.program == "sh"
    }

    /// The words that run a text. The parameters of the text are appended.
    pub(super) fn argv(&self, text: &[u8]) -> Vec<Vec<u8>> {
        let program = self.program.as_bytes().to_vec();
        // Some shells would take a text that begins with one of these for options.
        let before = if matches!(text.first(), Some(b'-' | b'+')) { &b" "[..] } else { b"" };
        vec![program.clone(), b"-c".to_vec(), [before, text].concat(), program]
    }
}
