//! Placeholders of GNU parallel that procpool does not have. They are errors: as plain text they would
//! run commands that nobody meant.

use super::error::{CommandError, PlaceholderProblem};

/// Refuses GNU parallel's Perl expressions, `{= … =}`. They may have braces of their own.
pub(super) fn no_expression(text: &[u8]) -> Result<(), CommandError> {
    let begin = memchr::memmem::find(text, b"{=");
    let is_shells = |at: usize| at > 0 && text[at - 1] == b'$';
    let Some(begin) = begin.filter(|&at| !is_shells(at)) else { return Ok(()) };
    match memchr::memmem::find(&text[begin + 2..], b"=}") {
        Some(length) => Err(unknown(&text[begin..begin + length + 4])),
        None => Ok(()),
    }
}

/// The error for a placeholder that only GNU parallel has.
pub(super) fn unknown(spelled: &[u8]) -> CommandError {
    CommandError::placeholder(spelled, PlaceholderProblem::Foreign)
}

/// Whether the text between braces is a placeholder that only GNU parallel has: `..`, `+/`, `%.gz`, `##`
/// and so on. Texts of other programs are left alone: `%s`, `1..3`, `s/a/b/`.
pub(super) fn is_foreign(inner: &[u8]) -> bool {
    let Ok(inner) = std::str::from_utf8(inner) else { return false };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if inner == "##" || matches!(inner.strip_prefix('0'), Some(rest) if rest.ends_with(['#', '%']))
    {
        return true;
    }
    if let Some(rest) = inner.strip_prefix('+') {
        return !rest.is_empty() && rest.bytes().all(|byte| b"/.".contains(&byte));
    }
    let arg = inner.trim_start_matches(|c: char| c.is_ascii_digit());
    if let Some(rest) = arg.trim_start_matches('/').strip_prefix('%') {
        return is_suffix(rest.trim_start_matches('%')) || rest == "0";
    }
    let stem = inner.strip_suffix("..").map(|stem| stem.trim_end_matches(['/', '.']));
    stem.is_some_and(|stem| stem.is_empty() || is_digits(stem) || is_name(stem.as_bytes()))
}

/// Whether a text is the end of a file's name, and not a format such as `.2f`.
fn is_suffix(text: &str) -> bool {
    let has_end =
        text.len() > 1 && !text.contains(|c: char| c.is_whitespace() || "{}*\"'$".contains(c));
    let digits =
        text.strip_prefix('.').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let is_format = digits.is_some_and(|rest| {
        rest.len() + 1 < text.len() && rest.len() == 1 && "sdiuoxXfFeEgGcaA".contains(rest)
    });
    has_end && text.starts_with(['.', '_']) && !is_format
}

/// Whether the text between braces may be the name of a column.
pub(super) fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.first().is_some_and(|&first| is_letter(first))
        && name.iter().all(|&byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_foreign() {
        for inner in [
            "..", "...", "/..", "/...", "1..", "name..", "+/", "+.", "+//", "+..", "##", "%.gz",
            "%.tar.gz", "%%.gz", "%_old", "2%.gz", "/%.gz", "%0", "0%", "0#", "00#", "%.7z",
            "%.3gp",
        ] {
            assert!(is_foreign(inner.as_bytes()), "{inner}");
        }
        for inner in [
            "",
            "#",
            "%",
            ".",
            "/",
            "//",
            "/.",
            "1",
            "1.",
            "name",
            "-1",
            "1..3",
            "a..z",
            "1,2",
            ",",
            "%s",
            "%d",
            "%.2f",
            "%.10s",
            "%.*f",
            "%-5s",
            "s/a/b/",
            "print $1",
            ":.2f",
            "%if x%",
            "% if x %",
            "+",
            "+1",
            "# x",
            "#each",
            ".Name",
            "\u{e4}..x",
        ] {
            assert!(!is_foreign(inner.as_bytes()), "{inner}");
        }
        assert!(!is_foreign(b"\xff.."));
    }
}
