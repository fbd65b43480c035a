//! Substitutions in placeholders, as in sed: `s/REGEX/TEXT/` with the flags `g` and `i`.

use std::borrow::Cow;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::error::{CommandError, PlaceholderProblem};

/// The characters that may separate the parts.
const DELIMITERS: &[u8] = b"/|,#:!@~";

/// A substitution.
#[derive(Clone, Debug)]
pub(super) struct Substitution {
    /// As it is written.
    text: Vec<u8>,
    regex: Regex,
    replacement: Vec<ReplacementPiece>,
    /// All matches are replaced.
    is_global: bool,
}

/// A piece of the text that replaces a match.
#[derive(Clone, Debug)]
enum ReplacementPiece {
    Text(Vec<u8>),
    /// A group of the match; 0: all of it.
    Group(usize),
}

impl PartialEq for Substitution {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Substitution {}

/// The parts of a substitution as they are written.
struct WrittenParts<'a> {
    pattern: &'a [u8],
    replacement: &'a [u8],
    flags: &'a [u8],
}

impl Substitution {
    /// Finds the substitution that a text ends with, and where it begins.
    ///
    /// # Errors
    /// Its pattern is wrong, or a group is missing.
    pub(super) fn find(inner: &[u8]) -> Result<Option<(usize, Self)>, CommandError> {
        let Some(at) = begin(inner) else { return Ok(None) };
        let Some((parts, len)) = parts(&inner[at..]) else { return Ok(None) };
        if at + len != inner.len() {
            return Ok(None);
        }
        let wrong = |problem: String| {
            let spelled = [b"{", inner, b"}"].concat();
            CommandError::placeholder(&spelled, PlaceholderProblem::Pattern(problem))
        };
        let pattern = std::str::from_utf8(parts.pattern).map_err(|e| wrong(e.to_string()))?;
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(parts.flags.contains(&b'i'))
            .build()
            .map_err(|error| wrong(last_line(&error.to_string())))?;
        let replacement = pieces(&parts, regex.captures_len() - 1).map_err(wrong)?;
        let is_global = parts.flags.contains(&b'g');
        Ok(Some((at, Self { text: inner[at..].to_vec(), regex, replacement, is_global })))
    }

    pub(super) fn apply<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        let limit = usize::from(!self.is_global);
        self.regex.replacen(value, limit, |found: &Captures<'_>| {
            let mut text = Vec::new();
            for piece in &self.replacement {
                match piece {
                    ReplacementPiece::Text(bytes) => text.extend_from_slice(bytes),
                    ReplacementPiece::Group(number) => {
                        text.extend_from_slice(found.get(*number).map_or(b"", |it| it.as_bytes()));
                    }
                }
            }
            text
        })
    }
}

/// Where the `}` is that ends the placeholder at the beginning of this text, after its `{`, if the placeholder has
/// a substitution. Its pattern may have braces.
pub(super) fn end(text: &[u8]) -> Option<usize> {
    let at = begin(text)?;
    let (_, len) = parts(&text[at..])?;
    (text.get(at + len) == Some(&b'}')).then_some(at + len)
}

/// Where a substitution begins: after the name of an arg and the signs that cut a path.
fn begin(inner: &[u8]) -> Option<usize> {
    let count = |from: usize, is_it: fn(u8) -> bool| {
        inner[from..].iter().take_while(|&&byte| is_it(byte)).count()
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let digits = count(0, |byte| byte.is_ascii_digit());
    let name = count(0, is_name);
    let ops = digits + count(digits, |byte| b"/.".contains(&byte));
    if inner.get(ops) == Some(&b's') && inner.get(ops + 1).is_some_and(|it| DELIMITERS.contains(it))
    {
        return Some(ops);
    }
    // After a name, and for legibility after anything else, there is a blank.
    let ops = name + count(name, |byte| b"/.".contains(&byte));
    (inner.get(ops) == Some(&b' ') && inner.get(ops + 1) == Some(&b's')).then_some(ops + 1)
}

/// The parts of a substitution at the beginning of a text, and its length.
fn parts(text: &[u8]) -> Option<(WrittenParts<'_>, usize)> {
    let delimiter = *text.get(1).filter(|byte| DELIMITERS.contains(byte))?;
    let next = |from: usize| {
        let mut at = from;
        loop {
            match *text.get(at)? {
                b'\\' => at += 2,
                b'\n' => return None,
                byte if byte == delimiter => return Some(at),
                _ => at += 1,
            }
        }
    };
    let middle = next(2)?;
    let last = next(middle + 1)?;
    let flags = text[last + 1..].iter().take_while(|byte| b"gi".contains(byte)).count();
    let end = last + 1 + flags;
    let parts = WrittenParts {
        pattern: &text[2..middle],
        replacement: &text[middle + 1..last],
        flags: &text[last + 1..end],
    };
    (middle > 2).then_some((parts, end))
}

/// Reads the text that replaces a match: `&` and `\0` are the match, `\1` and `$1` are groups.
fn pieces(parts: &WrittenParts<'_>, groups: usize) -> Result<Vec<ReplacementPiece>, String> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut bytes = parts.replacement.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let next = bytes.peek().copied();
        let digit = next.filter(u8::is_ascii_digit).map(|digit| usize::from(digit - b'0'));
        let group = match (byte, digit) {
            (b'&', _) => Some(0),
            (b'\\', Some(number)) if number > groups => {
                return Err(format!("\\{number} is no group of the pattern, which has {groups}"));
            }
            (b'\\', Some(number)) => Some(number),
            (b'$', Some(number)) if (1..=groups).contains(&number) => Some(number),
            _ => None,
        };
        match (group, byte, next) {
            (Some(number), ..) => {
                if byte != b'&' {
                    bytes.next();
                }
                pieces.push(ReplacementPiece::Text(std::mem::take(&mut text)));
                pieces.push(ReplacementPiece::Group(number));
            }
            (None, b'\\', Some(escaped)) => {
                bytes.next();
                text.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    escaped => escaped,
                });
            }
            _ => text.push(byte),
        }
    }
    pieces.push(ReplacementPiece::Text(text));
    Ok(pieces)
}

/// The line of a message about a pattern that says what is wrong. The lines before it show the pattern.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
