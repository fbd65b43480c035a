//! More options of the heading Output: what is added to lines of text, and where results wait.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::values;

/// What is added to lines of text.
#[derive(Debug, Args)]
pub struct LineOptions {
    /// Start each line with TEXT and a tab; TEXT may have placeholders
    ///
    /// '{/}' is the name of the file, and 'job {#}' the number of the job. This implies --tag.
    #[arg(
        hide_short_help = true,
        long,
        alias = "tagstring",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    pub tag_string: Option<OsString>,

    /// Add a newline to the output of a job that does not end with one
    ///
    /// Without this option, the output is passed on byte for byte, so the first line of the next job may
    /// follow on the same line.
    #[arg(hide_short_help = true, long)]
    pub newline: bool,
}

/// The order of results, and where they wait.
#[derive(Debug, Args)]
pub struct StorageOptions {
    /// Print results in input order (this is the default)
    // Nothing reads it: it exists for compatibility with xargs and GNU parallel.
    #[arg(hide_short_help = true, short = 'k', long, conflicts_with = "stream")]
    pub keep_order: bool,

    /// Memory for results that wait for their turn
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). Further results go to a temporary file in
    /// TMPDIR. The file has no name, so it is gone when procpool ends.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", value_parser = values::size)]
    pub buffer: usize,

    /// Make temporary files in DIR [default: TMPDIR, or /tmp]
    ///
    /// These are results that wait for their turn (--buffer), large output of commands, and input that is
    /// read as a whole (--shuf). The files have no name. Jobs keep their TMPDIR.
    #[arg(hide_short_help = true, long, alias = "tempdir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub tmpdir: Option<PathBuf>,
}
