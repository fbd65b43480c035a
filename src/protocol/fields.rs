//! Fields within JSON, by their path: names and numbers with dots between them.

use serde_json::Value;

/// The parts of a path such as `textDocument.uri`; `None`: the text is no path.
pub(super) fn path(text: &str) -> Option<Vec<String>> {
    let is_part = |part: &str| {
        let is_character = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '@');
        !part.is_empty() && part.chars().all(is_character)
    };
    text.split('.').all(is_part).then(|| text.split('.').map(str::to_owned).collect())
}

/// The value at a path. The first element of an array has the number `first`.
pub(super) fn find<'a>(value: &'a Value, path: &[String], first: usize) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(fields) => fields.get(part),
        Value::Array(elements) => elements.get(part.parse::<usize>().ok()?.checked_sub(first)?),
        _ => None,
    })
}
