//! Bare results that are chosen or taken apart: nothing for null, and a line for each element of a list.

use std::io::{self, Write};

use serde_json::value::RawValue;

use super::format::{Format, Shape, bytes_of};
use crate::job::{Job, Value};
use crate::util::json::Json;

impl Format {
    /// Whether results are chosen or taken apart.
    pub(super) fn selects(&self) -> bool {
        self.skip_null || self.unpack
    }

    /// Writes a bare result, or a part of one, as lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn write_lines(
        &self,
        job: &Job,
        host: Option<&str>,
        result: Value<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let list = match result {
            Value::Json(json) if self.unpack => {
                serde_json::from_slice::<Vec<&RawValue>>(json.bytes()).ok()
            }
            _ => None,
        };
        match list {
            Some(elements) => elements.into_iter().try_for_each(|element| {
                self.write_line(job, host, Value::Json(Json::of(element)), out)
            }),
            None => self.write_line(job, host, result, out),
        }
    }

    fn write_line(
        &self,
        job: &Job,
        host: Option<&str>,
        result: Value<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if self.skip_null && is_nothing(result) {
            return Ok(());
        }
        if self.shape == Shape::Value {
            out.write_all(result.to_json().get().as_bytes())?;
            return out.write_all(b"\n");
        }
        let mut tagger = self.tagger(job, host, out);
        tagger.write(&bytes_of(result))?;
        tagger.write(b"\n")
    }
}

fn is_nothing(result: Value<'_>) -> bool {
    match result {
        Value::Json(json) | Value::Shown(json) => matches!(json.bytes(), b"null" | b"\"\""),
        Value::Bytes(bytes) => bytes.is_empty(),
    }
}
