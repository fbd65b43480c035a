//! Command lines that were written for a shell, although procpool runs none. They are refused before anything
//! is started or read, and the message says what to write instead.

use std::ffi::{OsStr, OsString};

use procpool::engine::check_program;

/// Programs that take a sign of a shell as a plain argument: they pass it to another shell, print it, or
/// compare with it.
const TAKES_SIGNS: [&str; 14] = [
    "ssh", "rsh", "mosh", "echo", "printf", "expr", "test", "[", "dpkg", "bc", "git", "sqlite3",
    "psql", "xargs",
];

/// Variables that people set before a command. They are no names of workers.
const VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// Checks the command line of a worker.
///
/// # Errors
/// A part of it is for a shell. The message says what to write.
pub fn check_worker(line: &str) -> Result<(), String> {
    let words = split(line);
    let found = words.iter().enumerate().find_map(|(index, word)| {
        let has_more = index + 1 < words.len();
        let bare = word.bare_beginning();
        let is_sign = matches!(bare.as_str(), "|" | "||" | "&" | "&&" | ";" | "|&")
            || bare.starts_with('(')
            || bare.starts_with("$(")
            || bare.starts_with('`')
            || is_redirection(&bare)
            || (word.ends_bare && word.text.ends_with(';') && has_more);
        is_sign.then(|| word.text.clone())
    });
    let Some(sign) = found else { return Ok(()) };
    let exec = if is_redirection(&sign) && words.iter().all(|word| !is_list(&word.text)) {
        "exec "
    } else {
        ""
    };
    let text = format!("{exec}{}", line.trim());
    let written = format!("sh -c {}", shell_words::quote(&text));
    // These characters have a meaning in double quotes.
    let is_plain = !written.contains(['"', '$', '`', '\\', '!']);
    let written = if is_plain { format!("-w \"{written}\"") } else { written };
    Err(format!(
        "no shell is run for a --worker, so '{sign}' would be a plain argument: write {written}"
    ))
}

/// Whether the text before the first `=` of a worker's command line is a variable, as before a command in a
/// shell, and not the name of the worker.
pub fn sets_variable(name: &str, rest: &str) -> bool {
    let is_variable = VARIABLES.contains(&name)
        || name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let program = shell_words::split(rest).ok().and_then(|words| words.into_iter().next());
    let has_program = program.is_some_and(|program| {
        let is_value = matches!(program.as_str(), "true" | "false" | "yes" | "no");
        !is_value && check_program(OsStr::new(&program)).is_ok()
    });
    is_variable && (rest.starts_with(char::is_whitespace) || !has_program)
}

/// Checks a COMMAND and its ARGs.
///
/// # Errors
/// As for [`check_worker`].
pub fn check_command(words: &[OsString]) -> Result<(), String> {
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let words: Vec<String> = words.iter().map(text).collect();
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    check_one_word(program, args.is_empty())?;
    let name = program.rsplit('/').next().unwrap_or_default();
    if TAKES_SIGNS.contains(&name) {
        return Ok(());
    }
    let found = args.iter().enumerate().find(|(index, word)| {
        let follows_option =
            index.checked_sub(1).is_none_or(|before| args[before].starts_with('-'));
        let next = args.get(index + 1);
        let is_joined = is_list(word) && next.is_some_and(|next| is_known(next));
        let is_last = index + 2 == args.len();
        let is_target = matches!(word.as_str(), ">" | ">>" | "<") && is_last;
        (!follows_option && (is_joined || is_target)) || is_output(word)
    });
    match found {
        None => Ok(()),
        Some((_, sign)) => Err(format!(
            "no shell is run, so '{sign}' would be a plain argument of '{program}': put --shell before \
             the command, or write sh -c '…'"
        )),
    }
}

/// Refuses a COMMAND that is a whole command line in one word, with a placeholder. (Without a placeholder, the name
/// of the program is known before the first job, and a missing program is an error then.)
fn check_one_word(program: &str, is_alone: bool) -> Result<(), String> {
    let is_split = |c: char| c.is_whitespace();
    if !program.contains('{') || !program.contains(is_split) {
        return Ok(());
    }
    let first = program.split(is_split).next().unwrap_or_default();
    let is_path = first.contains('/') && check_program(OsStr::new(first)).is_err();
    if !((is_alone && !is_path) || is_known(first)) {
        return Ok(());
    }
    Err(format!(
        "no shell is run, so '{program}' would be the name of a program: make each word an argument \
         of its own, or put --shell before the command"
    ))
}

/// Whether a word is the name of a program, or a word of a shell.
fn is_known(word: &str) -> bool {
    procpool::engine::is_shell_word(word) || check_program(OsStr::new(word)).is_ok()
}

fn is_list(word: &str) -> bool {
    matches!(word, "|" | "||" | "&&" | ";" | "|&")
}

/// Whether a word without quotes redirects input or output in a shell.
fn is_redirection(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    word.starts_with('>') || word.starts_with('<') || word.starts_with("&>")
}

/// Whether a word is almost certainly a redirection: `2>/dev/null`, `2>&1`, `>/dev/null`.
fn is_output(word: &str) -> bool {
    let target = match word.as_bytes() {
        [b'0'..=b'2', b'>', ..] => word[2..].trim_start_matches('>'),
        [b'&', b'>', ..] => return true,
        _ => return word.starts_with(">/dev/") || word.starts_with(">&"),
    };
    target.starts_with(|c: char| "/&.{~$_".contains(c) || c.is_ascii_alphabetic())
}

/// A word of a command line, with its quotes.
#[derive(Debug, Default)]
struct Word {
    text: String,
    /// The number of characters at its start that are neither quoted nor escaped.
    bare: usize,
    /// Whether its last character is neither quoted nor escaped.
    ends_bare: bool,
}

impl Word {
    fn bare_beginning(&self) -> String {
        self.text.chars().take(self.bare).collect()
    }
}

/// Splits a command line at its blanks, and keeps the quotes.
fn split(line: &str) -> Vec<Word> {
    let mut words = vec![];
    let mut word = Word::default();
    let (mut quote, mut is_escaped) = (None, false);
    for c in line.chars() {
        if c.is_whitespace() && quote.is_none() && !is_escaped {
            words.push(std::mem::take(&mut word));
            continue;
        }
        let is_bare = quote.is_none() && !is_escaped && !matches!(c, '\'' | '"' | '\\');
        if is_bare && word.bare == word.text.chars().count() {
            word.bare += 1;
        }
        word.ends_bare = is_bare;
        word.text.push(c);
        match (is_escaped, quote, c) {
            (true, ..) => is_escaped = false,
            (false, Some('\'') | None, '\'') | (false, Some('"') | None, '"') => {
                quote = if quote.is_some() { None } else { Some(c) };
            }
            (false, None | Some('"'), '\\') => is_escaped = true,
            _ => {}
        }
    }
    words.push(word);
    words.retain(|word| !word.text.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_a_shell() {
        for (line, write) in [
            ("cd d && python3 w.py", "sh -c 'cd d && python3 w.py'"),
            ("./w 2>/dev/null", "sh -c 'exec ./w 2>/dev/null'"),
            ("./w 2>&1", "exec"),
            ("./w <in", "exec"),
            ("./w > log", "exec"),
            ("./a | ./b", "./a | ./b"),
            ("./a || ./b", "||"),
            ("export A=1; ./w", "export A=1; ./w"),
            ("while read x; do echo $x; done", "done"),
            ("(cd d; ./w)", "(cd d; ./w)"),
            ("./w $(cat args)", "$(cat args)"),
            ("./w `cat args`", "`cat args`"),
            ("./w &", "./w &"),
        ] {
            let error = check_worker(line).expect_err(line);
            assert!(error.starts_with("no shell is run"), "{line}: {error}");
            assert!(error.replace("'\\''", "'").contains(write), "{line}: {error}");
        }
        for line in [
            "",
            "sh -c 'cd d && ./w 2>/dev/null'",
            "sh -c \"a; b\"",
            "jq --unbuffered -c .a|.b",
            "'./my w' \"two  words\" $HOME*\\;",
            "sed -u s/a;/b/",
            "awk '{ print > \"x\" }'",
            "grep --line-buffered '>' \\>",
            "find . -exec x {} \\;",
            "python3 -c 'print(1);' x",
            "./w '(' \"`\" '&&' \\;",
        ] {
            assert_eq!(check_worker(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn variables_before_a_worker() {
        for (name, rest, is_variable) in [
            ("LANG", "C python3 w.py", true),
            ("A", "1 B=2 sh w", true),
            ("TMPDIR", "/tmp sh", true),
            ("DEBUG", "true sh", true),
            ("A", " sh", true),
            ("http_proxy", "x:1 sh", true),
            ("a", "./missing", false),
            ("A", "sh -c x", false),
            ("B", "/bin/sh", false),
        ] {
            assert_eq!(sets_variable(name, rest), is_variable, "{name}={rest}");
        }
    }

    #[test]
    fn commands_for_a_shell() {
        let check = |words: &[&str]| {
            check_command(&words.iter().map(OsString::from).collect::<Vec<OsString>>())
        };
        for words in [
            &["echo {} hi"][..],
            &["{} -v"],
            &["nosuch {} {.}"],
            &["cat {}", "x"],
            &["cat {} | wc"],
            &["cd {} && ls"],
            &["cat", "{}", "2>/dev/null"],
            &["cat", "{}", "2>{}.log"],
            &["cat", "2>&1"],
            &["cat", "{}", "&>", "x"],
            &["cat", "{}", "|", "wc"],
            &["cat", "{}", "&&", "rm", "{}"],
            &["cd", "{}", "&&", "ls"],
            &["cat", "{}", ">", "{.}.txt"],
            &["sort", "{}", ">>", "all"],
        ] {
            let error = check(words).expect_err(words[0]);
            assert!(error.contains("no shell is run") && error.contains("--shell"), "{error}");
        }
        for words in [
            &["cut", "-d", "|", "-f1", "{}"][..],
            &["tr", "|", " "],
            &["sort", "-t", "|", "cat"],
            &["grep", ">", "{}"],
            &["grep", "2>1", "{}"],
            &["find", "{}", "-exec", "rm", "{}", ";"],
            &["find", "{}", "-exec", "rm", "{}", ";", "-print"],
            &["ssh", "host", "cat", "{}", ">", "/dev/null"],
            &["expr", "{}", ">", "3"],
            &["sh", "-c", "cat {} 2>/dev/null | wc"],
            &["./my tool/{}"],
            &["{}", "-v"],
            &["awk", "$1>2", "{}"],
        ] {
            assert_eq!(check(words), Ok(()), "{words:?}");
        }
    }
}
