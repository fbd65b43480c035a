//! The journal of a run: a record of the outcome of each job, from which a run that was cut short can be
//! resumed. A record is written before its result is printed, so each printed result is in the journal.
//! A job that has succeeded according to the journal is not run again.

#[cfg(not(feature = "journal"))]
mod absent;
#[cfg(feature = "journal")]
mod error;
#[cfg(feature = "journal")]
mod file;
#[cfg(feature = "journal")]
mod index;
#[cfg(feature = "journal")]
mod key;
#[cfg(feature = "journal")]
mod reader;
#[cfg(feature = "journal")]
mod record;
#[cfg(feature = "journal")]
mod store;
#[cfg(feature = "journal")]
mod sync;
#[cfg(feature = "journal")]
mod tail;

#[cfg(not(feature = "journal"))]
pub use absent::{NoJournal as Journal, NoJournalError as JournalError};
#[cfg(feature = "journal")]
pub use error::{JournalError, JournalProblem};
#[cfg(feature = "journal")]
pub use key::Context;
#[cfg(feature = "journal")]
pub use record::Recorded;
#[cfg(feature = "journal")]
pub use store::{Journal, JournalSettings};
