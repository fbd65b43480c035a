//! The command `procpool`: parse, run, exit status.

mod cli;
mod descriptors;
mod exit;
mod files;
mod interrupts;
mod plan;
mod pools;
mod report;
mod run;
mod signals;

fn main() -> std::process::ExitCode {
    signals::outlive_harmless();
    let options = cli::parse();
    descriptors::keep_from_workers(&options);
    run::run(options).unwrap_or_else(exit::Status::from_error).leave()
}
