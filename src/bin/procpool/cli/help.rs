//! The options of the heading Help: what is printed instead of a run.

use clap::{ArgAction, Args, ValueEnum};

#[derive(Debug, Args)]
pub struct HelpOptions {
    /// Print help (-h: one screen; --help: everything)
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Use the options of a profile: NAME in ~/.config/procpool/config; may be repeated
    ///
    /// The file has a line [NAME] for each profile. Each line after it has one option, as you would type it.
    /// (If XDG_CONFIG_HOME is set, the file is $XDG_CONFIG_HOME/procpool/config.) procpool reads the options
    /// of a profile before those of the command line, so the command line overrides them. It ignores an
    /// option of a profile that has no effect in a run. The same is true for the options in the variable
    /// PROCPOOL_OPTIONS, which may name a profile.
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    pub profile: Vec<String>,

    /// Print each option in force and where it comes from, instead of a run
    #[arg(hide_short_help = true, long)]
    pub show_options: bool,

    /// Print what procpool finds on this machine: limits, interpreters, terminal
    ///
    /// It shows the version, the limits of the system, the interpreters that --python and the like run, the
    /// terminal, the control group, and the values that procpool takes by default. It runs no job. Add its
    /// output to a report of a defect.
    #[arg(hide_short_help = true, long, exclusive = true)]
    pub doctor: bool,

    /// Print a worker to start from, in LANG
    ///
    /// The first lines of the worker say how to run it. It has a function that you replace with your own,
    /// reports errors, and flushes its output.
    #[arg(hide_short_help = true, long, value_name = "LANG", value_enum, exclusive = true)]
    pub example_worker: Option<ExampleLanguage>,

    /// Print the man page, or the completions for a shell
    ///
    /// man: the page procpool(1), for man -l or a folder of MANPATH. bash, zsh, fish, powershell: a script
    /// with the completions. procpool --generate bash > ~/.local/share/bash-completion/completions/procpool
    /// installs those for bash.
    #[arg(hide_short_help = true, long, value_name = "WHAT", value_enum, exclusive = true)]
    pub generate: Option<Generated>,
}

/// A language of the workers that `--example-worker` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExampleLanguage {
    Python,
    Node,
    Perl,
    Ruby,
    Sh,
    Rust,
}

/// What `--generate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// The man page
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Completions for PowerShell
    Powershell,
}
