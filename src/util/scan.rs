//! Reads JSON objects of the usual shape several times as fast as a parser does. Everything unusual or wrong is left to
//! the parser, which decides what is valid and makes the error messages.

/// Deeper values are left to the parser.
const MOST_NESTED: u32 = 64;

/// Goes through the bytes of an object, from token to token. Blanks before a token are skipped. A line break
/// is no blank here: it is left to the parser.
#[derive(Debug)]
pub(crate) struct ObjectScanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ObjectScanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Goes on after the first `at` bytes, which are the beginning of an object.
    pub(crate) fn after(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Takes a token that is next.
    #[inline]
    pub(crate) fn takes<const N: usize>(&mut self, token: &[u8; N]) -> bool {
        // Most programs write no blanks.
        let mut is_next = self.bytes[self.at..].first_chunk() == Some(token);
        if !is_next {
            self.at = blanks(self.bytes, self.at);
            is_next = self.bytes[self.at..].first_chunk() == Some(token);
        }
        self.at += if is_next { N } else { 0 };
        is_next
    }

    /// Takes a text that is next.
    #[inline]
    pub(crate) fn takes_text(&mut self, text: &[u8]) -> bool {
        self.at = blanks(self.bytes, self.at);
        let is_next = self.bytes[self.at..].starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Takes a colon and the value after it. `None`: they are not next.
    #[inline]
    pub(crate) fn member(&mut self) -> Option<&'a [u8]> {
        if !self.takes(b":") {
            return None;
        }
        self.value()
    }

    /// Takes a value. `None`: none is next.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        let begin = blanks(self.bytes, self.at);
        self.at = value_end(self.bytes, begin, 0)?;
        Some(&self.bytes[begin..self.at])
    }

    /// Takes the brace that ends the object. Returns where the line ends: at the byte `end`, which is next or after blanks.
    /// It is not checked whether the line is UTF-8.
    #[inline]
    pub(crate) fn line_end(&mut self, end: u8) -> Option<usize> {
        if !self.takes(b"}") {
            return None;
        }
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                byte if byte == end => return Some(self.at),
                b' ' | b'\t' | b'\r' => self.at += 1,
                _ => break,
            }
        }
        None
    }

    /// Takes the brace that ends the object. Returns whether all of the bytes were a valid object then, with
    /// blanks around it and perhaps a line break after it.
    #[inline]
    pub(crate) fn ends(&mut self) -> bool {
        self.takes(b"}") && self.bytes[self.at..].trim_ascii().is_empty() && is_utf8(self.bytes)
    }
}

/// Whether these bytes are UTF-8. Most are ASCII.
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// Reads a whole number that is not negative. `None`: it is none, or may be too large.
pub(crate) fn whole_number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() >= 20 {
        return None;
    }
    bytes.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

/// Whether bytes with quotes around them are a string in JSON that means just these bytes.
pub(crate) fn is_string_text(bytes: &[u8]) -> bool {
    special(bytes, 0).is_none() && is_utf8(bytes)
}

/// The place of the first byte from `at` on that is no blank. A line break is left to the parser.
fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

fn expect(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (bytes.get(at) == Some(&byte)).then_some(at + 1)
}

/// The end of the value that begins at `at`.
fn value_end(bytes: &[u8], at: usize, nested: u32) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at + 1),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b'[' => list(bytes, at + 1, nested + 1),
        b'{' => object(bytes, at + 1, nested + 1),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => None,
    }
}

fn word<const N: usize>(bytes: &[u8], at: usize, word: &[u8; N]) -> Option<usize> {
    (bytes[at..].first_chunk() == Some(word)).then_some(at + N)
}

fn list(bytes: &[u8], at: usize, nested: u32) -> Option<usize> {
    let mut at = blanks(bytes, at);
    if nested > MOST_NESTED {
        return None;
    }
    if bytes.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    loop {
        at = blanks(bytes, value_end(bytes, at, nested)?);
        match bytes.get(at)? {
            b',' => at = blanks(bytes, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn object(bytes: &[u8], at: usize, nested: u32) -> Option<usize> {
    let mut at = blanks(bytes, at);
    if nested > MOST_NESTED {
        return None;
    }
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        let key_end = string(bytes, expect(bytes, at, b'"')?)?;
        let value = blanks(bytes, expect(bytes, blanks(bytes, key_end), b':')?);
        at = blanks(bytes, value_end(bytes, value, nested)?);
        match bytes.get(at)? {
            b',' => at = blanks(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let at = if bytes[at] == b'-' { at + 1 } else { at };
    let mut end = digits(bytes, at)?;
    if bytes[at] == b'0' && end > at + 1 {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(bytes, end + 1 + usize::from(sign))?;
    }
    Some(end)
}

/// The end of the digits at `at`, of which there must be one.
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while let Some(word) = bytes.get(end..).and_then(<[u8]>::first_chunk::<8>) {
        match other_than_digits(u64::from_le_bytes(*word)) {
            0 => end += 8,
            found => {
                return Some(end + found.trailing_zeros() as usize / 8).filter(|end| *end > at);
            }
        }
    }
    while matches!(bytes.get(end), Some(b'0'..=b'9')) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// Some bits of each byte that is no digit, as far as the lowest of them: a higher one may be wrong.
fn other_than_digits(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0xf0 * ONES;
    // The digits are 0x30 to 0x39.
    ((word & HIGH) ^ (0x30 * ONES)) | ((word.wrapping_add(0x06 * ONES) & HIGH) ^ (0x30 * ONES))
}

/// The place after the quote that ends the string whose text begins at `at`.
fn string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = special(bytes, at)?;
        match bytes[at] {
            b'"' => return Some(at + 1),
            b'\\' => at = escape(bytes, at + 1)?,
            // A control character must be escaped.
            _ => return None,
        }
    }
}

/// The place after the escape whose backslash is before `at`.
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = bytes.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}

/// The place of the first quote, backslash or control character from `at` on.
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    // Most texts are short. Long ones go by blocks, which the compiler makes wide instructions of.
    const BLOCK: usize = 64;
    for nth in 0.. {
        let Some(word) = bytes[at..].first_chunk::<8>() else { break };
        let found = special_bits(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
        if nth == 4 {
            while bytes[at..].first_chunk::<BLOCK>().is_some_and(|block| !has_special(block)) {
                at += BLOCK;
            }
        }
    }
    let found = bytes[at..].iter().position(|&byte| is_special(byte))?;
    Some(at + found)
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn has_special(block: &[u8; 64]) -> bool {
    block.iter().fold(false, |found, &byte| found | is_special(byte))
}

/// The highest bit of each special byte, as far as the lowest of them: a higher one may be wrong.
fn special_bits(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * ONES;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    let quote = is_zero(word ^ (u64::from(b'"') * ONES));
    let backslash = is_zero(word ^ (u64::from(b'\\') * ONES));
    (control | quote | backslash) & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::nearly::nearly;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// The value at the beginning of a text.
    fn value(text: &str) -> Option<&str> {
        value_end(text.as_bytes(), 0, 0).map(|end| &text[..end])
    }

    /// What is found is what a parser finds.
    fn check(text: &str) {
        let Some(found) = value(text) else { return };
        let parsed = serde_json::from_str::<&RawValue>(found);
        let parsed = parsed.unwrap_or_else(|error| panic!("{text:?}: {found:?}: {error}"));
        assert_eq!(parsed.get(), found, "{text:?}");
    }

    #[test]
    fn usual_values() {
        for text in [
            "0",
            "-1",
            "-0.5e+3",
            "12E3",
            "true",
            "false",
            "null",
            r#""""#,
            r#""a b""#,
            r#""\"\\\u00e9é\n""#,
            "[]",
            "[ ]",
            r#"[1, "a",[true ,{}] ]"#,
            "{}",
            r#"{"a" : {"b":[null]} , "c":-1}"#,
        ] {
            assert_eq!(value(text), Some(text));
            assert_eq!(value(&format!("{text}}}")), Some(text));
            check(text);
        }
    }

    #[test]
    fn what_is_no_value_is_not_found() {
        for text in [
            "",
            "a",
            "01",
            "1.",
            "-",
            "1e",
            "+1",
            ".5",
            "tru",
            "\"",
            "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\",
            "[",
            "[1,]",
            "[1 2]",
            "{",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[\n1]",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
        assert_eq!(value(&"[".repeat(100_000)), None);
    }

    #[test]
    fn an_object_from_token_to_token() {
        let read = |text: &'static str| {
            let mut scanner = ObjectScanner::new(text.as_bytes());
            let value = (scanner.takes(b"{") && scanner.takes(b"\"a\"")).then(|| scanner.member());
            value.flatten().filter(|_| scanner.ends())
        };
        for text in ["{\"a\":1}", " { \"a\" : 1 } \r", "{\"a\":1}\n"] {
            assert_eq!(read(text), Some(&b"1"[..]), "{text}");
        }
        assert_eq!(read("{\"a\":\"é\"}"), Some("\"é\"".as_bytes()));
        for text in
            ["", "{", "{\"a\"", "{\"a\":1", "{\"a\":1}}", "{\"a\":1,}", "{\"b\":1}", "{\n\"a\":1}"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(whole_number(b"0"), Some(0));
        assert_eq!(whole_number(b"9999999999999999999"), Some(9_999_999_999_999_999_999));
        for text in ["", "-1", "1.0", "1e2", "18446744073709551616", "\u{661}"] {
            assert_eq!(whole_number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_is() {
        for special_byte in [b'"', b'\\', 0, 0x1f] {
            for before in 0..200 {
                for other in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![other; 210];
                    assert_eq!(special(&bytes, 0), None);
                    bytes[before] = special_byte;
                    assert_eq!(special(&bytes, 0), Some(before), "{other} {special_byte}");
                }
            }
        }
    }

    #[test]
    fn digits_end_at_any_other_byte() {
        for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for before in 0..20 {
                for after in [b'0', b'9', other] {
                    let mut bytes = vec![b'0' + before as u8 % 10; before];
                    bytes.extend([other, after, after, after, after, after, after, after]);
                    let expected = (before > 0).then_some(before);
                    assert_eq!(digits(&bytes, 0), expected, "{other}");
                    assert_eq!(digits(&bytes[..=before], 0), expected, "{other}");
                }
            }
        }
        assert_eq!(digits(b"0123456789", 3), Some(10));
        assert_eq!(digits(b"0123456789", 10), None);
        assert_eq!(digits(b"0123456789", 11), None);
    }

    /// Pieces of JSON.
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"cmd\":",
        "1",
        "-",
        "0",
        ".5",
        "e3",
        "E-1",
        "true",
        "null",
        " ",
        "\t",
        "\n",
        "\\n",
        "\\",
        "\\u0041",
        "é",
        "\u{1}",
        "\"b\\\"c\"",
        "[1,2]",
        "{\"k\":1}",
    ];

    proptest! {
        #[test]
        fn what_is_found_is_what_a_parser_finds(text in nearly(PIECES, 0..14)) {
            check(&text);
            check(&format!("[{text}]"));
            check(&format!("{{\"a\":{text}}}"));
        }

        #[test]
        fn a_changed_byte(at in 0_usize..50, byte in 0_u8..128) {
            let text = r#"{"args": ["a.png", {"w": 100, "x": [1.5e2, null]}]}"#;
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = byte;
            check(&String::from_utf8(bytes).expect("ASCII"));
        }
    }
}
