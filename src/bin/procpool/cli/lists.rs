//! The options about lists of args after COMMAND, and the signs that begin a list.

use std::ffi::{OsStr, OsString};

use clap::Args;

use super::values;

#[derive(Debug, Args)]
pub struct ListOptions {
    /// Pair the lists after ::: and :::: instead of combining them
    ///
    /// The first argument of each list goes to the first job, the second to the second job, and so on. Shorter
    /// lists begin again. Without this option, :::+ pairs two lists: ::: A B :::+ 1 2. The shorter list ends both.
    /// A third list is combined with the pairs: ::: A B :::+ 1 2 ::: x y.
    #[arg(hide_short_help = true, long, alias = "xapply")]
    pub link: bool,

    /// Use STR instead of ::: before a list
    #[arg(hide_short_help = true, long, value_name = "STR", allow_hyphen_values = true)]
    pub arg_sep: Option<OsString>,

    /// Use STR instead of :::: before files of arguments
    #[arg(hide_short_help = true, long, value_name = "STR", allow_hyphen_values = true)]
    pub arg_file_sep: Option<OsString>,

    /// Take the lines in random order; SEED, a number, makes it repeatable
    ///
    /// It is as if the input came through shuf: the random order is that of the numbers of the jobs, and of the
    /// results. procpool reads all input before the first job. It keeps input that is not a file in a
    /// temporary file. Each line takes about 40 bytes of memory.
    #[arg(hide_short_help = true, long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "random", value_parser = values::seed)]
    pub shuf: Option<u64>,
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
