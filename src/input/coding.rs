//! How the bytes of a message are written in a line: unchanged, or in JSON or base64, which can hold line breaks and
//! any bytes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

use super::job_lines::{Invalid, error_column, utf8};
use crate::util::json::on_one_line;
use crate::util::setting::Setting;

/// How the bytes of a message are written in a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// The line is the message.
    #[default]
    Plain,
    /// A JSON string is the text of the message. Any other value is sent as JSON. A blank line is skipped.
    Json,
    /// Base64.
    Base64,
}

/// Base64 with or without the characters that fill it up.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Coding {
    /// The message of a line; `None`: the line is skipped.
    ///
    /// # Errors
    /// The line is not written in this coding.
    pub(super) fn decode(self, line: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Invalid> {
        match self {
            Self::Plain => Ok(Some(Cow::Borrowed(line))),
            Self::Json if line.trim_ascii().is_empty() => Ok(None),
            Self::Json => json(utf8(line)?).map(Some),
            Self::Base64 => base64(line).map(Some),
        }
    }
}

fn json(line: &str) -> Result<Cow<'_, [u8]>, Invalid> {
    if let Ok(text) = serde_json::from_str::<String>(line) {
        return Ok(Cow::Owned(text.into_bytes()));
    }
    let value = serde_json::from_str::<&RawValue>(line).and_then(|value| {
        // A string with half a surrogate pair is JSON, but no text.
        if value.get().starts_with('"') {
            serde_json::from_str::<String>(line)?;
        }
        Ok(value)
    });
    match value.map(|value| on_one_line(value.get())) {
        Ok(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        Ok(Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
        Err(error) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            let message = format!("it is not JSON ({what}), which {} asks for", Setting::InputJson);
            Err(Invalid::new(error_column(line, &error), message))
        }
    }
}

fn base64(line: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
    let decoded = BASE64.decode(line.trim_ascii());
    decoded.map(Cow::Owned).map_err(|error| {
        let message =
            format!("it is not base64 ({error}), which {} asks for", Setting::InputBase64);
        Invalid::of_line(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_lines() {
        for (coding, line, message) in [
            (Coding::Plain, &b" a\xff "[..], Some(&b" a\xff "[..])),
            (Coding::Json, br#""a\nb\u0000""#, Some(b"a\nb\0")),
            (Coding::Json, b" {\"a\": [1]} ", Some(b"{\"a\": [1]}")),
            (Coding::Json, b" \r", None),
            (Coding::Base64, b"AP8K\r", Some(b"\0\xff\n")),
            (Coding::Base64, b"AP8=", Some(b"\0\xff")),
            (Coding::Base64, b"AP8", Some(b"\0\xff")),
            (Coding::Base64, b"", Some(b"")),
        ] {
            let decoded = coding.decode(line).expect("it is right");
            assert_eq!(decoded.as_deref(), message, "{line:?}");
        }
        for (coding, line) in [
            (Coding::Json, &b"{"[..]),
            (Coding::Json, br#""\ud800""#),
            (Coding::Json, b"\xff"),
            (Coding::Base64, b"a b"),
            (Coding::Base64, b"A"),
        ] {
            assert!(coding.decode(line).is_err(), "{line:?}");
        }
    }
}
