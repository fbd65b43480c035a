//! Without the feature `journal`: the types of a journal, which then have no values.

use std::fmt;

use crate::job::printed::Capture;
use crate::job::{Done, Job, Sink};

/// There is no journal.
#[derive(Debug)]
pub enum NoJournal {}

/// Nothing fails at a journal that is not there.
#[derive(Debug)]
pub enum NoJournalError {}

/// Nothing is recorded.
#[derive(Debug)]
pub enum NothingRecorded {}

impl NoJournal {
    pub(crate) fn admit(&self, _: &mut Job) -> Result<Option<NothingRecorded>, NoJournalError> {
        match *self {}
    }

    pub(crate) fn add(_: &Done<'_>, _: &mut Vec<u8>) {}

    pub(crate) fn append(&self, _: &[u8]) -> Result<(), NoJournalError> {
        match *self {}
    }

    pub(crate) fn append_captured(&self, _: &Capture) -> Result<(), NoJournalError> {
        match *self {}
    }

    pub(crate) fn append_large(&self, _: &Done<'_>) -> Result<(), NoJournalError> {
        match *self {}
    }

    pub(crate) fn wait_synced(&self) -> Result<(), NoJournalError> {
        match *self {}
    }
}

impl NothingRecorded {
    pub(crate) fn deliver(&self, _: Job, _: &dyn Sink) {
        match *self {}
    }
}

impl fmt::Display for NoJournalError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for NoJournalError {}
