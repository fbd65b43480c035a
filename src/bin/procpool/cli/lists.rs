//! The options about lists of args after COMMAND, and the signs that begin a list.

use std::ffi::{OsStr, OsString};

use clap::Args;

#[derive(Debug, Args)]
pub struct ListOptions {
    /// Pair the lists after ::: and :::: instead of combining them
    ///
    /// The first args of all lists are the args of the first job, and so on. Shorter lists begin again.
    /// ::: A B :::+ 1 2 pairs two lists without this option; the shorter list ends both. You can mix
    /// them: ::: A B :::+ 1 2 ::: x y combines the pairs with the third list.
    #[arg(hide_short_help = true, long, alias = "xapply")]
    pub link: bool,

    /// Use STR instead of ::: before a list
    #[arg(hide_short_help = true, long, value_name = "STR", allow_hyphen_values = true)]
    pub arg_sep: Option<OsString>,

    /// Use STR instead of :::: before files of args
    #[arg(hide_short_help = true, long, value_name = "STR", allow_hyphen_values = true)]
    pub arg_file_sep: Option<OsString>,
}

/// A word that begins a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The words after it are files of args.
    pub has_files: bool,
    /// The list is paired with the one before it.
    pub is_linked: bool,
}

impl ListOptions {
    /// The meaning of a word as the beginning of a list; `None`: it is none.
    pub fn sign(&self, word: &OsStr) -> Option<Sign> {
        let args = self.arg_sep.as_deref().unwrap_or(OsStr::new(":::"));
        let files = self.arg_file_sep.as_deref().unwrap_or(OsStr::new("::::"));
        let is = |sign: &OsStr, more: &str| {
            let bytes = word.as_encoded_bytes();
            bytes.strip_prefix(sign.as_encoded_bytes()) == Some(more.as_bytes())
        };
        let signs = [(args, false, ""), (args, true, "+"), (files, false, ""), (files, true, "+")];
        let found = signs.into_iter().position(|(sign, _, more)| is(sign, more))?;
        Some(Sign { has_files: found >= 2, is_linked: signs[found].1 })
    }
}
