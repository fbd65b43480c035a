//! The options of the heading Commands: how the command of a job is made and run.

use std::ffi::OsString;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use procpool::engine::command::Shell;

use super::hosts::HostOptions;
use super::semaphore::SemaphoreOptions;
use super::server::ServerOptions;
use super::values;

#[derive(Debug, Args)]
pub struct CommandOptions {
    /// Run COMMAND with sh -c, or bash or zsh; placeholders are passed safely as arguments
    ///
    /// COMMAND and its ARGs, joined by spaces, are the text of a shell command. Each placeholder becomes
    /// a positional parameter, in the quotes that its place needs. So no argument is run as code. Where the
    /// shell would run it as code, as in $((…)) or after eval, a placeholder is an error. (This does not
    /// protect a second shell that the text starts with sh -c or ssh.) --shell=bash and --shell=zsh run that
    /// shell, with exported functions, [[ … ]] and <(…). SHELL may be a path. --sh also runs its code in SHELL.
    #[arg(long, value_name = "SHELL", num_args = 0..=1, require_equals = true, default_missing_value = "sh", value_parser = OsStringValueParser::new().try_map(values::shell), conflicts_with = "worker")]
    pub shell: Option<Shell>,

    /// Use STR as the only placeholder in COMMAND, instead of braces
    #[arg(
        hide_short_help = true,
        short = 'I',
        long,
        value_name = "STR",
        conflicts_with = "worker"
    )]
    pub replace: Option<OsString>,

    /// Write the arguments to the stdin of COMMAND, one per line
    #[arg(hide_short_help = true, long, conflicts_with = "worker")]
    pub stdin: bool,

    /// Set a variable for COMMAND or the workers; VALUE may have placeholders
    ///
    /// For workers and code, the placeholders are {%}, the number of the slot from 1, and {%0}, the same
    /// from 0: --env CUDA_VISIBLE_DEVICES={%0}.
    #[arg(hide_short_help = true, long, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,

    /// Give jobs only the variables NAME,NAME…, PATH and HOME
    ///
    /// LC_* means all variables whose names begin with LC_. Workers and commands get no other variable of
    /// procpool's environment. The variables of --env are added, and those that procpool sets for workers.
    #[arg(hide_short_help = true, long, value_name = "NAME", value_delimiter = ',', value_parser = values::variable_name)]
    pub env_only: Option<Vec<String>>,

    /// Give jobs all variables (this is the default); undoes an earlier --env-only
    #[arg(hide_short_help = true, long, overrides_with = "env_only")]
    pub env_all: bool,

    /// Run COMMAND or the workers in DIR, which may have placeholders
    ///
    /// For workers and code, the placeholders are {%} and {%0}, as for --env. A relative path of a worker's
    /// program, or of a FILE with code, still starts from the folder in which you started procpool, not from DIR.
    #[arg(hide_short_help = true, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cwd: Option<OsString>,

    /// Give each slot CPUs of its own
    ///
    /// The CPUs that procpool may use are divided among the slots. A worker or command, and all processes
    /// that it starts, run on the CPUs of its slot. If there are more slots than CPUs, several slots share
    /// one.
    #[arg(hide_short_help = true, long)]
    pub cpu_affinity: bool,

    /// Print each command, quoted for a shell, instead of running it
    ///
    /// You can combine it with the options for commands, but not with options that write a file about the run:
    /// --failed, --joblog, --journal, --report, --trace and --results.
    #[arg(long, alias = "dryrun", conflicts_with = "worker")]
    pub dry_run: bool,

    /// Give the terminal to each job, one job at a time: editors, rm -i, ssh
    ///
    /// The job has the terminal for its stdin, and the stdout and stderr of procpool. Ctrl-C and Ctrl-Z go to
    /// the job. Ctrl-Z stops procpool too, and fg continues both. If Ctrl-C ends a job, the run ends too.
    /// When the job is over, procpool restores the modes of the terminal. The output of the job is not
    /// captured. This implies -j1, and no progress is drawn.
    #[arg(short = 'o', long, alias = "open-tty", conflicts_with_all = ["worker", "stdin", "live", "detail", "tag", "results", "journal", "pty", "hosts", "slurm"])]
    pub tty: bool,

    /// Ask on the terminal before each command
    #[arg(hide_short_help = true, short = 'p', long, conflicts_with = "worker")]
    pub confirm: bool,

    #[command(flatten, next_help_heading = "Hosts")]
    pub hosts: HostOptions,

    #[command(flatten, next_help_heading = "Semaphore")]
    pub semaphore: SemaphoreOptions,

    #[command(flatten, next_help_heading = "Server")]
    pub server: ServerOptions,
}
