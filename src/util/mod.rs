//! Small tools that know nothing of jobs.

pub(crate) mod block_on;
pub(crate) mod buffer;
pub(crate) mod bytes;
pub(crate) mod clock;
pub(crate) mod counted;
pub(crate) mod duration;
pub(crate) mod exit_set;
pub mod files;
pub(crate) mod held;
pub(crate) mod histogram;
pub(crate) mod json;
pub(crate) mod lock;
pub(crate) mod names;
#[cfg(test)]
pub(crate) mod nearly;
pub(crate) mod random;
pub(crate) mod scan;
pub(crate) mod setting;
pub(crate) mod similar;
pub(crate) mod temporary;
pub(crate) mod text;
