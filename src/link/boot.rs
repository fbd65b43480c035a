//! How an agent gets to its host: a fixed script for `sh`, which runs the procpool in the user's cache
//! folder, or takes one from its stdin, checks it and keeps it there.

use std::fmt;

use super::greeting::{MarkedLine, PROGRAM_VERSION};
use crate::util::text::printable;

/// The program that is run on a host. Its words mean the same to each shell, and without one.
pub(crate) const REMOTE_PROGRAM: &str = "sh";

/// A copy of procpool for hosts that have none.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    /// How many bytes it has.
    pub(crate) size: usize,
    /// Half of its SHA-256, in hexadecimal digits.
    pub(crate) hash: String,
}

/// The script. Everything in it was made here: no name, no path and no text of a user is in it. `token`
/// is a word of digits that no other script has.
pub(crate) fn script(parcel: &Parcel, token: u64) -> String {
    let Parcel { size, hash } = parcel;
    // The braces have the shell read all of it before it does anything, and so before it reads more of
    // its stdin.
    format!(
        "{{
say() {{ printf '\\0procpool %s\\n' \"$(printf %s \"$*\" | tr '\\n' ' ')\"; }}
fail() {{ say fail \"$@\"; exit 126; }}
umask 077
d=${{XDG_CACHE_HOME:-${{HOME:-/nonexistent}}/.cache}}/procpool
n=procpool-{PROGRAM_VERSION}-{hash}
t=$d/.new-{token}
if [ -x \"$d/$n\" ] && [ -O \"$d/$n\" ]; then exec \"$d/$n\" --agent; fi
if [ \"$(procpool --version 2>/dev/null)\" = 'procpool {PROGRAM_VERSION}' ]; then exec procpool --agent; fi
trap 'rm -f \"$t\"; exit 126' HUP INT TERM PIPE
e=$(mkdir -p \"$d\" 2>&1) || fail folder \"$e\"
[ -O \"$d\" ] || fail folder \"$d belongs to somebody else\"
e=$( (: >\"$t\") 2>&1) || fail folder \"$e\"
say need \"$(uname -s)\" \"$(uname -m)\"
e=$(head -c {size} 2>&1 >\"$t\") || {{ rm -f \"$t\"; fail write \"$e\"; }}
[ \"$(wc -c <\"$t\")\" -eq {size} ] || {{ rm -f \"$t\"; fail write 'the copy is incomplete'; }}
e=$(chmod 700 \"$t\" 2>&1) || fail write \"$e\"
e=$(\"$t\" --agent --check {hash} 2>&1 </dev/null) || {{ rm -f \"$t\"; fail run \"$e\"; }}
e=$(mv -f \"$t\" \"$d/$n\" 2>&1) || fail write \"$e\"
find \"$d\" -name 'procpool-*' ! -name \"$n\" -mtime +30 -exec rm -f {{}} + 2>/dev/null </dev/null
find \"$d\" -name '.new-*' -mtime +1 -exec rm -f {{}} + 2>/dev/null </dev/null
exec \"$d/$n\" --agent
}}
"
    )
}

/// A line of the script, or of the agent that it has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootLine {
    /// It has no procpool, and wants a copy. This is its system and its kind of machine.
    Need { system: String, machine: String },
    /// It can't have one.
    Fail(BootFailure),
    /// The agent runs: the words of its greeting.
    Agent(Vec<String>),
    /// A line that has no meaning.
    Unknown,
}

impl BootLine {
    /// Reads a marked line.
    pub(crate) fn read(line: &MarkedLine) -> Self {
        let mut words = line.0.iter().map(String::as_str);
        let mut next = || words.next().unwrap_or_default().to_owned();
        match next().as_str() {
            "need" => Self::Need { system: next(), machine: next() },
            "fail" => {
                let step = next();
                let why = printable(&words.collect::<Vec<_>>().join(" "));
                Self::Fail(match step.as_str() {
                    "folder" => BootFailure::Folder(why),
                    "run" => BootFailure::Run(why),
                    _ => BootFailure::Write(why),
                })
            }
            "agent" => Self::Agent(words.map(str::to_owned).collect()),
            _ => Self::Unknown,
        }
    }
}

/// Why a host can't have a copy of procpool. Each has the message of the system there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootFailure {
    /// There is no folder for it.
    Folder(String),
    /// It can't be written.
    Write(String),
    /// It can't be run.
    Run(String),
}

impl fmt::Display for BootFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why) = match self {
            Self::Folder(why) => ("the cache folder can't be used for a copy of procpool", why),
            Self::Write(why) => ("a copy of procpool can't be written to the cache folder", why),
            Self::Run(why) => ("the copy of procpool in the cache folder can't be run", why),
        };
        write!(f, "{what}: {why}; set XDG_CACHE_HOME there, or install procpool {PROGRAM_VERSION}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> BootLine {
        BootLine::read(&MarkedLine(line.split(' ').map(str::to_owned).collect()))
    }

    #[test]
    fn what_the_script_says_is_understood() {
        let need = BootLine::Need { system: "Linux".into(), machine: "x86_64".into() };
        assert_eq!(read("need Linux x86_64"), need);
        assert_eq!(read("agent 1 0.1.0"), BootLine::Agent(vec!["1".into(), "0.1.0".into()]));
        assert_eq!(
            read("fail run no such file"),
            BootLine::Fail(BootFailure::Run("no such file".into()))
        );
        assert_eq!(read("hello"), BootLine::Unknown);
        assert_eq!(read(""), BootLine::Unknown);
    }

    #[test]
    fn the_script_has_nothing_of_a_user() {
        let parcel = Parcel { size: 17, hash: "0123abcd".into() };
        let script = script(&parcel, 42);
        assert!(script.starts_with("{\n") && script.ends_with("\n}\n"));
        assert!(script.contains("head -c 17 ") && script.contains("/.new-42\n"));
    }
}
