//! Where jobs come from.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use procpool::engine::input::Source;
use procpool::engine::input::arg_lists::{ArgList, ArgLists, ListSource};

use super::invocation::Invocation;
use super::misuse::Misuse;

/// The sources of jobs, in their order.
pub fn sources(invocation: &Invocation<'_>) -> Result<Vec<Source>, Misuse> {
    let (options, lists) = (invocation.options, &invocation.lists);
    check_signs(invocation)?;
    let files = &options.input.arg_file;
    if !files.is_empty() {
        if !lists.is_empty() {
            return Err("args come from files (-a) or from lists (:::, ::::), not from both".into());
        }
        return Ok(files.iter().map(|file| source(file)).collect());
    }
    if let [ArgList { from, .. }] = lists.as_slice() {
        match from {
            // There is no need to hold it in memory.
            ListSource::File(file) => return Ok(vec![Source::File(file.clone())]),
            ListSource::Stdin => return Ok(vec![Source::Stdin]),
            ListSource::Words(_) => {}
        }
    }
    if !lists.is_empty() {
        if options.failures.failed.is_some() {
            return Err(
                "--failed records input lines, and args given with ::: are not input lines".into(),
            );
        }
        let links_all = options.input.lists.link;
        return Ok(vec![Source::Args(ArgLists { lists: lists.clone(), links_all })]);
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

/// Checks that the options about lists have an effect.
fn check_signs(invocation: &Invocation<'_>) -> Result<(), Misuse> {
    let (options, lists) = (&invocation.options.input.lists, &invocation.lists);
    if options.link && lists.len() < 2 {
        return Err("--link pairs lists of args: give several, each after ::: or ::::".into());
    }
    let is_used = |sign: &OsString| {
        let is_it =
            |word: &OsString| word == sign || word.as_bytes() == [sign.as_bytes(), b"+"].concat();
        invocation.options.command.iter().any(is_it)
    };
    for (name, sign) in [("--arg-sep", &options.arg_sep), ("--arg-file-sep", &options.arg_file_sep)]
    {
        match sign {
            Some(sign) if sign.is_empty() => {
                return Err(Misuse::new(format!("{name} needs a text that is not empty")));
            }
            Some(sign) if !is_used(sign) => {
                let sign = sign.display();
                return Err(Misuse::new(format!(
                    "{name}: there is no word '{sign}' after COMMAND"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The source that a file of `-a` is.
fn source(file: &Path) -> Source {
    if file.as_os_str() == "-" { Source::Stdin } else { Source::File(file.to_owned()) }
}
