//! A command line, and how it is typed into a shell.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// A command that can be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Additions to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// The directory to run in.
    pub cwd: Option<OsString>,
}

/// A command as a line that can be pasted into a shell.
pub fn command_line(command: &Command) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(cwd) = &command.cwd {
        // In a subshell, so that the next command runs in the same directory as before.
        line.extend_from_slice(b"(cd ");
        if !cwd.as_bytes().starts_with(b"/") && !cwd.as_bytes().starts_with(b".") {
            // Otherwise it could be an option, or be searched for in CDPATH.
            line.extend_from_slice(b"./");
        }
        line.extend(quote(cwd.as_bytes()));
        line.extend_from_slice(b" && ");
    }
    if !command.env.is_empty() {
        line.extend_from_slice(b"env ");
        for (name, value) in &command.env {
            line.extend(quote(name.as_bytes()));
            line.push(b'=');
            if !value.is_empty() {
                line.extend(quote(value.as_bytes()));
            }
            line.push(b' ');
        }
    }
    for (index, word) in command.argv.iter().enumerate() {
        let word = word.as_bytes();
        if index > 0 {
            line.push(b' ');
        }
        // The first word could be an assignment or a reserved word.
        if index == 0 && command.env.is_empty() && (word.contains(&b'=') || is_reserved(word)) {
            line.extend(in_quotes(word))
        } else {
            line.extend(quote(word))
        }
    }
    if command.cwd.is_some() {
        line.push(b')');
    }
    line
}

fn is_reserved(word: &[u8]) -> bool {
    let words = "if then else elif fi do done case esac while until for in time function select \
                 coproc";
    words.split(' ').any(|reserved| reserved.as_bytes() == word)
}

/// A word as it is typed into a POSIX shell, in quotes only if it needs them.
pub fn quote(word: &[u8]) -> Vec<u8> {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"@%_-+:,./=".contains(&byte);
    if !word.is_empty() && word[0] != b'=' && word.iter().all(is_plain) {
        word.to_vec()
    } else {
        in_quotes(word)
    }
}

fn in_quotes(word: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = word.split(|&byte| byte == b'\'').collect();
    [b"'", parts.join(&br"'\''"[..]).as_slice(), b"'"].concat()
}
