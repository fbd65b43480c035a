//! The options of the heading Output that choose results, or take them apart.

use clap::Args;

#[derive(Debug, Args)]
pub struct SelectionOptions {
    /// Print nothing for a result that is null (None, undefined, nil) or empty text
    ///
    /// This is for the formats text and value. An expression can choose lines with it: 'x if int(x) > 5 else
    /// None'. The job counts as a success.
    #[arg(hide_short_help = true, long)]
    pub skip_null: bool,

    /// Print a result that is a list as lines, one for each element
    ///
    /// This is for the formats text and value. For an empty list, procpool prints nothing. A result that is not a
    /// list is printed as one line.
    #[arg(hide_short_help = true, long)]
    pub unpack: bool,
}
