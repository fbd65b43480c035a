//! The framing `size-line`: a line whose last word is a number is followed by that many bytes and a newline,
//! as with `git cat-file --batch`. Any other line is a message by itself. Requests are lines.

use super::{Framing, Scan, Split, line, until};

/// A line that ends with a size, and that many bytes.
pub static SIZE_LINE: Framing = Framing { name: "size-line", seal: line::seal, split };

fn split(bytes: &[u8], scan: &mut Scan) -> Split {
    let Split::Message { end, next, .. } = until(bytes, scan, b'\n') else {
        return Split::More(bytes.len());
    };
    let Some(size) = size(&bytes[..end]) else {
        return Split::Message { begin: 0, end, next };
    };
    let Some(after) = next.checked_add(size) else {
        return Split::Broken("its size is too large");
    };
    // The line is found again when more has come.
    scan.seen = end;
    match bytes.get(after) {
        Some(b'\n') => Split::Message { begin: 0, end: after, next: after + 1 },
        Some(_) => Split::Broken("no newline follows the bytes that its first line announces"),
        None => Split::More(after),
    }
}

/// Whether a line and what came after it look like a message of this framing.
pub(in crate::protocol) fn fits(line: &[u8], after: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let len = size(line).and_then(|size| size.checked_add(1));
    line.contains(&b' ') && len == Some(after.len()) && after.ends_with(b"\n")
}

/// The number that is the last word of the line.
fn size(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = &line[memchr::memrchr(b' ', line).map_or(0, |at| at + 1)..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A number that is too large is an error.
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_and_its_bytes() {
        let whole = b"oid blob 6\nhel\nlo\nx missing\n";
        let message = Split::Message { begin: 0, end: 17, next: 18 };
        for len in 0..18 {
            assert!(matches!(split(&whole[..len], &mut Scan::default()), Split::More(_)), "{len}");
        }
        let mut scan = Scan::default();
        for len in 0..18 {
            assert!(matches!(split(&whole[..len], &mut scan), Split::More(_)), "{len}");
        }
        assert_eq!(split(whole, &mut scan), message);
        assert_eq!(
            split(&whole[18..], &mut Scan::default()),
            Split::Message { begin: 0, end: 9, next: 10 }
        );
        for (bytes, expected) in [
            (&b"2\nab\n"[..], Split::Message { begin: 0, end: 4, next: 5 }),
            (b"12a\n", Split::Message { begin: 0, end: 3, next: 4 }),
            (b"a 0\n\n", Split::Message { begin: 0, end: 4, next: 5 }),
            (b"a -1\n", Split::Message { begin: 0, end: 4, next: 5 }),
            (b"a 99999999999999999999999\n", Split::Broken("its size is too large")),
        ] {
            assert_eq!(split(bytes, &mut Scan::default()), expected, "{bytes:?}");
        }
        assert!(matches!(split(b"a 1\nxy", &mut Scan::default()), Split::Broken(_)));
        assert!(fits(b"oid blob 6\n", b"hel\nlo\n") && !fits(b"6\n", b"hel\nlo\n"));
        assert!(!fits(b"oid blob 6\n", b"hel\nlo!\n") && !fits(b"oid\n", b"\n"));
    }
}
