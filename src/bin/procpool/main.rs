//! The command `procpool`: parse, run, exit status.

mod cli;
mod descriptors;
mod exit;
mod outputs;
mod plan;
mod pools;
mod report;
mod run;
mod signals;
mod terminal;

fn main() -> std::process::ExitCode {
    let options = cli::parse();
    signals::hear_of_children();
    let early = signals::end_early();
    signals::outlive_file_limit();
    descriptors::keep_from_workers(&options);
    terminal::remember();
    run::run(options, early).unwrap_or_else(exit::Status::from_error).leave()
}
