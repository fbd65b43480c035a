//! The workers of a run: their names, their protocol, and the messages that a fresh worker gets first.

use std::collections::HashSet;
use std::ffi::OsString;

use procpool::engine::{Init, Protocol, parse_init};

use super::exchange;
use super::invocation::Invocation;
use super::misuse::Misuse;
use super::no_shell;
use crate::cli::Options;

/// The names of the workers, if they have any, and their command lines.
pub fn named_workers(workers: &[String]) -> Result<(Vec<String>, Vec<String>), Misuse> {
    let named: Vec<_> = workers.iter().filter_map(|worker| named(worker, workers.len())).collect();
    if named.is_empty() && workers.len() < 2 {
        return Ok((Vec::new(), workers.to_vec()));
    }
    if named.len() < workers.len() {
        return Err(
            "several workers need names, and jobs choose one by its name: -w NAME=CMDLINE".into()
        );
    }
    let mut seen = HashSet::new();
    if let Some((name, _)) = named.iter().find(|(name, _)| !seen.insert(name.clone())) {
        return Err(Misuse::new(format!("two workers are named '{name}'")));
    }
    Ok(named.into_iter().unzip())
}

/// The name of one of `count` workers, and its command line.
fn named(worker: &str, count: usize) -> Option<(String, String)> {
    let (name, line) = worker.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let is_variable = || count == 1 && no_shell::sets_variable(name, line);
    (is_name && !is_variable()).then(|| (name.to_owned(), line.to_owned()))
}

/// Refuses lines that can't name a worker, and a COMMAND that names none.
pub fn check_names(
    invocation: &Invocation<'_>,
    protocol: &Protocol,
    names: &[String],
) -> Result<(), Misuse> {
    if names.is_empty() {
        return Ok(());
    }
    if protocol.is_raw() {
        return Err(
            "with --protocol raw a line can't say which worker it is for: give one --worker, \
                    without a name"
                .into(),
        );
    }
    let is_name = |word: &OsString| names.iter().any(|name| word == name.as_str());
    if let Some(word) = invocation.words.first().filter(|word| !is_name(word)) {
        return Err(Misuse::new(format!(
            "there is no worker '{}'; the workers are {}",
            word.display(),
            names.join(", ")
        )));
    }
    Ok(())
}

/// The protocol of the workers.
pub fn protocol(options: &Options) -> Result<Protocol, Misuse> {
    let workers = &options.workers;
    // clap has refused unknown names.
    let protocol = Protocol::named(&workers.protocol).unwrap_or_default();
    let protocol = match workers.exchange.framing {
        Some((requests, replies)) => protocol.framed_as(requests, replies),
        None => protocol,
    };
    let protocol = protocol
        .with_reply_messages(workers.exchange.reply_messages)
        .map_err(|message| Misuse::new(format!("--reply-messages: {message}")))?;
    exchange::with_exchange(protocol, &workers.exchange)
}

/// The messages that a fresh worker gets first.
pub fn first_messages(options: &Options, protocol: &Protocol) -> Result<Vec<Init>, Misuse> {
    let read = |(line, has_reply): &(String, bool)| {
        let option = if *has_reply { "--init" } else { "--notify" };
        parse_init(line, *has_reply, protocol)
            .map_err(|message| Misuse::new(format!("{option} '{line:.60}': {message}")))
    };
    options.line.first.iter().map(read).collect()
}
