//! Which lines make one request, whose result is a list with a result for each line.

use procpool::engine::Language;
use procpool::engine::input::joining::Joining;
use procpool::engine::input::plain_lines::Columns;

use super::invocation::Invocation;
use super::misuse::Misuse;
use crate::cli::values::MaxArgs;

/// How jobs are joined; `None`: each job is a request of its own.
pub fn joining(invocation: &Invocation<'_>) -> Result<Option<Joining>, Misuse> {
    let options = invocation.options;
    if !options.input.each {
        return Ok(None);
    }
    if invocation.code.as_ref().is_some_and(|code| code.language == Language::Sh) {
        return Err("sh has no lists for --each: use -n alone, or another language".into());
    }
    if options.output.live {
        return Err("--live prints a result while its job runs, but --each has one call for many \
                    results: leave one of them out"
            .into());
    }
    match options.input.max_args {
        Some(MaxArgs::Lines(lines)) => {
            let is_split = !matches!(invocation.columns(), Columns::One | Columns::Json);
            let rows = is_split || invocation.lists.len() > 1;
            Ok(Some(Joining { lines, rows }))
        }
        _ => Err("--each needs a number of lines: -n N".into()),
    }
}
