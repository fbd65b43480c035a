//! The command `procpool`: parses the options, runs, and ends the process.

mod cli;
mod descriptors;
mod exit;
mod interrupts;
mod lock;
mod outputs;
mod plan;
mod pools;
mod report;
mod run;
mod signals;
mod terminal;

use cli::Options;
use exit::Status;

fn main() -> ! {
    procpool::engine::name_options();
    signals::outlive_harmless();
    let status = match cli::parse() {
        Ok(options) => run(options),
        Err(exit) => Status::from_early_exit(&exit),
    };
    status.leave()
}

fn run(options: Options) -> Status {
    signals::hear_of_children();
    let early = signals::end_early();
    descriptors::keep_from_workers(&options);
    terminal::remember();
    run::run(options, early).unwrap_or_else(Status::from_error)
}
