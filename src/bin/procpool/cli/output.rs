//! The options of the heading Output: how results look, their order, and reports.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::report::{self, Report};
use super::values::{self, Format, When};

#[derive(Debug, Args)]
pub struct OutputOptions {
    /// How results look: record (default with a worker), value, text (otherwise)
    ///
    /// For text, what a command prints is passed on byte for byte, its stderr behind it.
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,

    /// Begin each line with the args of its job and a tab
    #[arg(long)]
    pub tag: bool,

    /// Pass on lines while a command runs, as soon as it is its turn
    ///
    /// With --stream lines of all running commands are printed as they come.
    #[arg(long, conflicts_with = "worker")]
    pub live: bool,

    /// Add seq, cmd, args, slot, pid, attempt, start and seconds to records
    #[arg(hide_short_help = true, long)]
    pub detail: bool,

    /// Print each result as its job finishes, not in input order
    #[arg(long)]
    pub stream: bool,

    /// Print results in input order: the default
    #[arg(hide_short_help = true, short = 'k', long, conflicts_with = "stream")]
    pub keep_order: bool,

    /// Memory for results that wait for their turn
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). More results go to a temporary file,
    /// which is made in TMPDIR and has no name, so that nothing of it is left behind.
    #[arg(hide_short_help = true, long, value_name = "SIZE", default_value = "64M", value_parser = values::size)]
    pub buffer: usize,

    /// Say at the end what a run came to: jobs, failures, durations
    ///
    /// With the slowest jobs, retries, and the workers that were replaced, and why.
    #[arg(long)]
    pub summary: bool,

    /// Write a report at the end: FILE.html, .json, .xml (JUnit), .md
    ///
    /// It may be repeated. html is a page for a browser: a timeline, failures, durations, workers; it
    /// loads nothing from elsewhere. xml is JUnit's, as CI systems read it. md is a table for the
    /// summary of a CI job. For a FILE with another name, put the format before it: json:FILE. -.json
    /// is stdout: the report is the last line, after all results. A report is written however the run
    /// ends, except after kill -9. Where GITHUB_ACTIONS is set, failures are annotations as well,
    /// without this option.
    #[arg(long, value_name = "FILE", value_parser = report::parse_report, allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub report: Vec<Report>,

    /// Write when each job ran where to FILE, for Perfetto or chrome://tracing
    ///
    /// As Chrome's trace-event format has it. Events are written as jobs finish. A trace that kill -9 cut
    /// off can still be opened.
    #[arg(hide_short_help = true, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,

    /// Keep what each job printed, and its record, in a folder of its own in DIR
    ///
    /// DIR/000007-ARGS has the files stdout, stderr and record.json; of the ARGS, letters, digits, dots
    /// and dashes are in the name. DIR must be new or empty, unless --resume is given. What a worker
    /// answers is in stdout, as text.
    #[arg(hide_short_help = true, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub results: Option<PathBuf>,

    /// Log each job that is over to FILE, as GNU parallel does
    ///
    /// With --resume the log is added to, by the jobs that are run. FILE may not be the input, nor
    /// another file that the run writes.
    #[arg(hide_short_help = true, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub joblog: Option<PathBuf>,

    /// Show a progress line
    ///
    /// It is drawn on stderr, and vanishes at the end. Where stderr is no terminal and it is asked
    /// for, a line is printed every few seconds.
    #[arg(hide_short_help = true, long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub progress: When,
}

impl OutputOptions {
    /// Whether something that these options ask for needs each job by itself. (All options are listed here:
    /// a new one does not compile before it says so.)
    pub fn wants_each_job(&self) -> bool {
        let Self {
            tag,
            summary,
            report,
            trace,
            results,
            joblog,
            format: _,
            live: _,
            detail: _,
            stream: _,
            keep_order: _,
            buffer: _,
            progress: _,
        } = self;
        *tag || *summary
            || !report.is_empty()
            || trace.is_some()
            || results.is_some()
            || joblog.is_some()
    }
}
