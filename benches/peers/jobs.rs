//! The jobs of the scenarios, and their results.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use crate::measure::{Check, Usage};
use crate::tools::Tool;

/// What the jobs of a scenario are. They are counted from 1.
pub(crate) enum Load {
    /// `double [N]`.
    Double,
    /// `echo [TEXT]`, with a text of this many bytes.
    Echo(usize),
    /// `nap [N, MICROSECONDS]`, each job with a sleep of its own.
    Nap(fn(u64) -> u64),
    /// The first job sleeps `micros` microseconds. The results of the others have `size` bytes.
    SlowFirst { micros: u64, size: usize },
    /// Lines with their numbers, for a command that prints nothing or a filter that prints them.
    Lines,
}

impl Load {
    fn cmd(&self, number: u64) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Echo(_) => "echo",
            Self::Nap(_) => "nap",
            Self::SlowFirst { .. } if number == 1 => "nap",
            Self::SlowFirst { .. } => "fill",
            Self::Lines => "true",
        }
    }

    /// Appends the args of a job.
    fn args(&self, number: u64, out: &mut String) {
        let _ = match self {
            Self::Double => write!(out, "[{number}]"),
            Self::Echo(_) => {
                out.push('[');
                self.result(number, out);
                out.push(']');
                Ok(())
            }
            Self::Nap(micros) => write!(out, "[{number},{}]", micros(number)),
            Self::SlowFirst { micros, .. } if number == 1 => write!(out, "[{number},{micros}]"),
            Self::SlowFirst { size, .. } => write!(out, "[{number},{size}]"),
            Self::Lines => write!(out, "{number}"),
        };
    }

    /// Appends what a job's result must be, as JSON.
    fn result(&self, number: u64, out: &mut String) {
        let _ = match self {
            Self::Double => write!(out, "{}", 2 * number),
            Self::Nap(_) => write!(out, "{number}"),
            Self::Echo(size) => {
                out.push('"');
                text(number, *size, out);
                out.push('"');
                Ok(())
            }
            Self::SlowFirst { .. } if number == 1 => write!(out, "{number}"),
            Self::SlowFirst { size, .. } => write!(out, "\"{number:0size$}\""),
            Self::Lines => write!(out, "{number}"),
        };
    }

    /// Whether job lines carry their number as id, and so are requests as well. Where lines are
    /// large this saves a file.
    fn has_ids(&self) -> bool {
        matches!(self, Self::Echo(_))
    }
}

/// Appends a text that is all letters and digits, and another one for each number.
fn text(number: u64, size: usize, out: &mut String) {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";
    let _ = write!(out, "{number:010}");
    let mut state = number | 1 << 40;
    let end = out.len() + size.saturating_sub(10);
    while out.len() < end {
        state = random(state);
        for shift in (0..60).step_by(5).take(end - out.len()) {
            out.push(char::from(LETTERS[(state >> shift) as usize % LETTERS.len()]));
        }
    }
}

/// A number that looks random, from the one before: splitmix64.
pub(crate) fn random(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// What a tool reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// Job lines.
    Jobs,
    /// The requests that procpool would make of them, for tools that know nothing of jobs.
    Requests,
    /// The same, with a NUL byte after each.
    NulRequests,
    /// The args alone.
    Args,
}

/// What a tool prints for a job, on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// procpool's record.
    Record,
    /// The worker's reply.
    Reply,
    /// The bare result; strings without quotes.
    Value,
    /// Nothing at all.
    Nothing,
}

/// The files of jobs of a scenario, made when they are wanted, and gone with this.
pub(crate) struct Files<'a> {
    load: &'a Load,
    folder: tempfile::TempDir,
    made: HashMap<(Input, u64), PathBuf>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(load: &'a Load) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("procpool-bench-").tempdir();
        let folder = folder.map_err(|error| format!("no folder for the jobs: {error}"))?;
        Ok(Self { load, folder, made: HashMap::new() })
    }

    /// The file with the first `jobs` jobs.
    pub(crate) fn path(&mut self, input: Input, jobs: u64) -> Result<PathBuf, String> {
        let input = match input {
            Input::Requests if self.load.has_ids() => Input::Jobs,
            other => other,
        };
        if let Some(path) = self.made.get(&(input, jobs)) {
            return Ok(path.clone());
        }
        let path = self.folder.path().join(format!("{input:?}-{jobs}"));
        self.write(input, jobs, &path)
            .map_err(|error| format!("the jobs can't be written to {}: {error}", path.display()))?;
        self.made.insert((input, jobs), path.clone());
        Ok(path)
    }

    fn write(&self, input: Input, jobs: u64, path: &PathBuf) -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut line = String::new();
        for number in 1..=jobs {
            line.clear();
            if input == Input::Args {
                self.load.args(number, &mut line);
                if let Load::Double = self.load {
                    line = line.trim_matches(['[', ']']).to_owned();
                }
                line.push('\n');
                file.write_all(line.as_bytes())?;
                continue;
            }
            line.push('{');
            if input != Input::Jobs || self.load.has_ids() {
                let _ = write!(line, "\"id\":{number},");
            }
            let _ = write!(line, "\"cmd\":\"{}\",\"args\":", self.load.cmd(number));
            self.load.args(number, &mut line);
            line.push('}');
            line.push(if input == Input::NulRequests { '\0' } else { '\n' });
            file.write_all(line.as_bytes())?;
        }
        // Or it would be written to the disk while something is measured.
        file.into_inner()?.sync_all()
    }
}

/// Runs a tool with a look at all that it prints.
pub(crate) fn checked(
    load: &Load,
    tool: &Tool,
    jobs: u64,
    run: impl FnOnce(&mut Check<'_>) -> Result<Usage, String>,
) -> Result<Usage, String> {
    let mut count = 0;
    let mut seen =
        vec![false; if tool.is_ordered { 0 } else { usize::try_from(jobs).unwrap_or(0) }];
    let mut expected = String::new();
    let usage = run(&mut |line| {
        if tool.output == Output::Nothing {
            return Err(format!("it printed {}", shown(line)));
        }
        count += 1;
        let number = match tool.is_ordered {
            true => count,
            false => id(line)
                .or_else(|| bare(line))
                .ok_or_else(|| format!("it printed {}", shown(line)))?,
        };
        if number == 0 || number > jobs {
            return Err(format!("there is no job for what it printed: {}", shown(line)));
        }
        if let Some(seen) = seen.get_mut(usize::try_from(number - 1).unwrap_or(usize::MAX))
            && std::mem::replace(seen, true)
        {
            return Err(format!("job {number} has two results"));
        }
        expected.clear();
        expect(load, tool.output, number, &mut expected);
        match line == expected.as_bytes() {
            true => Ok(()),
            false => {
                let expected = shown(expected.as_bytes());
                Err(format!("it printed {}, not {expected}", shown(line)))
            }
        }
    })?;
    match count == jobs || tool.output == Output::Nothing {
        true => Ok(usage),
        false => Err(format!("it printed {count} results for {jobs} jobs")),
    }
}

fn expect(load: &Load, output: Output, number: u64, line: &mut String) {
    let _ = match output {
        Output::Record => write!(line, "{{\"id\":{number},\"ok\":true,\"result\":"),
        Output::Reply => write!(line, "{{\"id\":{number},\"result\":"),
        Output::Value | Output::Nothing => Ok(()),
    };
    let begin = line.len();
    load.result(number, line);
    match output {
        Output::Value if line[begin..].starts_with('"') => {
            line.pop();
            line.remove(begin);
        }
        Output::Value | Output::Nothing => {}
        Output::Record | Output::Reply => line.push('}'),
    }
}

/// The id at the beginning of a record or a reply.
/// The number that a line is.
fn bare(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn id(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"id\":")?.split(|&byte| byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned()
}
