//! The options of the heading Input: where lines come from, and what a line is.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use procpool::engine::input::separator::Separator;

use super::blocks::BlockOptions;
use super::lists::ListOptions;
use super::values::{self, InputFormat, MaxArgs};

#[derive(Debug, Args)]
pub struct InputOptions {
    /// Read jobs from FILE instead of stdin (-: stdin); may be repeated
    #[arg(short = 'a', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub arg_file: Vec<PathBuf>,

    /// Format of the input lines
    ///
    /// With a COMMAND or an expression, each line has the arguments of one job: one string, one JSON value, or
    /// columns. Each column is an argument. With --protocol raw, each line is a message: json sends the text of
    /// a JSON string, which may have several lines, and base64 sends any bytes.
    #[arg(id = "input", long = "input", value_name = "FORMAT", value_enum, default_value_t = InputFormat::Lines)]
    pub format: InputFormat,

    /// Split each line into arguments at CHAR or at matches of REGEX
    ///
    /// One character means itself: --colsep '|'. A longer text is a regular expression: '\t', ' *, *'. Each
    /// column is an argument, with its spaces. The values after ::: are split too.
    #[arg(hide_short_help = true, short = 'C', long, value_name = "CHAR|REGEX", value_parser = values::separator, allow_hyphen_values = true, conflicts_with = "input")]
    pub colsep: Option<Separator>,

    /// The first line names the columns: use {name} for one
    ///
    /// A worker gets args as an object.
    #[arg(hide_short_help = true, long)]
    pub header: bool,

    /// Make one job of N lines; max: as many as a command can take
    #[arg(short = 'n', long, value_name = "N|max", value_parser = values::max_args)]
    pub max_args: Option<MaxArgs>,

    #[command(flatten)]
    pub blocks: BlockOptions,

    /// Call the function once for the N lines of -n: it gets a list, and returns a list of results
    ///
    /// This is for code and workers. The request has one argument, a list of N lines (x in an expression). The
    /// list of results has one result for each line. If a call fails, or the list has another length, procpool
    /// tries each of its lines alone. --timeout is the time limit of a call.
    #[arg(hide_short_help = true, long)]
    pub each: bool,

    /// Run nothing if there is no input (this is the default)
    // Nothing reads it: it exists for compatibility with xargs and GNU parallel.
    #[arg(hide_short_help = true, short = 'r', long)]
    pub no_run_if_empty: bool,

    /// Lines end with CHAR instead of a newline: a byte, or \n, \r, \t, \0, \xHH
    #[arg(short = 'd', long, value_name = "CHAR", value_parser = values::delimiter, conflicts_with = "null")]
    pub delimiter: Option<u8>,

    /// Lines end with a NUL byte instead of a newline
    #[arg(short = '0', long)]
    pub null: bool,

    #[command(flatten)]
    pub lists: ListOptions,

    /// Size limit of an input line
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). A longer line is an invalid job. It is
    /// skipped, and not kept in memory.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", value_parser = values::size)]
    pub max_line: usize,
}
