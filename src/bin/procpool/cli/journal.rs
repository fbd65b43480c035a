//! The options of the heading Journal: recording a run, and resuming it.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct JournalOptions {
    /// Record the outcome of each job in FILE, so that you can resume the run
    ///
    /// Each job gets a line of JSON when it finishes, in any order, before its result is printed. FILE
    /// must be new or empty, unless you give --resume. Only you can read it, and only one run can use
    /// it at a time.
    #[arg(id = "journal", hide_short_help = true, long = "journal", value_name = "FILE", conflicts_with_all = ["live", "dry_run"], value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Continue the run of the journal: print what succeeded, run the rest
    ///
    /// The recorded results of jobs that have succeeded are printed in their places, so the output is
    /// that of an uninterrupted run. procpool recognizes a job by its id if the input has one, even if its
    /// arguments have changed. It recognizes other jobs by their content, and equal jobs by their order, so you
    /// can add, remove and move lines. Failed jobs are run again. If there is no journal yet, the run creates
    /// it.
    #[arg(hide_short_help = true, long, requires = "journal")]
    pub resume: bool,

    /// Write each record to the disk before its result is printed
    ///
    /// Without it, a journal survives a crash of procpool, but not a power cut. Records are written to
    /// the disk in groups, and workers do not wait for them.
    #[arg(hide_short_help = true, long, requires = "journal")]
    pub fsync: bool,
}
