//! The options of the heading Output: how results look, their order, and reports.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueHint};

use super::messages::MessageOptions;
use super::printing::{LineOptions, StorageOptions};
use super::report::{self, Report};
use super::selection::SelectionOptions;
use super::values::ResultFormat;

#[derive(Debug, Args)]
pub struct OutputOptions {
    /// Format of results: record (default with a worker), value, text (otherwise), base64
    ///
    /// With text, the output of a command is passed on byte for byte, and its stderr comes after it. With
    /// base64, the output of each job that succeeded is one line, in base64.
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<ResultFormat>,

    /// Start each line with the arguments of its job and a tab
    #[arg(long)]
    pub tag: bool,

    #[command(flatten)]
    pub lines: LineOptions,

    /// Print a job's output while it runs, when it is the job's turn
    ///
    /// It is the job's turn when the results of all jobs before it are printed. With a worker or code, this
    /// prints the parts of a result, such as the values that a generator yields, each as a line. With --stream,
    /// procpool prints the lines of all running jobs as they come.
    #[arg(long)]
    pub live: bool,

    #[command(flatten)]
    pub selection: SelectionOptions,

    /// Add seq, cmd, args, slot, pid, attempt, start and seconds to records
    #[arg(hide_short_help = true, long)]
    pub detail: bool,

    /// Print each result as its job finishes, not in input order
    #[arg(long)]
    pub stream: bool,

    #[command(flatten)]
    pub storage: StorageOptions,

    /// Print totals, failures and durations at the end
    ///
    /// The summary also has the slowest jobs, the retries, and the workers that were replaced, with the
    /// reasons.
    #[arg(long)]
    pub summary: bool,

    /// Write a report at the end: FILE.html, .json, .xml (JUnit), .md
    ///
    /// You can give it several times. html is a page for a browser with a timeline, failures, durations
    /// and workers; it loads nothing from elsewhere. xml is JUnit's format, which CI systems read. md
    /// is a table for the summary of a CI job. For a FILE with another name, put the format before it:
    /// json:FILE. -.json is stdout: the report is the last line, after all results. A report is written
    /// however the run ends, except after kill -9. If GITHUB_ACTIONS is set, failures are also printed
    /// as annotations, even without this option.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(report::parse_report), allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub report: Vec<Report>,

    /// Write a timeline of all jobs to FILE, for Perfetto or chrome://tracing
    ///
    /// FILE has Chrome's trace-event format. Events are written as jobs finish. A trace that kill -9
    /// cut off can still be opened.
    #[arg(hide_short_help = true, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,

    /// Keep the output and the record of each job in a folder of its own in DIR
    ///
    /// DIR/000007-ARGS has the files stdout, stderr and record.json. ARGS has the arguments of the job:
    /// characters other than letters, digits, dots and dashes become _. The file stdout has the output of a
    /// command, or the result of a worker as text. DIR must be new or empty, unless you give --resume.
    #[arg(hide_short_help = true, long, alias = "res", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub results: Option<PathBuf>,

    /// Log each finished job to FILE, as GNU parallel does
    ///
    /// With --resume, procpool adds the jobs that it runs to the log. FILE must not be the input or another
    /// file that the run writes.
    #[arg(hide_short_help = true, long, alias = "jl", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub joblog: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Messages")]
    pub messages: MessageOptions,
}
