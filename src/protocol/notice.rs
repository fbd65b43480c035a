//! A notification that is made for each job of a template: a method, and params with placeholders for the
//! args of the job.

use std::fmt;

use serde_json::Value;

use super::fields;
use crate::job::Job;

/// The template of a notification.
#[derive(Clone, Debug)]
pub struct NoticeTemplate {
    method: String,
    params: Option<Value>,
}

/// A text is no notification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeError {
    /// There is no method.
    MethodMissing,
    /// The params are no JSON, and why.
    NotJson(String),
    /// The params are neither an array nor an object.
    WrongParams,
}

impl fmt::Display for NoticeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MethodMissing => f.write_str("expected a method and its params"),
            Self::NotJson(why) => write!(f, "the params are no JSON ({why})"),
            Self::WrongParams => f.write_str("the params of JSON-RPC are an array or an object"),
        }
    }
}

impl std::error::Error for NoticeError {}

impl NoticeTemplate {
    /// Reads a template: a method, and params as JSON. In their strings, `{}` stands for all args, and
    /// `{a.b}` for a field of them.
    ///
    /// # Errors
    /// The text is no template.
    pub fn parse(text: &str) -> Result<Self, NoticeError> {
        let text = text.trim();
        let (method, params) = match text.find(char::is_whitespace) {
            Some(at) => (&text[..at], text[at..].trim()),
            None => (text, ""),
        };
        if method.is_empty() || method.starts_with(['{', '[', '"']) {
            return Err(NoticeError::MethodMissing);
        }
        let params = match params {
            "" => None,
            params => Some(
                serde_json::from_str::<Value>(params)
                    .map_err(|error| NoticeError::NotJson(error.to_string()))?,
            ),
        };
        if params.as_ref().is_some_and(|params| !params.is_array() && !params.is_object()) {
            return Err(NoticeError::WrongParams);
        }
        Ok(Self { method: method.to_owned(), params })
    }

    /// Appends the notification for a job.
    pub(super) fn write(&self, out: &mut Vec<u8>, job: &Job) -> Result<(), String> {
        let mut notice = serde_json::Map::new();
        notice.insert("jsonrpc".to_owned(), "2.0".into());
        notice.insert("method".to_owned(), self.method.as_str().into());
        if let Some(params) = &self.params {
            let args = serde_json::from_slice(job.args())
                .map_err(|error| format!("the args are no JSON ({error})"))?;
            notice.insert("params".to_owned(), filled(params, &args)?);
        }
        serde_json::to_writer(out, &notice).map_err(|error| error.to_string())
    }
}

/// The value with its placeholders replaced.
fn filled(value: &Value, args: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => filled_text(text, args)?,
        Value::Array(elements) => {
            elements.iter().map(|element| filled(element, args)).collect::<Result<_, _>>()?
        }
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(name, value)| Ok((name.clone(), filled(value, args)?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

/// A string with its placeholders replaced. If it is nothing but a placeholder, it becomes the value.
fn filled_text(text: &str, args: &Value) -> Result<Value, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find('{') {
        let Some(len) = rest[begin..].find('}') else { break };
        let name = &rest[begin + 1..begin + len];
        let path = if name.is_empty() { Some(Vec::new()) } else { fields::path(name) };
        let Some(path) = path else {
            filled.push_str(&rest[..=begin]);
            rest = &rest[begin + 1..];
            continue;
        };
        let value = fields::find(args, &path, 1).ok_or_else(|| {
            let from =
                if path.iter().any(|part| part == "0") { "; elements count from 1" } else { "" };
            format!("the args of the job have no {{{name}}}{from}")
        })?;
        if begin == 0 && filled.is_empty() && len + 1 == text.len() {
            return Ok(value.clone());
        }
        filled.push_str(&rest[..begin]);
        match value {
            Value::String(text) => filled.push_str(text),
            other => filled.push_str(&other.to_string()),
        }
        rest = &rest[begin + len + 1..];
    }
    filled.push_str(rest);
    Ok(Value::String(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(template: &str, args: &str) -> Result<String, String> {
        let template = NoticeTemplate::parse(template).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        template.write(&mut out, &Job::new(1, "\"x\"", args, ""))?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn placeholders_become_what_the_job_has() {
        let args = r#"{"textDocument":{"uri":"file:///a \"b\"","version":2},"n":[7]}"#;
        for (template, expected) in [
            (
                r#"open {"textDocument":"{textDocument}"}"#,
                r#""open","params":{"textDocument":{"uri":"file:///a \"b\"","version":2}}"#,
            ),
            (
                r#"open {"a":["<{textDocument.uri}>{n.1}","{n.1}"],"b":{"c":1}}"#,
                r#""open","params":{"a":["<file:///a \"b\">7",7],"b":{"c":1}}"#,
            ),
            ("open", r#""open""#),
            (r#"open {"a":"{ x } {","b":{}}"#, r#""open","params":{"a":"{ x } {","b":{}}"#),
        ] {
            let made = made(template, args).expect("a notification");
            assert_eq!(made, format!("{{\"jsonrpc\":\"2.0\",\"method\":{expected}}}"));
        }
        assert_eq!(
            made(r#"open ["{}"]"#, "[1]").as_deref(),
            Ok(r#"{"jsonrpc":"2.0","method":"open","params":[[1]]}"#)
        );
        assert!(made(r#"open ["{x}"]"#, "{}").expect_err("no field").contains("{x}"));
        let error = made(r#"open ["{x.0}"]"#, r#"{"x":[1]}"#).expect_err("no element");
        assert!(error.ends_with("no {x.0}; elements count from 1"), "{error}");
    }

    #[test]
    fn no_notifications() {
        for text in ["", "{}", "open 1", "open {", "open \"a\""] {
            assert!(NoticeTemplate::parse(text).is_err(), "{text}");
        }
    }
}
