//! The options of the heading Recycling: when a worker is replaced or ended.

use std::time::Duration;

use clap::Args;

use super::values::{self};

#[derive(Debug, Args)]
pub struct RecyclingOptions {
    /// Give each worker up to N jobs more than that, at random
    ///
    /// So workers that were started together are not all replaced together.
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 0)]
    pub max_reqs_jitter: u64,

    /// Replace a worker that has lived for TIME, once it has no job
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = procpool::parse_duration)]
    pub max_age: Option<Duration>,

    /// Replace a worker that holds more memory than SIZE, once it has no job
    ///
    /// In bytes, or with a suffix K, M or G (powers of 1024). What counts is the worker's own
    /// resident memory, not that of its children. It is looked at between jobs.
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = values::size)]
    pub max_rss: Option<usize>,

    /// End a worker that has had no job for TIME
    #[arg(hide_short_help = true, long, value_name = "TIME", value_parser = procpool::parse_duration)]
    pub idle_timeout: Option<Duration>,

    /// At most N replacements started ahead of need [default: one per worker]
    ///
    /// A worker whose time is nearly over is replaced by one that has started already, so that no
    /// job waits. With 0 it is stopped first, and the next one is started then: so no two processes
    /// have the same PROCPOOL_SLOT at the same time.
    #[arg(hide_short_help = true, long, value_name = "N")]
    pub standby: Option<usize>,
}
