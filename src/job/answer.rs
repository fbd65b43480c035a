//! The answer to a call, and how it is read as a type of the caller's: JSON as it came, bytes as they
//! came, or the output of a command.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::command_output::CommandOutput;
use super::outcome::Value;
use crate::util::json::Json;

/// The result that a call gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// JSON, as the worker sent it.
    Json(Box<[u8]>),
    /// The reply of a worker that speaks no JSON, as it came.
    Bytes(Bytes),
    /// The output of a command.
    Command(Box<CommandOutput>),
}

impl Answer {
    /// The result of a worker.
    pub(crate) fn of(value: Value<'_>) -> Self {
        match value {
            Value::Json(json) | Value::Shown(json) => Self::Json(json.bytes().into()),
            Value::Bytes(bytes) => Self::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }

    /// Reads it as a type.
    ///
    /// # Errors
    /// It is no value of this type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        match self {
            Self::Json(json) => serde_json::from_slice(json),
            Self::Bytes(bytes) => T::deserialize(RawBytes(bytes)),
            Self::Command(output) => T::deserialize(&**output),
        }
    }

    /// It as JSON.
    pub(crate) fn to_json(&self) -> Box<RawValue> {
        match self {
            Self::Json(json) => Json::checked(json).to_raw(),
            Self::Bytes(bytes) => Value::Bytes(bytes).to_json(),
            Self::Command(output) => output.to_json(),
        }
    }
}

/// What [`serde_json`] calls a type that takes JSON as it is.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Reads JSON text for any lifetime.
fn read_json<'de, V: Visitor<'de>>(
    json: &RawValue,
    read: impl FnOnce(
        &mut serde_json::Deserializer<serde_json::de::IoRead<&[u8]>>,
        V,
    ) -> serde_json::Result<V::Value>,
    visitor: V,
) -> serde_json::Result<V::Value> {
    read(&mut serde_json::Deserializer::from_reader(json.get().as_bytes()), visitor)
}

/// Bytes: text where they are UTF-8, and bytes or a list of numbers for a type that asks for them.
struct RawBytes<'a>(&'a [u8]);

impl RawBytes<'_> {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.0).ok()
    }
}

impl<'de> Deserializer<'de> for RawBytes<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.text() {
            Some(text) => visitor.visit_str(text),
            // What can hold anything gets the same object as in records.
            None => read_json(
                &Value::Bytes(self.0).to_json(),
                |json, visitor| json.deserialize_any(visitor),
                visitor,
            ),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.text() {
            Some(text) => visitor.visit_str(text),
            None => visitor.visit_bytes(self.0),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(SeqDeserializer::<_, Self::Error>::new(self.0.iter().copied()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if name != RAW_VALUE {
            return visitor.visit_newtype_struct(self);
        }
        let json = Value::Bytes(self.0).to_json();
        read_json(&json, |json, visitor| json.deserialize_newtype_struct(name, visitor), visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char unit unit_struct tuple tuple_struct
        map struct enum identifier ignored_any
    }
}

/// A field of [`CommandOutput`].
enum OutputField<'a> {
    Number(Option<i32>),
    Bytes(&'a [u8]),
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for OutputField<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for OutputField<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Number(Some(number)) => visitor.visit_i32(number),
            Self::Number(None) => visitor.visit_unit(),
            Self::Bytes(bytes) => RawBytes(bytes).deserialize_str(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Number(None) => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Bytes(bytes) => visitor.visit_bytes(bytes),
            number => number.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Bytes(bytes) => RawBytes(bytes).deserialize_seq(visitor),
            number => number.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &CommandOutput {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        read_json(&self.to_json(), |json, visitor| json.deserialize_any(visitor), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let fields = [
            (Cow::Borrowed("exit"), OutputField::Number(self.exit)),
            (Cow::Borrowed("signal"), OutputField::Number(self.signal)),
            (Cow::Borrowed("stdout"), OutputField::Bytes(&self.stdout)),
            (Cow::Borrowed("stderr"), OutputField::Bytes(&self.stderr)),
        ];
        visitor.visit_map(MapDeserializer::new(fields.into_iter()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if name != RAW_VALUE {
            return visitor.visit_newtype_struct(self);
        }
        let json = self.to_json();
        read_json(&json, |json, visitor| json.deserialize_newtype_struct(name, visitor), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    fn bytes(bytes: &'static [u8]) -> Answer {
        Answer::Bytes(Bytes::from_static(bytes))
    }

    #[test]
    fn bytes_are_read_as_what_is_asked_for() {
        assert_eq!(bytes(b"a b").read::<String>().expect("text"), "a b");
        assert_eq!(bytes(b"a\xff").read::<Bytes>().expect("bytes"), &b"a\xff"[..]);
        assert_eq!(bytes(b"a\xff").read::<Vec<u8>>().expect("a list"), b"a\xff");
        assert_eq!(bytes(b"a").read::<serde_json::Value>().expect("a value"), "a");
        let coded = bytes(b"\xff").read::<serde_json::Value>().expect("a value");
        assert_eq!(coded, serde_json::json!({ "base64": "/w==" }));
        assert_eq!(bytes(b"a").read::<Box<RawValue>>().expect("JSON").get(), "\"a\"");
        assert_eq!(bytes(b"a").read::<Option<String>>().expect("text").as_deref(), Some("a"));
        assert!(bytes(b"a\xff").read::<String>().is_err());
        assert!(bytes(b"7").read::<u32>().is_err());
    }

    #[test]
    fn json_is_read_without_loss() {
        let text = format!(
            r#"{{"z":123456789012345678901234567890,"a":{}1{}}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        let answer = Answer::Json(text.as_bytes().into());
        assert_eq!(answer.read::<Box<RawValue>>().expect("JSON").get(), text);
        let answer = Answer::Json(b"18446744073709551615".as_slice().into());
        assert_eq!(answer.read::<u64>().expect("a number"), u64::MAX);
        assert!(answer.read::<String>().is_err());
    }

    #[test]
    fn the_output_of_a_command_is_read_as_a_struct() {
        #[derive(Deserialize)]
        struct Text {
            exit: i32,
            stdout: String,
        }
        let output = CommandOutput {
            exit: Some(3),
            signal: None,
            stdout: Bytes::from_static(b"a\n"),
            stderr: Bytes::from_static(b"\xff"),
        };
        let answer = Answer::Command(Box::new(output.clone()));
        assert_eq!(answer.read::<CommandOutput>().expect("the output"), output);
        let text = answer.read::<Text>().expect("text");
        assert_eq!((text.exit, text.stdout.as_str()), (3, "a\n"));
        let value = answer.read::<serde_json::Value>().expect("a value");
        assert_eq!(value, serde_json::json!({"exit":3,"stdout":"a\n","stderr_base64":"/w=="}));
        assert!(answer.read::<Box<RawValue>>().is_ok());
        answer.read::<()>().expect("nothing is asked for");
    }
}
