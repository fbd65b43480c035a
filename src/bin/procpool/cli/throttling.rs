//! The options of the heading Throttling: what a job waits for besides a slot.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{self};

#[derive(Debug, Args)]
pub struct ThrottlingOptions {
    /// The file of `--max-procs @FILE`.
    #[arg(skip)]
    pub procs_file: Option<PathBuf>,

    /// Wait TIME after the start of each job
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = procpool::engine::parse_duration)]
    pub delay: Option<Duration>,

    /// Start at most N jobs per unit of time: 10/s, 100/m, 1000/h
    #[arg(hide_short_help = true, long, value_name = "N/s", value_parser = values::rate)]
    pub rate: Option<Duration>,

    /// Start no job while the load average is above N
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = values::load)]
    pub max_load: Option<f64>,

    /// Start no job while less memory than SIZE is free
    ///
    /// Both the machine and the memory cgroup of procpool must have so much free memory.
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = values::size)]
    pub min_free_memory: Option<usize>,

    /// Run jobs with a lower priority: 1 (a little) to 39
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = values::nice)]
    pub nice: Option<i32>,
}
