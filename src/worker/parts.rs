//! The parts of results that have come before the replies. They are passed on, or kept for the list that the
//! result becomes.

use serde_json::value::RawValue;

use crate::job::{PartsConfig, Value};
use crate::util::json::on_one_line;

/// The parts of the results of open requests.
#[derive(Debug, Default)]
pub(super) struct ResultParts {
    /// What happens to them, unless their job says otherwise.
    pub(super) config: PartsConfig,
    /// The requests that had parts: the id, and the parts as JSON with a comma after each.
    open: Vec<(u64, String)>,
}

impl ResultParts {
    pub(super) fn new(config: PartsConfig) -> Self {
        Self { config, open: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds a part. `config`: what happens to it. Without one, the request is only noted as one with parts. Returns how
    /// many bytes are kept for it.
    pub(super) fn add(&mut self, id: u64, part: Option<Value<'_>>, config: PartsConfig) -> usize {
        let at = self.open.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
            self.open.push((id, String::new()));
            self.open.len() - 1
        });
        let text = &mut self.open[at].1;
        if let Some(part) = part.filter(|_| config.are_kept) {
            text.push_str(&on_one_line(part.to_json().get()));
            text.push(',');
        }
        text.len()
    }

    /// The request is answered: takes the list of its parts, and of its last result if that is not null.
    /// `None`: it had no parts.
    pub(super) fn take(
        &mut self,
        id: u64,
        last: Option<Value<'_>>,
        config: PartsConfig,
    ) -> Option<Box<RawValue>> {
        let at = self.open.iter().position(|(other, _)| *other == id)?;
        let mut list = self.open.swap_remove(at).1;
        let last = last.map(Value::to_json).filter(|last| last.get() != "null");
        if let Some(last) = last.filter(|_| config.are_kept) {
            list.push_str(last.get());
        }
        let list = format!("[{}]", list.strip_suffix(',').unwrap_or(&list));
        // The parts of a list that are JSON make JSON.
        Some(RawValue::from_string(list).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::json::Json;

    fn json(text: &str) -> Json<'_> {
        Json::of(serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn parts_become_a_list() {
        let mut parts = ResultParts::default();
        let kept = PartsConfig::default();
        let list = |list: Option<Box<RawValue>>| list.map(|list| list.get().to_owned());
        assert_eq!(parts.add(7, Some(Value::Json(json("1"))), kept), 2);
        assert_eq!(parts.add(8, Some(Value::Json(json("[]"))), kept), 3);
        assert_eq!(parts.add(7, Some(Value::Json(json("\"a\""))), kept), 6);
        assert_eq!(parts.add(7, None, kept), 6);
        assert_eq!(parts.add(9, None, kept), 0);
        assert_eq!(list(parts.take(9, Some(Value::NULL), kept)).as_deref(), Some("[]"));
        assert_eq!(list(parts.take(7, Some(Value::NULL), kept)).as_deref(), Some(r#"[1,"a"]"#));
        assert_eq!(list(parts.take(7, Some(Value::NULL), kept)), None);
        assert_eq!(
            list(parts.take(8, Some(Value::Json(json("2"))), kept)).as_deref(),
            Some("[[],2]")
        );
        assert!(parts.is_empty());
    }
}
