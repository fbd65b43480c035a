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

/// Whether the text between braces is a placeholder that only GNU parallel has: `+/`, `%%.gz`, `##`
/// and so on. Texts of other programs are left alone: `%s`, `1..3`.
pub(super) fn is_foreign(inner: &[u8]) -> bool {
    let Ok(inner) = std::str::from_utf8(inner) else { return false };
    if inner == "##" || matches!(inner.strip_prefix('0'), Some(rest) if rest.ends_with(['#', '%']))
    {
        return true;
    }
    if let Some(rest) = inner.strip_prefix('+') {
        return !rest.is_empty() && rest.bytes().all(|byte| b"/.".contains(&byte));
    }
    let arg = inner.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = arg.trim_start_matches('/').strip_prefix("%%");
    rest.is_some_and(|rest| is_suffix(b"", rest.as_bytes()))
}

/// Whether `%` between these two texts removes an ending, and is no format such as `%.2f` or `%Y-%m`. If the name of
/// an arg is before it, any text is an ending.
pub(super) fn is_suffix(before: &[u8], suffix: &[u8]) -> bool {
    let is_plain = |&byte: &u8| !byte.is_ascii_whitespace() && !b"{}*\"'$%".contains(&byte);
    if suffix.is_empty() || !suffix.iter().all(is_plain) {
        return false;
    }
    let name = before.iter().take_while(|byte| !b"/.".contains(byte)).count();
    let (name, path) = before.split_at(name);
    let is_arg = name.iter().all(u8::is_ascii_digit) || is_name(name);
    let is_path = path.iter().all(|byte| b"/.".contains(byte));
    is_arg && is_path && (!before.is_empty() || (suffix != b"0" && !is_format(suffix)))
}

/// Whether a text after `%` is a format of printf or date.
fn is_format(text: &[u8]) -> bool {
    if text.starts_with(b".") && !text.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let rest = text.iter().skip_while(|byte| b"-+#0123456789.".contains(byte));
    let rest: Vec<u8> = rest.copied().collect();
    match rest.as_slice() {
        [letter] if text.len() == 1 => letter.is_ascii_alphabetic(),
        [letter] => b"sdiuoxXfFeEgGcaAp".contains(letter),
        [b'l' | b'h' | b'z' | b'j' | b'L', letter] => b"sdiuoxXfFeEgG".contains(letter),
        b"lld" | b"llu" | b"llx" => true,
        _ => false,
    }
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
            "+/",
            "+.",
            "+//",
            "+..",
            "##",
            "%%.gz",
            "%%.tar.gz",
            "1%%.gz",
            "/%%.gz",
            "0%",
            "0#",
            "00#",
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
