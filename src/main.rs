//! The command `procpool`: parse, run, exit status.

mod cli;
mod exit;
mod files;
mod halt;
mod inherit;
mod lanes;
mod plan;
mod progress;
mod run;
mod signals;
mod tally;

fn main() -> std::process::ExitCode {
    let options = cli::parse();
    signals::outlive_file_limit();
    inherit::keep_from_workers(&options);
    run::run(options).unwrap_or_else(exit::Status::from_error).leave()
}
