//! The journal of a run: a record of what each job came to, written before its result is printed, so
//! that a run that was cut short can be resumed. What a person has seen of a run is in its journal,
//! and a job that has succeeded according to the journal is not run again.

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
