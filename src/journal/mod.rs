//! The journal of a run: a record of the outcome of each job, from which a run that was cut short can be
//! resumed. A record is written before its result is printed, so each printed result is in the journal.
//! A job that has succeeded according to the journal is not run again.

mod error;
mod file;
mod index;
mod key;
mod reader;
mod record;
mod store;
mod sync;
mod tail;

pub use error::{JournalError, JournalProblem};
pub use key::Context;
pub use record::Recorded;
pub use store::{Journal, JournalSettings};
