//! The command `procpool`: parse, run, exit status.

mod cli;
mod exit;
mod progress;
mod run;
mod signals;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let options = cli::Options::parse();
    run::run(options).unwrap_or_else(exit::Status::from_error).leave()
}
