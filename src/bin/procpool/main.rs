//! The command `procpool`: parse, run, exit status.

mod cli;
mod descriptors;
mod exit;
mod interrupts;
mod outputs;
mod plan;
mod pools;
mod report;
mod run;
mod signals;
mod terminal;

fn main() -> std::process::ExitCode {
    signals::outlive_harmless();
    let options = cli::parse();
    signals::hear_of_children();
    let early = signals::end_early();
    descriptors::keep_from_workers(&options);
    terminal::remember();
    run::run(options, early).unwrap_or_else(exit::Status::from_error).leave()
}
