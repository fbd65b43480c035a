//! Makes text from jobs and workers safe to show to people.

/// Makes text from a job or a worker safe for a message on a terminal. Escapes characters that could move the
/// cursor, break the line, or change the order of the text.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown
}

/// As [`printable`], of bytes that need not be UTF-8: each wrong byte becomes `\xff` or the like.
pub fn printable_bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// Whether a character acts on the text around it: control characters, also those from U+0080 on (a
/// terminal takes U+009B for an escape sequence), line and paragraph separators, and marks that change
/// the direction of text.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// The first of some bytes for an error message, escaped and in quotes.
pub(crate) fn quote(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MOST)]);
    let shown = printable(&text.chars().take(MOST).collect::<String>());
    let more = if text.chars().count() > MOST || bytes.len() > 4 * MOST { "…" } else { "" };
    format!("'{shown}'{more}")
}

/// A number of bytes for people, such as `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut number = bytes as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1023.95 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    let text = format!("{number:.1}");
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown = [1, 1024, 1_600, 200 << 20, (1 << 30) - 1, 3 << 30, 5 << 40].map(size);
        let expected = ["1 bytes", "1 KiB", "1.6 KiB", "200 MiB", "1 GiB", "3 GiB", "5120 GiB"];
        assert_eq!(shown, expected);
    }
}
