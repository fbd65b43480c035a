//! The names of hosts as the user writes them: items of `-S`, and lines of the files that `-S @FILE` names.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context as _;

use crate::plan::Misuse;

/// A machine as it was named: how many slots it has, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHost {
    pub slots: Option<usize>,
    pub name: String,
}

/// Where a name was written, as the beginning of a message.
#[derive(Clone, Copy)]
enum NamePlace<'a> {
    Option,
    Line { file: &'a str, number: usize },
}

impl NamePlace<'_> {
    /// A message about the text of a name.
    fn misuse(self, text: &str, why: &str) -> Misuse {
        let text = procpool::engine::printable(text);
        Misuse::new(match self {
            Self::Option => format!("-S {text}: {why}"),
            Self::Line { file, number } => format!("'{file}', line {number}: {text}: {why}"),
        })
    }

    fn named_twice(self, name: &str) -> Misuse {
        match self {
            Self::Option => Misuse::new(format!("-S names {name} twice")),
            Self::Line { .. } => self.misuse(name, "the host is named twice"),
        }
    }
}

/// The hosts of a list, in order.
#[derive(Default)]
struct List {
    named: Vec<NamedHost>,
    seen: HashSet<String>,
}

impl List {
    fn add(&mut self, text: &str, place: NamePlace<'_>) -> Result<(), Misuse> {
        let host = host(text, place)?;
        if !self.seen.insert(host.name.clone()) {
            return Err(place.named_twice(&host.name));
        }
        self.named.push(host);
        Ok(())
    }

    /// Adds the hosts of a file: one on each line, with comments.
    fn add_file(&mut self, file: &str) -> anyhow::Result<()> {
        let bytes = std::fs::read(Path::new(file))
            .with_context(|| format!("the hosts in '{file}' can't be read"))?;
        let text = String::from_utf8_lossy(&bytes);
        let before = self.named.len();
        for (nth, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let name = line.split('#').next().unwrap_or_default().trim();
            if !name.is_empty() {
                self.add(name, NamePlace::Line { file, number: nth + 1 })?;
            }
        }
        anyhow::ensure!(
            self.named.len() > before,
            "the file '{file}' names no host: write one on each line"
        );
        Ok(())
    }
}

/// Reads the items of `-S`: hosts, and names of files with hosts.
///
/// # Errors
/// A name is none, a host is named twice, or a file can't be read or names no host.
pub fn read(items: &[String]) -> anyhow::Result<Vec<NamedHost>> {
    let mut list = List::default();
    for item in items {
        match item.strip_prefix('@') {
            Some(file) => list.add_file(file)?,
            None => list.add(item, NamePlace::Option)?,
        }
    }
    Ok(list.named)
}

/// Reads a host: its name, and perhaps the number of its slots before that.
fn host(text: &str, place: NamePlace<'_>) -> Result<NamedHost, Misuse> {
    if text.is_empty() {
        return Err("-S: a name is empty; write the names with one comma between them".into());
    }
    let (slots, name) = match text.split_once('/') {
        None => (None, text),
        Some((count, name)) => {
            let slots = count.parse().ok().filter(|slots| (1..=65_536).contains(slots));
            let why = || {
                let count = procpool::engine::printable(count);
                let why =
                    format!("'{count}' is no number of slots; it is 8/alpha for 8 slots on alpha");
                place.misuse(text, &why)
            };
            (Some(slots.ok_or_else(why)?), name)
        }
    };
    // A file has one name on each line, and names no other file.
    let is_odd = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '{' | '}' | ',' | char::REPLACEMENT_CHARACTER)
    };
    if name.is_empty() || name.starts_with(['-', '@']) || name.contains(is_odd) {
        return Err(place.misuse(text, "this is no name of a host"));
    }
    Ok(NamedHost { slots, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_as_gnu_parallel_names_them() {
        let host =
            |text: &str| host(text, NamePlace::Option).ok().map(|host| (host.slots, host.name));
        let named = |slots, name: &str| Some((slots, name.to_owned()));
        assert_eq!(host("alpha"), named(None, "alpha"));
        assert_eq!(host("8/user@beta"), named(Some(8), "user@beta"));
        assert_eq!(host("2/:"), named(Some(2), ":"));
        for wrong in
            ["", "-oProxyCommand=x", "8/-x", "0/alpha", "x/alpha", "8/", "a b", "a{b", "a,b", "@b"]
        {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }
}
