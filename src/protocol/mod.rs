//! How workers are spoken to, in two layers that do no IO: a framing (bytes ↔ messages) and an
//! envelope (messages ↔ jobs).
//!
//! | `--protocol` | envelope | framing |
//! |---|---|---|
//! | `jsonl` | [`procpool`] | [`line`] |

pub mod line;
pub mod procpool;

/// The name of the default protocol, as workers find it in `PROCPOOL_PROTOCOL`.
pub const JSONL: &str = "jsonl";
