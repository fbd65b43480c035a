//! The environment of workers: what all have in common, and texts with the number of a slot.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::pool::shared::Shared;
use crate::util::setting::Setting;

/// The additions to the environment that all workers have in common.
pub(super) fn outer_environment(shared: &Shared) -> Vec<(OsString, OsString)> {
    let config = &shared.config;
    let mut env = vec![variable("PROCPOOL_PROTOCOL", config.worker.protocol.label())];
    if config.process.clears_env || std::env::var_os("PYTHONUNBUFFERED").is_none() {
        env.push(variable("PYTHONUNBUFFERED", "1".into()));
    }
    if config.worker.is_code && config.worker.protocol.label() == "code" {
        // A generator may have no end, so the worker must know how long a list may be.
        let most = format!("{} {}", config.worker.max_reply, Setting::MaxReply);
        env.push(variable("PROCPOOL_MAX_REPLY", most));
    }
    if config.worker.is_code && config.worker.protocol.label() == "sh" {
        // This worker waits for the processes that the code leaves running.
        let millis = config.grace.as_millis().min(u128::from(u32::MAX));
        env.push(variable("PROCPOOL_GRACE", millis.to_string()));
        let folder = crate::util::temporary::temporary_folder().into_os_string();
        env.push(("PROCPOOL_TMPDIR".into(), folder));
    }
    env.extend_from_slice(&config.process.env);
    env
}

pub(super) fn variable(name: &str, value: String) -> (OsString, OsString) {
    (name.into(), value.into())
}

/// Whether a text has a placeholder for the number of the slot.
pub(super) fn has_slot(text: &OsStr) -> bool {
    [b"{%}".as_slice(), b"{%0}"]
        .iter()
        .any(|part| memchr::memmem::find(text.as_bytes(), part).is_some())
}

/// The text with the number of the slot in place of `{%}`, and the number from 0 in place of `{%0}`.
pub(super) fn for_slot(text: &OsStr, slot: usize) -> OsString {
    let mut filled = Vec::new();
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memmem::find(rest, b"{%") {
        let (number, len) = match &rest[at + 2..] {
            [b'}', ..] => (slot, 3),
            [b'0', b'}', ..] => (slot - 1, 4),
            _ => {
                filled.extend_from_slice(&rest[..at + 2]);
                rest = &rest[at + 2..];
                continue;
            }
        };
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(number.to_string().as_bytes());
        rest = &rest[at + len..];
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_slots() {
        for (text, filled) in [
            ("{%}", "2"),
            ("gpu{%0}-{%}{%0}", "gpu1-21"),
            ("{%1} {%", "{%1} {%"),
            ("{%{%}", "{%2"),
            ("", ""),
        ] {
            assert_eq!(for_slot(text.as_ref(), 2), filled, "{text}");
        }
    }
}
