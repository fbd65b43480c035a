//! The text of an option's value → the value: numbers, sizes, rates, formats.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use procpool::engine::command::Shell;
use procpool::engine::input::separator::Separator;
use procpool::engine::{Depth, Kind, Timeout};

use super::halt::{Halt, parse_halt};

/// The largest number of processes. No machine has room for more.
pub const MOST_PROCS: usize = 65_536;

/// What an input line is if there is a COMMAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// The line is one string
    Lines,
    /// The line is a JSON value: all the args
    Json,
    /// Comma-separated values: each is an arg
    Csv,
    /// Tab-separated values: each is an arg
    Tsv,
    /// Bytes in base64: a message (raw)
    Base64,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResultFormat {
    /// One JSON object per job, for failed jobs too
    Record,
    /// The result alone, as JSON; failures go to stderr
    Value,
    /// Strings and the output of commands, unchanged; failures go to stderr
    Text,
    /// The --status of a server as text for Prometheus
    Prometheus,
    /// The bytes of text, in base64: a line for each job; failures go to stderr
    Base64,
}

/// When to do something that only a person at a terminal needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// When stderr is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How a run shows its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A line on a terminal; in CI, a line a minute
    Auto,
    /// Nothing
    #[value(alias = "off")]
    Never,
    /// A line, also where auto shows none
    #[value(alias = "always")]
    Line,
    /// A line, and a row for each running job
    Full,
}

/// The number of lines of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxArgs {
    Lines(usize),
    /// As many as a command can take.
    Max,
}

/// The length of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOption {
    Bytes(usize),
    /// This many for each slot.
    PerSlot(usize),
}

/// The text at an end of a record: any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordText(pub Vec<u8>);

/// How long to wait for a place of a semaphore, and what to do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    RunAnyway(Duration),
    GiveUp(Duration),
}

/// A kind of failure after which a job may be tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryOn(pub Kind);

pub fn kind(text: &str) -> Result<RetryOn, String> {
    let kind = Kind::PASSING.iter().copied().find(|kind| kind.name() == text).map(RetryOn);
    kind.ok_or_else(|| {
        let names: Vec<_> = Kind::PASSING.iter().map(|kind| kind.name()).collect();
        format!("expected one or more of {}", names.join(", "))
    })
}

/// The value of `--halt`; `None`: never.
#[derive(Clone, Copy, Debug)]
pub struct HaltOption(pub Option<Halt>);

pub fn halt_option(text: &str) -> Result<HaltOption, String> {
    parse_halt(text).map(HaltOption)
}

/// A count, which may be 0.
pub fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".into())
}

/// How nice jobs are.
pub fn nice(text: &str) -> Result<i32, String> {
    let level = text.parse().ok().filter(|level| (1..=39).contains(level));
    level.ok_or_else(|| "expected a whole number from 1 (a little) to 39".into())
}

/// A number of servers.
pub fn replicas(text: &str) -> Result<u8, String> {
    let count = text.parse().ok().filter(|count| (1..=5).contains(count));
    count.ok_or_else(|| "expected a whole number from 1 to 5".into())
}

/// A number of processes, or a file with one.
pub fn count_or_file(text: &str) -> Result<usize, String> {
    let Some(path) = text.strip_prefix('@') else { return count(text) };
    count_in(Path::new(path)).map_err(|error| format!("the file '{path}': {error}"))
}

/// The number of processes in a file.
pub fn count_in(path: &Path) -> Result<usize, String> {
    let content = std::fs::read(path).map_err(|error| format!("it can't be read: {error}"))?;
    count(String::from_utf8_lossy(&content).trim())
}

/// A number of processes, which may depend on the number of CPUs. 0: as many as the system allows.
pub fn count(text: &str) -> Result<usize, String> {
    // Counting takes some files of the system, and most numbers do not depend on it.
    let cpus = num_cpus::get;
    let is_signed = |text: &str| text.starts_with('+') || text.starts_with('-');
    let count = match (text.strip_suffix('%'), text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(percent), ..) => percent
            .parse()
            .ok()
            .filter(|&percent| percent > 0)
            .map(|percent: usize| (cpus().saturating_mul(percent) / 100).max(1)),
        (_, Some(more), _) => more.parse().ok().map(|more: usize| cpus().saturating_add(more)),
        (.., Some(less)) => less.parse().ok().map(|less: usize| cpus().saturating_sub(less).max(1)),
        _ => text.parse().ok(),
    };
    let count = count.filter(|_| !text.get(1..).is_some_and(is_signed));
    count.filter(|count| *count <= MOST_PROCS).ok_or_else(|| {
        format!(
            "expected a whole number from 1 to {MOST_PROCS}, 0 (as many as the system allows), or \
             50%, +1 or -1 (of the CPUs)"
        )
    })
}

/// The name of a variable, or its beginning and a '*'. It may be empty.
pub fn variable_name(text: &str) -> Result<String, String> {
    if text.contains('=') {
        return Err("expected names of variables; --env NAME=VALUE sets one".into());
    }
    Ok(text.to_owned())
}

pub fn max_args(text: &str) -> Result<MaxArgs, String> {
    match (text, text.parse()) {
        ("max", _) => Ok(MaxArgs::Max),
        (_, Ok(lines @ 1..)) => Ok(MaxArgs::Lines(lines)),
        _ => Err("expected a number of lines, 1 or more, or max".into()),
    }
}

pub fn block(text: &str) -> Result<BlockOption, String> {
    let count = text.strip_prefix('-').map(|count| count.parse().ok().filter(|&count| count > 0));
    match count {
        None => size(text)
            .map(BlockOption::Bytes)
            .map_err(|error| format!("{error}, or -1 for one block per slot")),
        Some(Some(count)) => Ok(BlockOption::PerSlot(count)),
        Some(None) => Err("expected a number of blocks per slot after the '-', such as -1".into()),
    }
}

/// A text with escape sequences of xargs.
pub fn escaped(text: &str) -> Result<RecordText, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + 1..];
        // The longest escape sequence counts: \x0a is one byte.
        let lens = (1..=4).rev().filter(|&len| after.is_char_boundary(len) && len <= after.len());
        let found = lens.filter_map(|len| Some((len, parse_escape(&after[..len])?))).next();
        let Some((len, byte)) = found else {
            return Err(format!(
                "there is no escape sequence '\\{:.1}'; write a backslash as \\\\",
                after
            ));
        };
        bytes.push(byte);
        rest = &after[len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(RecordText(bytes))
}

/// A byte, or an escape sequence of xargs.
pub fn delimiter(text: &str) -> Result<u8, String> {
    let byte = match (text.as_bytes(), text.strip_prefix('\\')) {
        (&[byte], _) => Some(byte),
        (_, Some(escape)) => parse_escape(escape),
        _ => None,
    };
    byte.ok_or_else(|| {
        "expected one character (a byte), or \\n, \\r, \\t, \\0, \\\\, \\xHH or \\OOO (octal)"
            .into()
    })
}

/// The byte that the text after a backslash means.
fn parse_escape(text: &str) -> Option<u8> {
    let number = |digits: &str, radix| {
        let is_number =
            (1..=3).contains(&digits.len()) && digits.chars().all(|c| c.is_digit(radix));
        u8::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    match (text, text.strip_prefix('x')) {
        ("a", _) => Some(0x07),
        ("b", _) => Some(0x08),
        ("t", _) => Some(b'\t'),
        ("n", _) => Some(b'\n'),
        ("v", _) => Some(0x0b),
        ("f", _) => Some(0x0c),
        ("r", _) => Some(b'\r'),
        ("\\", _) => Some(b'\\'),
        (_, Some(hex)) => number(hex, 16),
        (octal, None) => number(octal, 8),
    }
}

/// What separates columns.
pub fn separator(text: &str) -> Result<Separator, String> {
    Separator::new(text).map_err(|error| error.to_string())
}

/// The seed of a random order.
pub fn seed(text: &str) -> Result<u64, String> {
    match text {
        "random" => Ok(RandomState::new().build_hasher().finish()),
        _ => whole(text),
    }
}

/// The shell of this name or path.
pub fn shell(name: OsString) -> Result<Shell, String> {
    Shell::named(&name).ok_or_else(|| {
        let name = name.to_string_lossy();
        format!(
            "procpool can quote for sh, dash, ash, bash and zsh; for another shell, write it as COMMAND and the \
             args after its text: {name} -c '…' {{}}"
        )
    })
}

pub fn timeout(text: &str) -> Result<Timeout, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return procpool::engine::parse_duration(text)
            .map(Timeout::Time)
            .map_err(|error| error.to_string());
    };
    let percent =
        percent.parse().ok().filter(|percent: &f64| percent.is_finite() && *percent > 0.0);
    let times = percent.map(|percent| Timeout::Median(percent / 100.0));
    times.ok_or_else(|| "expected a percentage of the median above 0, such as 300%".into())
}

pub fn patience(text: &str) -> Result<Patience, String> {
    let time = text.strip_prefix('-').unwrap_or(text);
    let duration = procpool::engine::parse_duration(time)
        .map_err(|error| format!("{error}, with a '-' before it to give up after that time"))?;
    Ok(if time == text { Patience::RunAnyway(duration) } else { Patience::GiveUp(duration) })
}

/// The name of a semaphore, which becomes the name of a folder.
pub fn semaphore_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 80 {
        return Err("expected a name of 1 to 80 bytes".to_owned());
    }
    Ok(text.to_owned())
}

/// A duration; never is 0.
pub fn slow(text: &str) -> Result<Duration, String> {
    match text {
        "never" => Ok(Duration::ZERO),
        _ => procpool::engine::parse_duration(text).map_err(|error| format!("{error}, or never")),
    }
}

/// The time between two starts.
pub fn rate(text: &str) -> Result<Duration, String> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => 0.0,
    };
    let count = count
        .parse::<f64>()
        .ok()
        .filter(|&count: &f64| count.is_finite() && count > 0.0 && seconds > 0.0);
    let interval = count.and_then(|count| Duration::try_from_secs_f64(seconds / count).ok());
    interval
        .ok_or_else(|| "expected a number per second, minute or hour: 10/s, 100/m, 1000/h".into())
}

pub fn load(text: &str) -> Result<f64, String> {
    let load = text.parse().ok().filter(|load: &f64| load.is_finite() && *load > 0.0);
    load.ok_or_else(|| "expected a load average such as 4 or 2.5".into())
}

pub fn depth(text: &str) -> Result<Depth, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Depth::Auto),
        (_, Ok(depth)) if depth > 0 => Ok(Depth::Fixed(depth)),
        _ => Err("expected a whole number, 1 or more, or auto".into()),
    }
}

/// The limit of a queue: jobs, or bytes with a suffix. As `1000 jobs` or `1000 bytes`.
pub fn queue_limit(text: &str) -> Result<String, String> {
    let is_size = text.ends_with(|last: char| last.is_ascii_alphabetic());
    let limit =
        size(text).map_err(|_| "expected a number of jobs, 1 or more, or bytes such as 64M")?;
    Ok(if is_size { format!("{limit} bytes") } else { format!("{limit} jobs") })
}

/// A number of bytes, with an optional suffix K, M or G (powers of 1024).
pub fn size(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "expected a number of bytes, 1 or more, such as 65536, 64K or 64M".into())
}
