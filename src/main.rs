//! The command `procpool`: parse, run, exit status.

mod cli;
mod exit;
mod files;
mod halt;
mod lanes;
mod plan;
mod progress;
mod run;
mod signals;
mod tally;

fn main() -> std::process::ExitCode {
    let options = cli::parse();
    signals::outlive_file_limit();
    run::run(options).unwrap_or_else(exit::Status::from_error).leave()
}
