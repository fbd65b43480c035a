//! The link between a coordinator and an agent, over any stream of bytes: greeting, frames, messages, and
//! the book-keeping of both ends. Nothing here does IO or knows what carries the bytes.

pub(crate) mod boot;
pub(crate) mod frame;
pub(crate) mod from_agent;
pub(crate) mod greeting;
pub(crate) mod incoming;
pub(crate) mod ledger;
pub(crate) mod outgoing;
pub(crate) mod to_agent;
pub(crate) mod window;

/// An empty buffer of a link keeps this many bytes of memory at most.
const MOST_KEPT: usize = 4 << 20;

/// An end of a link that did not listen for this long was held up.
pub(crate) const HELD_UP: std::time::Duration = std::time::Duration::from_millis(100);

#[cfg(test)]
mod tests;
