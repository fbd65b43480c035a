//! The options of the heading Recycling: when a worker is replaced or ended.

use std::time::Duration;

use clap::Args;

use super::values::{self};

#[derive(Debug, Args)]
pub struct RecyclingOptions {
    /// Add a random number of jobs, up to N, to the --max-reqs of each worker
    ///
    /// Workers that were started together are then not all replaced together.
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 0, value_parser = values::whole::<u64>)]
    pub max_reqs_jitter: u64,

    /// Replace a worker that is older than TIME, once it has no job
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = procpool::engine::parse_duration)]
    pub max_age: Option<Duration>,

    /// Replace a worker that uses more memory than SIZE, once it has no job
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). The resident memory of the worker counts,
    /// without that of its children. It is measured between jobs.
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = values::size)]
    pub max_rss: Option<usize>,

    /// End a worker that has had no job for TIME
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = procpool::engine::parse_duration)]
    pub idle_timeout: Option<Duration>,

    /// Start up to N replacement workers in advance [default: one per worker]
    ///
    /// A worker runs until its replacement has started, so that no job waits. With 0 the old worker is
    /// stopped before the new one is started, so that no two processes have the same PROCPOOL_SLOT at the
    /// same time.
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = values::whole::<usize>)]
    pub standby: Option<usize>,
}
