//! The options of the heading Messages: the progress of a run, and colors.

use clap::Args;

use super::foreign::AcceptedOptions;
use super::values::{ProgressMode, When};

#[derive(Debug, Args)]
pub struct MessageOptions {
    /// Show the progress of the run: auto, never, line, full
    ///
    /// procpool draws a line below the text on the terminal, and removes it at the end. The line has the number
    /// of jobs that are done, the number of all jobs, jobs per second, the time left, the number of failed
    /// jobs, and the running job that began first. full adds a row for each running job: its time, slot,
    /// process and command. If stdout is a pipe, auto draws no line, because the next program may use the same
    /// terminal. line and full draw it there while no result comes. Nothing is drawn while you type jobs, in
    /// the background, or if TERM is dumb. If stderr is not a terminal, line and full print a line every 5
    /// seconds, and auto prints a line every minute if CI is set.
    #[arg(long, value_name = "HOW", value_enum, hide_possible_values = true, default_value_t = ProgressMode::Auto)]
    pub progress: ProgressMode,

    #[command(flatten)]
    pub accepted: AcceptedOptions,

    /// Use colors in messages: auto, always or never
    ///
    /// auto uses colors if stderr is a terminal, NO_COLOR is not set and TERM is not dumb. Only messages
    /// of procpool have colors. Results and the output of jobs are not changed.
    #[arg(hide_short_help = true, long, value_name = "WHEN", value_enum, hide_possible_values = true, default_value_t = When::Auto)]
    pub color: When,
}
