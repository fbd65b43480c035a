//! JSON as text: puts it on one line, removes blanks, and words its errors.

use std::borrow::Cow;

use base64::Engine as _;
use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The error of a JSON text, without the place.
pub(crate) fn error_text(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// A value in JSON, as text that was found to be valid. It is kept as bytes, so that what is only passed on is
/// not looked at once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// No value.
    pub const NULL: Self = Self(b"null");

    /// A value that a parser found.
    pub fn of(json: &'a RawValue) -> Self {
        Self(json.get().as_bytes())
    }

    /// Bytes that are known to be a valid value: [`scan`](super::scan) found it, or they were copied from one.
    pub(crate) fn checked(json: &'a [u8]) -> Self {
        Self(json)
    }

    /// Its text.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its text.
    pub fn get(self) -> &'a str {
        // It is valid, so nothing goes wrong.
        std::str::from_utf8(self.0).unwrap_or("null")
    }

    /// A copy, for a caller who wants it so. A parser reads it once more.
    pub(crate) fn to_raw(self) -> Box<RawValue> {
        RawValue::from_string(self.get().to_owned()).unwrap_or_default()
    }
}

/// JSON without line breaks, so that it fits into a message of one line. It has line breaks only if its
/// line or message ended with another byte than a newline.
pub(crate) fn on_one_line(text: &str) -> Cow<'_, str> {
    match memchr::memchr2(b'\n', b'\r', text.as_bytes()) {
        None => Cow::Borrowed(text),
        // JSON has no line breaks inside strings.
        Some(_) => Cow::Owned(text.replace(['\n', '\r'], " ")),
    }
}

/// JSON without the blanks outside its strings.
pub(crate) fn compact(json: &str) -> Vec<u8> {
    let mut in_string = false;
    let mut escaped = false;
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

/// The fields of an object in their order.
pub(crate) struct ObjectFields<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for ObjectFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = ObjectFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(String, &RawValue)> = Vec::new();
                let mut places = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match places.get(&name) {
                        // It is there: no field is ever removed.
                        Some(&place) => fields[place] = (name, value),
                        None => {
                            places.insert(name.clone(), fields.len());
                            fields.push((name, value));
                        }
                    }
                }
                Ok(ObjectFields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Encodes bytes that are not UTF-8, for JSON.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
