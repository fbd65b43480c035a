//! The framing `content-length`: headers like those of HTTP, an empty line, then as many bytes as
//! `Content-Length` says.

use super::{Framing, Scan, Split, counted, insert};

/// The framing of language servers.
pub static CONTENT_LENGTH: Framing = Framing { name: "content-length", seal, split };

/// The headers of a message have at most this many bytes.
const LONGEST_HEAD: usize = 4 << 10;

fn seal(out: &mut Vec<u8>, start: usize) -> Result<(), String> {
    let head = format!("Content-Length: {}\r\n\r\n", out.len() - start);
    insert(out, start, head.as_bytes());
    Ok(())
}

/// A header is looked for up to this many bytes after the place where it should begin.
const NEAR: usize = 1 << 10;

fn split(bytes: &[u8], scan: &mut Scan) -> Split {
    scan.skip_blanks(bytes);
    let begin = scan.blanks;
    match headers(&bytes[begin..]) {
        Split::Message { begin: from, end, next } => {
            Split::Message { begin: begin + from, end: begin + end, next: begin + next }
        }
        // If the length is too small, the rest of the message is here, before the next header.
        Split::Broken(_) if has_header_near(bytes, begin) => Split::Broken(
            "the message before it goes on here: its Content-Length is too small; perhaps it \
             counts characters instead of bytes",
        ),
        other => other,
    }
}

/// Whether a header begins a little further on.
fn has_header_near(bytes: &[u8], begin: usize) -> bool {
    let near = &bytes[begin..bytes.len().min(begin + NEAR)];
    let name = b"Content-Length:";
    near.windows(name.len()).skip(1).any(|window| window.eq_ignore_ascii_case(name))
}

/// Splits as [`split`] does. The bytes begin with a header.
fn headers(bytes: &[u8]) -> Split {
    // `at` is within the head: at its beginning, or after a newline.
    let mut at = 0;
    let mut len = None;
    let head = &bytes[..bytes.len().min(LONGEST_HEAD)];
    while let Some(end) = memchr::memchr(b'\n', &head[at..]) {
        let line = head[at..at + end].trim_ascii();
        at += end + 1;
        if line.is_empty() {
            return match len {
                Some(len) => counted(bytes, at, len, 0),
                None => Split::Broken("there is no Content-Length before it"),
            };
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Split::Broken("there is no header before it");
        };
        let name = &line[..colon];
        let value = line[colon + 1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let Some(number) = number else {
                return Split::Broken("its Content-Length is no number");
            };
            len = Some(number);
        }
    }
    if head.len() == LONGEST_HEAD {
        return Split::Broken("its headers have no end");
    }
    Split::More(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let split = |bytes: &[u8]| split(bytes, &mut Scan::default());
        let head = b"content-type: a; b=c\r\nCONTENT-LENGTH:2\r\n\r\n";
        let len = head.len();
        let whole = [&head[..], b"{}x"].concat();
        assert_eq!(split(&whole), Split::Message { begin: len, end: len + 2, next: len + 2 });
        assert_eq!(
            split(b"Content-Length: 1\n\na"),
            Split::Message { begin: 19, end: 20, next: 20 }
        );
        for garbage in [&b"hello\n"[..], b"A: b\r\n\r\n", b"Content-Length: x\r\n", b"{}\n"] {
            assert!(matches!(split(garbage), Split::Broken(_)), "{garbage:?}");
        }
        for blanks in [&b"\n"[..], b"\r\n \n\n", "\u{feff}\r\n".as_bytes()] {
            assert_eq!(split(blanks), Split::More(0), "{blanks:?}");
            let len = blanks.len() + 21;
            let whole = [blanks, b"Content-Length: 1\r\n\r\na"].concat();
            assert_eq!(split(&whole), Split::Message { begin: len, end: len + 1, next: len + 1 });
        }
        let Split::Broken(why) = split(b"\"}\nContent-Length: 1\r\n\r\na") else { panic!() };
        assert!(why.contains("counts characters"), "{why}");
        assert!(matches!(split(&[b'x'; LONGEST_HEAD]), Split::Broken(_)));
    }
}
