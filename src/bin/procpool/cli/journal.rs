//! The options of the heading Journal: recording a run, and resuming it.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct JournalOptions {
    /// Record what comes of each job in FILE, so that the run can be resumed
    ///
    /// A line of JSON for each job when it finishes, whatever the order of the output, before its
    /// result is printed. FILE must be new or empty, unless --resume is given. It is made for you
    /// alone to read, and only one run can have it at a time.
    #[arg(id = "journal", hide_short_help = true, long = "journal", value_name = "FILE", conflicts_with_all = ["live", "dry_run"], value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Go on with the run that the journal is of: print what succeeded, run the rest
    ///
    /// Results of jobs that have succeeded are printed in their places as they were recorded, so that
    /// the output is that of a run that was never interrupted. A job goes by its id where the input
    /// names one (also if its args have changed), otherwise by what it is, and for equal jobs by
    /// which of them it is: lines may come, go and change places. Jobs that failed are run again.
    /// Where there is no journal yet, the run begins with one.
    #[arg(hide_short_help = true, long, requires = "journal")]
    pub resume: bool,

    /// Have each record on the disk before its result is printed
    ///
    /// Without it a journal survives whatever happens to procpool, but not a power cut. Records are
    /// brought to the disk many at a time, and workers do not wait for that.
    #[arg(hide_short_help = true, long, requires = "journal")]
    pub fsync: bool,
}
