//! The command `procpool`: parses the options, runs, and ends the process.

mod agent;
mod cli;
mod descriptors;
mod doctor;
mod examples;
mod exit;
mod generate;
mod guardian;
mod interrupts;
mod lock;
mod outputs;
mod plan;
mod pools;
mod presets;
mod queue;
mod report;
mod run;
mod semaphore;
mod signals;
mod terminal;

use cli::Options;
use exit::Status;
use presets::Invoked;

fn main() -> ! {
    procpool::engine::name_settings(cli::setting_names::option);
    if let Some(status) = agent::run() {
        status.leave();
    }
    if let Some(status) = semaphore::hold() {
        status.leave();
    }
    guardian::fork_early();
    let status = match presets::parse() {
        Ok(invoked) => match instead_of_a_run(&invoked) {
            Some(text) => Status::of_text(&text),
            None => run(invoked.options),
        },
        Err(exit) => Status::from_early_exit(&exit),
    };
    status.leave()
}

/// The text that is printed instead of a run, if the options ask for one.
fn instead_of_a_run(invoked: &Invoked) -> Option<String> {
    let help = &invoked.options.help;
    if help.show_options {
        return Some(presets::show(invoked));
    }
    if help.doctor {
        return Some(doctor::report());
    }
    if let Some(language) = help.example_worker {
        return Some(examples::example(language).to_owned());
    }
    help.generate.map(generate::generate)
}

fn run(options: Options) -> Status {
    if let Some(name) = &options.commands.semaphore.semaphore {
        guardian::dismiss();
        descriptors::keep_from_workers(&options);
        terminal::remember();
        return semaphore::run(&options, name).unwrap_or_else(Status::from_error);
    }
    if let Some(url) = &options.queue.dead {
        guardian::dismiss();
        return queue::print_dead(&options, url)
            .map_or_else(Status::from_error, |()| Status::Success);
    }
    signals::hear_of_children();
    let early = signals::end_early();
    descriptors::keep_from_workers(&options);
    terminal::remember();
    run::server::run(options, early).unwrap_or_else(Status::from_error)
}
