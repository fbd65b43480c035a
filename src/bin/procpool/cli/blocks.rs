//! The options about blocks of records.

use clap::Args;

use super::values::{self, BlockOption, RecordText};

#[derive(Debug, Args)]
pub struct BlockOptions {
    /// Make one job of whole records of up to SIZE bytes; -N: N jobs per slot
    ///
    /// The block is the stdin of COMMAND (with --stdin), or a message to a worker (raw). It ends where a record
    /// ends: a line, unless --recend, --recstart, -d, -0 or --input csv says otherwise. With --header, each
    /// block begins with the first record. A record longer than SIZE is a block of its own, up to --max-line. A
    /// file, also as stdin (< FILE), is not held in memory: the system copies each block from the file to
    /// the command. -1 divides such files into one block for each slot, -2 into two blocks.
    #[arg(hide_short_help = true, long, value_name = "SIZE", value_parser = values::block, conflicts_with = "max_args")]
    pub block: Option<BlockOption>,

    /// With --block, records end with TEXT, which may have \n, \t, \0, \xHH
    ///
    /// If TEXT is empty, a record may end anywhere.
    #[arg(hide_short_help = true, long, value_name = "TEXT", value_parser = values::escaped, conflicts_with_all = ["delimiter", "null"])]
    pub recend: Option<RecordText>,

    /// With --block, records begin with TEXT
    ///
    /// With --recend too, a record ends only where the text of --recend is followed by this TEXT.
    #[arg(hide_short_help = true, long, value_name = "TEXT", value_parser = values::escaped)]
    pub recstart: Option<RecordText>,
}
