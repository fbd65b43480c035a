//! The command `procpool`: parses the options, runs, and ends the process.

mod agent;
mod cli;
mod descriptors;
mod doctor;
mod examples;
mod exit;
mod generate;
mod interrupts;
mod lock;
mod outputs;
mod plan;
mod pools;
mod queue;
mod report;
mod run;
mod signals;
mod terminal;

use cli::Options;
use cli::help::HelpOptions;
use exit::Status;

fn main() -> ! {
    procpool::engine::name_settings(cli::setting_names::option);
    if let Some(status) = agent::run() {
        status.leave();
    }
    let status = match cli::parse() {
        Ok(options) => match instead_of_a_run(&options.help) {
            Some(text) => Status::of_text(&text),
            None => run(options),
        },
        Err(exit) => Status::from_early_exit(&exit),
    };
    status.leave()
}

/// The text that is printed instead of a run, if the options ask for one.
fn instead_of_a_run(help: &HelpOptions) -> Option<String> {
    if help.doctor {
        return Some(doctor::report());
    }
    if let Some(language) = help.example_worker {
        return Some(examples::example(language).to_owned());
    }
    help.generate.map(generate::generate)
}

fn run(options: Options) -> Status {
    if let Some(url) = &options.queue.dead {
        return queue::print_dead(&options, url)
            .map_or_else(Status::from_error, |()| Status::Success);
    }
    signals::hear_of_children();
    let early = signals::end_early();
    descriptors::keep_from_workers(&options);
    terminal::remember();
    run::server::run(options, early).unwrap_or_else(Status::from_error)
}
