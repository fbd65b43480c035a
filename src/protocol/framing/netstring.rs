//! The framing `netstring`: length, colon, message, comma, as in `5:hello,`.

use super::{Framing, Scan, Split, counted, insert};

/// The framing of netstrings.
pub static NETSTRING: Framing = Framing { name: "netstring", seal, split };

/// A length has at most this many digits.
const MOST_DIGITS: usize = 18;

fn seal(out: &mut Vec<u8>, start: usize) -> Result<(), String> {
    let head = format!("{}:", out.len() - start);
    insert(out, start, head.as_bytes());
    out.push(b',');
    Ok(())
}

fn split(bytes: &[u8], _: &mut Scan) -> Split {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse().ok());
    match (bytes.get(digits), number) {
        _ if digits > MOST_DIGITS => Split::Broken("its length is too large"),
        (None, _) => Split::More(0),
        (Some(b':'), Some(len)) => match counted(bytes, digits + 1, len, 1) {
            Split::Message { end, .. } if bytes.get(end) != Some(&b',') => {
                Split::Broken("a netstring ends with a comma")
            }
            split => split,
        },
        (Some(_), _) => Split::Broken("a netstring begins with its length and a colon"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_it_is_specified() {
        let mut out = b"hello world!".to_vec();
        seal(&mut out, 0).expect("a message");
        assert_eq!(out, b"12:hello world!,");
        let split = |bytes: &[u8]| split(bytes, &mut Scan::default());
        assert_eq!(split(b"0:,"), Split::Message { begin: 2, end: 2, next: 3 });
        for garbage in
            [&b"hello"[..], b":,", b"5:hello;", b"-1:,", b"1 :a,", b"12345678901234567890"]
        {
            assert!(matches!(split(garbage), Split::Broken(_)), "{garbage:?}");
        }
    }
}
