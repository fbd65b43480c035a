//! The options of the heading Code: code that is run instead of a command.

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub struct CodeOptions {
    /// Evaluate CODE for each line (x); or --perl, --node, --ruby, --sh
    ///
    /// In an expression, x is the line. With --input csv or tsv, x is the first column or, with --header, an
    /// object with all columns. With --input json, x is the value or, if the value is an array, its first
    /// element. args is a list of all arguments. With -n, x is a list: the lines, the columns of all lines, or
    /// the objects.
    ///
    /// With a FILE, a job names a function of the file: resize ["a.png", 100] calls resize("a.png", 100). If
    /// args is an object, its fields become keyword arguments.
    ///
    /// Text that CODE prints goes to stderr. An exception makes the job fail. --pipeline is auto. Each process
    /// runs several coroutines, or promises, at a time.
    #[arg(long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub python: Option<String>,

    /// As --python, in Perl: $_ is the line, @_ has all arguments; a FILE may have a class with new and run
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub perl: Option<String>,

    /// As --python, in Node.js: x and args, or the exported functions of a FILE
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub node: Option<String>,

    /// As --python, in Ruby: x and args, or the functions of a FILE
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub ruby: Option<String>,

    /// As --python, in sh: "$@" has the arguments, and the output is the result
    ///
    /// CODE runs in a subshell of a shell that stays alive, with the variables and functions of --setup, and
    /// without stdin. With a FILE, a job names a function of the file. An exit status other than 0 makes the job
    /// fail.
    #[arg(hide_short_help = true, long, value_name = "CODE|FILE", group = "code", conflicts_with = "worker", value_hint = ValueHint::FilePath)]
    pub sh: Option<String>,

    /// Run CODE once in each process before its first job; may be repeated
    #[arg(long, value_name = "CODE")]
    pub setup: Vec<String>,

    /// Run --setup once, and fork the workers of --python or --ruby from that process
    ///
    /// The workers share its memory, and a replacement is ready within milliseconds. A FILE is also loaded only
    /// once. In the setup, PROCPOOL_SLOT is 0. Workers can't use threads and connections of the setup.
    #[arg(hide_short_help = true, long)]
    pub preload: bool,
}
