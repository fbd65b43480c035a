//! The options of the heading Code: code that is run instead of a command.

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct CodeOptions {
    /// Evaluate CODE for each line (x); or --perl, --node, --ruby, --sh
    ///
    /// In an expression, x is the line (the first column of csv and tsv; the object with --header; the value
    /// with --input json or, of an array, its first element), and args is all of it. With -n, x is a list:
    /// the lines, the columns of all lines, or the objects. cmd is the command.
    /// The functions of a FILE are the commands of jobs: resize ["a.png", 100] calls resize("a.png",
    /// 100). Args that are an object become keyword arguments. Whatever CODE prints goes to stderr. An
    /// exception is the error of the job. Several requests are in flight (--pipeline auto). Coroutines and
    /// promises of several jobs run at a time in each process.
    #[arg(long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub python: Option<String>,

    /// As --python, in Perl: @_ and $_ are the args; or a class with new and run
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub perl: Option<String>,

    /// As --python, in Node.js: x, args and cmd, or the exports of a FILE
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub node: Option<String>,

    /// As --python, in Ruby: x, args and cmd
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub ruby: Option<String>,

    /// As --python, in sh: "$@" are the args, and the output is the result
    ///
    /// CODE runs in a subshell of a warm shell, with the variables and functions of that shell, and
    /// without stdin. The functions of a FILE are the commands of jobs. An exit status other than 0 is
    /// an error.
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub sh: Option<String>,

    /// Run CODE once in each process before its first job; may be repeated
    #[arg(long, value_name = "CODE")]
    pub setup: Vec<String>,

    /// Run --setup once, and fork the workers of --python or --ruby from that process
    ///
    /// The workers share its memory, and another one is there within milliseconds. The functions of a FILE are
    /// loaded once, too. In the setup, PROCPOOL_SLOT is 0. Threads and connections of the setup are of no use to the
    /// workers.
    #[arg(hide_short_help = true, long)]
    pub preload: bool,
}
