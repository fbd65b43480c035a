//! The options of the heading Commands: how the command of a job is made and run.

use std::ffi::OsString;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct CommandOptions {
    /// Run COMMAND by sh -c; what {} stands for stays data, whatever it is
    ///
    /// The COMMAND and its ARGs, with spaces between them, are the text of a shell command.
    /// Placeholders become its positional parameters, quoted as they must be where they stand: no
    /// argument can break out of its place. (A second shell that the text starts, by eval, sh -c or
    /// ssh, is on its own.)
    #[arg(long, conflicts_with = "worker")]
    pub shell: bool,

    /// STR stands for the args in COMMAND; braces mean nothing then
    #[arg(
        hide_short_help = true,
        short = 'I',
        long,
        value_name = "STR",
        conflicts_with = "worker"
    )]
    pub replace: Option<OsString>,

    /// Feed the args to COMMAND's stdin, one a line, not to its arguments
    #[arg(hide_short_help = true, long, conflicts_with = "worker")]
    pub stdin: bool,

    /// Set a variable for COMMAND; VALUE may have placeholders
    #[arg(hide_short_help = true, long, value_name = "NAME=VALUE", conflicts_with = "worker")]
    pub env: Vec<OsString>,

    /// Run COMMAND in DIR, which may have placeholders
    #[arg(hide_short_help = true, long, value_name = "DIR", conflicts_with = "worker", value_hint = ValueHint::DirPath)]
    pub cwd: Option<OsString>,

    /// Print each command instead of running it, quoted for a shell
    ///
    /// It goes with all options that say how jobs are run, and has no effect besides: it writes no
    /// --failed, --joblog or --journal.
    #[arg(long, conflicts_with = "worker")]
    pub dry_run: bool,

    /// Ask on the terminal before each command is run
    #[arg(hide_short_help = true, short = 'p', long, conflicts_with = "worker")]
    pub confirm: bool,
}
