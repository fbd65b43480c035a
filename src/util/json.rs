//! JSON as text: what can be done to it without reading it into values.

use std::borrow::Cow;

/// What is wrong with a JSON text, without where.
pub(crate) fn error_text(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// JSON without line breaks, so that it fits into a message of one line. Only lines that end with
/// another byte can have any.
pub(crate) fn on_one_line(text: &str) -> Cow<'_, str> {
    match memchr::memchr2(b'\n', b'\r', text.as_bytes()) {
        None => Cow::Borrowed(text),
        // Inside strings JSON has no line breaks.
        Some(_) => Cow::Owned(text.replace(['\n', '\r'], " ")),
    }
}

/// JSON without the blanks outside its strings.
pub(crate) fn compact(json: &str) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let mut text = Vec::with_capacity(json.len());
    for byte in json.bytes() {
        if in_string || !byte.is_ascii_whitespace() {
            text.push(byte);
        }
        if !std::mem::take(&mut escaped) {
            in_string ^= byte == b'"';
            escaped = in_string && byte == b'\\';
        }
    }
    text
}
