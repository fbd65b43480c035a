//! The options that make the workers of a server what they are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::sides::{Side, side_of};
use crate::cli::Options;
use crate::cli::typed::{TypedOption, typed_in};

/// The options whose values are code, or files of code.
const CODE: &[&str] = &["python", "perl", "node", "ruby", "sh"];

/// The option that the words of a server begin with.
const LONGEST_LINE: &str = "--max-line=";

/// A message has this many bytes besides a line of input, at most.
const MESSAGE_MARGIN: usize = 1 << 20;

/// A server that takes lines of this length takes no message with more bytes than this.
pub fn longest_message(max_line: usize) -> usize {
    max_line.saturating_add(MESSAGE_MARGIN)
}

/// The longest line that a server with these words takes.
pub fn longest_line(words: &[OsString]) -> usize {
    let first = words.first().and_then(|word| word.to_str()?.strip_prefix(LONGEST_LINE));
    first.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The given options, also those of profiles, that say what a worker is. Callers of a server plan their runs by
/// them. The longest line is among them, even if it was not given.
pub fn words_of_kind(options: &Options) -> Vec<OsString> {
    let longest = OsString::from(format!("{LONGEST_LINE}{}", options.input.max_line));
    let words = words_of(options, |side| matches!(side, Side::Kind | Side::Lines));
    [longest].into_iter().chain(words).collect()
}

/// The given options, also those of profiles, that a pool of workers depends on.
pub fn words_of_pool(options: &Options) -> Vec<OsString> {
    words_of(options, |side| matches!(side, Side::Kind | Side::Lines | Side::Pool | Side::Both))
}

fn words_of(options: &Options, is_wanted: impl Fn(Side) -> bool) -> Vec<OsString> {
    let typed = typed_in(&options.commands.hosts.words).into_iter();
    typed.filter(|option| is_wanted(side_of(&option.id))).map(word).collect()
}

/// Whether there are workers, and not a command for each job.
pub fn has_workers(options: &Options) -> bool {
    let code = &options.code;
    let code = [&code.python, &code.perl, &code.node, &code.ruby, &code.sh];
    !options.workers.worker.is_empty() || code.iter().any(|code| code.is_some())
}

/// An option as one word. The name of a file of code means the same in each folder.
fn word(option: TypedOption) -> OsString {
    let mut word = OsString::from(&option.name);
    let Some(mut value) = option.value else { return word };
    if CODE.contains(&option.id.as_str())
        && Path::new(&value).is_file()
        && let Ok(path) = std::path::absolute(&value)
    {
        value = path.into_os_string();
    }
    if option.name.starts_with("--") {
        word.push("=");
    }
    word.push(value);
    word
}

/// These words, each with a NUL byte after it.
pub fn joined(words: &[OsString]) -> Vec<u8> {
    words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
}
