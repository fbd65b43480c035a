//! Who gets the stdin of procpool: the reader of jobs, the commands, or nobody.

use procpool::engine::input::Source;

use super::invocation::Invocation;
use super::misuse::Misuse;

/// Whether commands inherit the stdin of procpool, as with `xargs -a`: jobs come from files, and nobody else reads
/// it. A command in the background must not read a terminal, so it gets none.
pub fn is_for_commands(invocation: &Invocation<'_>, sources: &[Source]) -> bool {
    let is_file = |source: &Source| matches!(source, Source::File(_));
    !sources.is_empty()
        && sources.iter().all(is_file)
        && !invocation.options.commands.hosts.are_given()
        && !invocation.machine.stdin_is_terminal
}

/// Checks the options that give the terminal to jobs.
///
/// # Errors
/// The options contradict each other.
pub fn check_terminal(invocation: &Invocation<'_>) -> Result<(), Misuse> {
    let options = invocation.options;
    if !options.commands.tty {
        return Ok(());
    }
    if options.workers.max_procs != Some(1) {
        return Err(
            "--tty gives the terminal to one job at a time: leave out -j, or write -j1".into()
        );
    }
    let is_typed = options.input.arg_file.is_empty() && invocation.lists.is_empty();
    if is_typed && invocation.machine.stdin_is_terminal {
        return Err(
            "--tty gives the terminal to the jobs, so lines can't be typed there: give them in a \
                    file (-a FILE), through a pipe, or after :::"
                .into(),
        );
    }
    Ok(())
}
