//! The framing `content-length`: headers as of HTTP, an empty line, then as many bytes as
//! `Content-Length` says.

use super::{Framing, Scan, Split, counted, insert};

/// Headers, one of them `Content-Length`, and the message.
pub static CONTENT_LENGTH: Framing = Framing { name: "content-length", seal, split };

/// Headers have no more bytes than this.
const LONGEST_HEAD: usize = 4 << 10;

fn seal(out: &mut Vec<u8>, start: usize) -> Result<(), String> {
    let head = format!("Content-Length: {}\r\n\r\n", out.len() - start);
    insert(out, start, head.as_bytes());
    Ok(())
}

/// So far from where a header should begin the next one is looked for.
const NEAR: usize = 1 << 10;

fn split(bytes: &[u8], scan: &mut Scan) -> Split {
    scan.skip_blanks(bytes);
    let begin = scan.blanks;
    match headers(&bytes[begin..]) {
        Split::Message { begin: from, end, next } => {
            Split::Message { begin: begin + from, end: begin + end, next: begin + next }
        }
        // A length that is too small ends a message before its end, and its rest stands here.
        Split::Broken(_) if is_behind(bytes, begin) => Split::Broken(
            "the message before it goes on here: its Content-Length is too small, as one is that \
             counts characters where it should count bytes",
        ),
        other => other,
    }
}

/// Whether a header begins a little further on.
fn is_behind(bytes: &[u8], begin: usize) -> bool {
    let near = &bytes[begin..bytes.len().min(begin + NEAR)];
    let name = b"Content-Length:";
    near.windows(name.len()).skip(1).any(|window| window.eq_ignore_ascii_case(name))
}

/// As [`split`], of bytes that begin with a header.
fn headers(bytes: &[u8]) -> Split {
    // `at` stands behind a newline that was found, or at the beginning: within the head.
    let (mut at, mut len) = (0, None);
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
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let Some(number) = number else {
                return Split::Broken("its Content-Length is no number");
            };
            len = Some(number);
        }
    }
    match head.len() == LONGEST_HEAD {
        true => Split::Broken("its headers have no end"),
        false => Split::More(0),
    }
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
