//! The options of the heading Semaphore: one limit for commands of several command lines.

use clap::Args;

use super::values::{self, Patience};

#[derive(Debug, Args)]
pub struct SemaphoreOptions {
    /// Run COMMAND in the background, when fewer than -j N others of this NAME run
    ///
    /// All command lines of one user that give the same NAME share the limit, 1 by default. procpool waits until
    /// there is a place, starts COMMAND and ends. COMMAND continues in the background, with the stdout and
    /// stderr of procpool. Its place is free when it ends, even if it ends by kill -9.
    #[arg(hide_short_help = true, long, aliases = ["semaphorename", "semaphore-name"], value_name = "NAME", value_parser = values::semaphore_name)]
    pub semaphore: Option<String>,

    /// With --semaphore, wait for the end of COMMAND, and end with its exit status
    ///
    /// COMMAND has the stdin of procpool.
    #[arg(hide_short_help = true, long, requires = "semaphore")]
    pub fg: bool,

    /// With --semaphore, wait until no command of this NAME runs; needs no COMMAND
    #[arg(hide_short_help = true, long, requires = "semaphore")]
    pub wait: bool,

    /// With --semaphore, wait no longer than TIME for a place, and run COMMAND anyway; -TIME: give up
    ///
    /// If procpool gives up, COMMAND does not run, and the exit status is 1.
    #[arg(hide_short_help = true, long, aliases = ["semaphoretimeout", "st"], value_name = "TIME", requires = "semaphore", value_parser = values::patience)]
    pub semaphore_timeout: Option<Patience>,
}
