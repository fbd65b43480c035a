//! The command `procpool`: parse, run, exit status.

mod capacity;
mod cli;
mod descriptors;
mod exit;
mod interrupts;
mod no_shell;
mod outputs;
mod plan;
mod pools;
mod report;
mod run;
mod signals;
mod terminal;
mod usage;

fn main() -> std::process::ExitCode {
    signals::outlive_harmless();
    let mut options = cli::parse();
    if options.workers.max_procs == Some(0) {
        // Each of several workers has up to so many.
        options.workers.max_procs =
            Some((capacity::most() / options.workers.worker.len().max(1)).max(1));
    }
    signals::hear_of_children();
    let early = signals::end_early();
    descriptors::keep_from_workers(&options);
    terminal::remember();
    run::run(options, early).unwrap_or_else(exit::Status::from_error).leave()
}
