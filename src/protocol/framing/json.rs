//! The framing `json`: a stream of JSON values. Between them there may be white space, but nothing else.

use super::{BOM, Framing, Scan, Split};

/// A JSON value is a message.
pub static JSON: Framing = Framing { name: "json", seal, split };

fn seal(out: &mut Vec<u8>, _: usize) -> Result<(), String> {
    // A number has no end of its own: something must follow it.
    out.push(b'\n');
    Ok(())
}

fn split(bytes: &[u8], scan: &mut Scan) -> Split {
    scan.skip_blanks(bytes);
    let begin = scan.blanks;
    if BOM.starts_with(&bytes[begin..]) {
        return Split::More(0);
    }
    let Some(&first) = bytes.get(begin) else { return Split::More(0) };
    let end = match first {
        b'{' | b'[' | b'"' => end_of_structure(bytes, begin, scan),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => end_of_word(bytes, begin, scan),
        _ => return Split::Broken("no JSON value begins like this"),
    };
    match end {
        Some(end) => Split::Message { begin, end, next: end },
        None => Split::More(bytes.len() - begin),
    }
}

/// Where the string, array or object that begins at `begin` ends.
fn end_of_structure(bytes: &[u8], begin: usize, scan: &mut Scan) -> Option<usize> {
    let from = scan.seen.max(begin);
    for (index, &byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            _ if scan.is_escaped => scan.is_escaped = false,
            b'\\' if scan.in_string => scan.is_escaped = true,
            b'"' => scan.in_string = !scan.in_string,
            _ if scan.in_string => {}
            b'{' | b'[' => scan.depth += 1,
            b'}' | b']' => scan.depth = scan.depth.saturating_sub(1),
            _ => {}
        }
        if scan.depth == 0 && !scan.in_string {
            return Some(index + 1);
        }
    }
    scan.seen = bytes.len();
    None
}

/// Where the number or the word that begins at `begin` ends: before the first byte that can't be a part
/// of it.
fn end_of_word(bytes: &[u8], begin: usize, scan: &mut Scan) -> Option<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    let from = scan.seen.max(begin);
    scan.seen = bytes.len();
    bytes.iter().skip(from).position(|byte| !is_part(byte)).map(|len| from + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_one_after_the_other() {
        let text = br#" {"a":"}\""}[1,"]"]"x" true 12 "#;
        let mut at = 0;
        let mut values = Vec::new();
        while let Split::Message { begin, end, next } = split(&text[at..], &mut Scan::default()) {
            values.push(std::str::from_utf8(&text[at + begin..at + end]).expect("UTF-8"));
            at += next;
        }
        assert_eq!(values, [r#"{"a":"}\""}"#, r#"[1,"]"]"#, r#""x""#, "true", "12"]);
        let text = "\n\u{feff} {}".as_bytes();
        for len in 0..text.len() - 1 {
            assert!(matches!(split(&text[..len], &mut Scan::default()), Split::More(_)));
        }
        let whole = Split::Message { begin: 5, end: 7, next: 7 };
        assert_eq!(split(text, &mut Scan::default()), whole);
        assert!(matches!(split(b"hello", &mut Scan::default()), Split::Broken(_)));
    }
}
