//! Small tools that know nothing of jobs.

pub(crate) mod buffer;
pub(crate) mod clock;
pub(crate) mod histogram;
