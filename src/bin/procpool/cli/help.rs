//! The options of the heading Help.

use clap::{ArgAction, Args};

#[derive(Debug, Args)]
pub struct HelpOptions {
    /// Print help (-h: a summary; --help: everything)
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}
