//! The label of a job: what it runs, as a command line or as a call, on one line that is fit for a message.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::commands::Commands;
use super::line::{Command, command_line};
use super::{Args, quote};
use crate::job::Job;
use crate::util::text::{printable, printable_bytes};

/// More bytes than this are not looked at as a whole: the middle is left out first.
const ENOUGH: usize = 64 << 10;

/// A file name has up to this many bytes, and is never cut.
const FILE_NAME: usize = 255;

/// How long a label may be, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelSize {
    /// The most of an argument. Of a longer one the middle is left out; a file name at its end stays.
    pub arg: usize,
    /// The most of all. Of a longer command line, the program and the args of the job stay.
    pub whole: usize,
}

impl LabelSize {
    /// Room for nearly everything: only a part that nobody would read is cut.
    pub const LARGE: Self = Self { arg: 4_000, whole: 8_000 };

    /// The room on a terminal with this number of columns: three rows.
    pub fn of_terminal(columns: usize) -> Self {
        Self { arg: (columns * 2 / 3).clamp(40, 120), whole: (3 * columns).clamp(120, 600) }
    }
}

/// The label of a job. `commands` says how a job without a worker is run. Empty: its line was empty, or was
/// not kept.
pub fn label(commands: Option<&Commands>, job: &Job, slot: usize, size: LabelSize) -> String {
    let is_unread = job.cmd().is_empty() && job.args().is_empty() && job.arg_words().is_none();
    let label = match (commands, job.as_message()) {
        (_, Some(message)) => cut_path(&readable(message), size.whole),
        // The line was no job.
        _ if is_unread => cut(&readable(job.line().unwrap_or_default()), size.whole),
        (Some(commands), None) => command(commands, job, slot, size),
        (None, None) => call(job, size),
    };
    if label.chars().count() > size.whole + FILE_NAME { cut(&label, size.whole) } else { label }
}

/// The command line of a job. If it is too long, the program and the args of the job.
fn command(commands: &Commands, job: &Job, slot: usize, size: LabelSize) -> String {
    let args = commands.args(job).unwrap_or_default();
    let short = |word: &[u8]| cut_path(&readable(word), size.arg);
    let Ok((command, _)) = commands.of(job, slot) else {
        if job.arg_words().is_none() {
            return cut(&unmade(job), size.whole);
        }
        let words: Vec<String> = args.all().map(|word| quoted(&short(word))).collect();
        return cut_list(&words, " ", size.whole);
    };
    let words = |words: &[std::ffi::OsString]| {
        use std::os::unix::ffi::OsStrExt;
        words.iter().map(|word| short(word.as_bytes()).into()).collect()
    };
    let input =
        if commands.stdin && job.block().is_none() { input(&args, size) } else { String::new() };
    let line = command_line(&Command { argv: words(&command.argv), ..command.clone() });
    let whole = format!("{input}{}", readable(&line));
    if whole.chars().count() <= size.whole {
        return whole;
    }
    let own: Vec<String> = args.all().map(|word| quoted(&short(word))).collect();
    let program = words(&command.argv[..1.min(command.argv.len())]);
    let program = readable(&command_line(&Command { argv: program, ..Command::default() }));
    let room = size.whole.saturating_sub(program.chars().count() + 3);
    format!("{program} … {}", cut_list(&own, " ", room))
}

/// A job of which no command can be made, in the text form of a job line. If all jobs have the same command, its args.
fn unmade(job: &Job) -> String {
    let (cmd, args) = (readable(job.cmd()), readable(job.args()));
    match serde_json::from_str::<String>(&cmd) {
        Ok(name) if !name.is_empty() => format!("{} {args}", printable(&name)),
        _ => args,
    }
}

/// The command that writes the args to the stdin of a job.
fn input(args: &Args<'_>, size: LabelSize) -> String {
    let words: Vec<String> =
        args.all().map(|word| quoted(&cut_path(&readable(word), size.arg))).collect();
    format!("printf '%s\\n' {} | ", cut_list(&words, " ", size.whole / 2))
}

/// A call of a function, as most languages write it. The arg of an expression is without quotes.
fn call(job: &Job, size: LabelSize) -> String {
    let cmd = String::from_utf8_lossy(job.cmd());
    let cmd = serde_json::from_str::<String>(&cmd).unwrap_or_else(|_| cmd.into_owned());
    let cmd = cut(&printable(&cmd), size.arg);
    let json = clipped(job.args());
    let json = String::from_utf8_lossy(&json);
    let inner = json.strip_prefix('[').and_then(|json| json.strip_suffix(']'));
    if cmd.is_empty()
        && let Some(text) = inner.and_then(|inner| serde_json::from_str::<String>(inner).ok())
        && !text.is_empty()
        && text == text.trim()
    {
        return cut_path(&printable(&text), size.whole);
    }
    let shown = inner.unwrap_or(&json);
    let args = if shown.chars().count() <= size.arg {
        printable(shown)
    } else {
        cut_list(&elements(&json, size), ", ", size.whole.saturating_sub(cmd.len() + 2))
    };
    if cmd.is_empty() { args } else { format!("{cmd}({args})") }
}

/// The elements of an array in JSON, or the JSON itself, each cut if it is long.
fn elements(json: &str, size: LabelSize) -> Vec<String> {
    match serde_json::from_str::<Vec<&RawValue>>(json) {
        Ok(values) => {
            values.into_iter().map(|value| cut_path(&printable(value.get()), size.arg)).collect()
        }
        Err(_) => vec![cut(&printable(json), size.whole)],
    }
}

/// Joins texts. If that is too long, texts in the middle are left out.
fn cut_list(texts: &[String], between: &str, most: usize) -> String {
    let len = |text: &String| text.chars().count() + between.chars().count();
    if texts.iter().map(len).sum::<usize>() <= most + between.chars().count() || texts.len() < 3 {
        return texts.join(between);
    }
    let mut room = most.saturating_sub(1 + between.len());
    let (mut first, mut last) = (0, texts.len());
    while first < last {
        let from_front = first <= texts.len() - last;
        let next = if from_front { &texts[first] } else { &texts[last - 1] };
        // The first and the last text always stay.
        if len(next) > room && first > 0 && last < texts.len() {
            break;
        }
        room = room.saturating_sub(len(next));
        if from_front { first += 1 } else { last -= 1 }
    }
    let mut parts: Vec<&str> = texts[..first].iter().map(String::as_str).collect();
    if first < last {
        parts.push("…");
    }
    parts.extend(texts[last..].iter().map(String::as_str));
    parts.join(between)
}

/// As [`cut`]. A file name at the end stays whole.
pub fn cut_path(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let name = text.rfind('/').map(|at| &text[at..]);
    let Some(name) = name.filter(|name| name.len() > 1 && name.len() <= FILE_NAME + 1) else {
        return cut(text, most);
    };
    let room = most.saturating_sub(name.chars().count() + 1);
    let begin: String = text.chars().take(room.max(1)).collect();
    format!("{begin}…{name}")
}

/// Shortens a text to `most` characters. The middle is left out.
pub fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let first = most * 2 / 3;
    let last = most.saturating_sub(first + 1);
    let begin: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(count - last).collect();
    format!("{begin}…{end}")
}

/// A word that was made printable, as it is typed into a shell.
fn quoted(word: &str) -> String {
    String::from_utf8_lossy(&quote(word.as_bytes())).into_owned()
}

/// Bytes as text that can't act on a terminal.
fn readable(bytes: &[u8]) -> String {
    printable_bytes(&clipped(bytes))
}

/// Bytes without their middle, if they are many.
fn clipped(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.len() <= ENOUGH {
        return Cow::Borrowed(bytes);
    }
    let half = ENOUGH / 2;
    Cow::Owned([&bytes[..half], "…".as_bytes(), &bytes[bytes.len() - half..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: LabelSize = LabelSize { arg: 20, whole: 60 };

    fn of(cmd: &str, args: &str, size: LabelSize) -> String {
        label(None, &Job::new(1, cmd, args, ""), 1, size)
    }

    #[test]
    fn calls_look_like_calls() {
        let of = |cmd, args| of(cmd, args, LabelSize::LARGE);
        assert_eq!(of(r#""resize""#, r#"["a.png",{"w":1}]"#), r#"resize("a.png",{"w":1})"#);
        assert_eq!(of(r#""total""#, r#"{"price":5}"#), r#"total({"price":5})"#);
        assert_eq!(of(r#""ping""#, "[]"), "ping()");
        assert_eq!(of(r#""""#, r#"["a b"]"#), "a b");
        assert_eq!(of(r#""""#, r#"[""]"#), r#""""#);
        assert_eq!(of(r#""""#, r#"["a "]"#), r#""a ""#);
        assert_eq!(of(r#""""#, r#"["a","b"]"#), r#""a","b""#);
        assert_eq!(of(r#""""#, "[\"a\\u001b[2J\"]"), "a\\u{1b}[2J");
    }

    #[test]
    fn the_middle_of_long_texts_is_left_out() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcd…g");
        let long = format!("/{}/p77.jpg", "x".repeat(300));
        assert_eq!(cut_path(&long, 20), "/xxxxxxxxxx…/p77.jpg");
        let args = format!(r#"["{long}", 1]"#);
        assert_eq!(of(r#""f""#, &args, SMALL), r#"f("/xxxxxxxx…/p77.jpg", 1)"#);
        let words: Vec<String> = (0..50).map(|n| format!("w{n}")).collect();
        assert_eq!(cut_list(&words, " ", 20), "w0 w1 w2 … w48 w49");
        assert_eq!(cut_list(&words[..3], " ", 2), "w0 … w2");
    }

    #[test]
    fn a_message_of_many_bytes_is_cut_without_being_read() {
        let job = Job::message(1, &[b'x'; 1 << 20]);
        assert_eq!(label(None, &job, 1, SMALL).chars().count(), 60);
    }
}
