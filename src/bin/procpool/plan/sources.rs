//! Where jobs come from.

use std::path::Path;

use procpool::engine::input::Source;

use super::invocation::Invocation;
use super::misuse::Misuse;

/// The sources of jobs, in their order.
pub fn sources(invocation: &Invocation<'_>) -> Result<Vec<Source>, Misuse> {
    let (options, lists) = (invocation.options, &invocation.lists);
    let files = &options.input.arg_file;
    if !files.is_empty() {
        if !lists.is_empty() {
            return Err("args come from files (-a) or from :::, not from both".into());
        }
        return Ok(files.iter().map(|file| source(file)).collect());
    }
    if !lists.is_empty() {
        if options.failures.failed.is_some() {
            return Err(
                "--failed records input lines, and args given with ::: are not input lines".into(),
            );
        }
        return Ok(vec![Source::Args(lists.clone())]);
    }
    let is_idle =
        invocation.words.is_empty() && !invocation.has_workers() && options.queue.from.is_none();
    if is_idle && invocation.machine.stdin_is_terminal {
        return Err("nothing to do: name a COMMAND that runs for each input line, or a --worker, \
                    or give job lines on stdin"
            .into());
    }
    Ok(vec![Source::Stdin])
}

/// The source that a file of `-a` is.
fn source(file: &Path) -> Source {
    if file.as_os_str() == "-" { Source::Stdin } else { Source::File(file.to_owned()) }
}
