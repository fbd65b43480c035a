//! The options of the heading Code: code that is run instead of a command.

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct CodeOptions {
    /// Evaluate CODE for each line (x); or --perl, --node, --ruby, --sh
    ///
    /// An expression has x (the line; the list of lines with -n; the first column of csv and tsv; the
    /// object with --header; the value with --input json), args (all of them) and cmd. Of a FILE the functions are the commands of
    /// jobs: resize ["a.png", 100] calls resize("a.png", 100), and args that are an object become
    /// keyword arguments. What code prints goes to stderr. An exception is the job's error. Several
    /// requests are in flight (--pipeline auto).
    #[arg(long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub python: Option<String>,

    /// The same in Perl: @_ and $_ are the args; also a class with new and run
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub perl: Option<String>,

    /// The same in Node.js: x, args, cmd; what a FILE exports
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub node: Option<String>,

    /// The same in Ruby: x, args, cmd
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub ruby: Option<String>,

    /// The same in sh: "$@" are the args; what it prints is the result
    ///
    /// CODE is run in a subshell of a warm shell, with its variables and functions, and without stdin.
    /// Of a FILE the functions are the commands. A status other than 0 is an error.
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub sh: Option<String>,

    /// Run CODE once in each process before its first job; may be repeated
    #[arg(long, value_name = "CODE")]
    pub setup: Vec<String>,
}
