//! Events for the crate `tracing` (with the feature `tracing`): workers that start and end, notes, and calls that end.
//! All have the target `procpool`.

use std::time::Duration;

use crate::job::{Failure, WorkerEnd};

#[cfg(feature = "tracing")]
mod traced {
    use super::*;

    pub(crate) fn worker_started(slot: usize, pid: u32) {
        tracing::debug!(target: "procpool", slot, pid, "worker started");
    }

    pub(crate) fn worker_ended(end: &WorkerEnd) {
        let WorkerEnd { slot, pid, jobs, seconds, why, .. } = *end;
        let why = why.name();
        tracing::debug!(target: "procpool", slot, pid, jobs, seconds, why, "worker ended");
    }

    pub(crate) fn call_ended(failure: Option<&Failure>, time: Option<Duration>) {
        let seconds = time.map(|time| time.as_secs_f64());
        match failure {
            None => tracing::trace!(target: "procpool", seconds, "call succeeded"),
            Some(Failure { kind, message, .. }) => {
                tracing::debug!(target: "procpool", seconds, %kind, message, "call failed");
            }
        }
    }

    pub(crate) fn noted(text: &str) {
        tracing::warn!(target: "procpool", "{text}");
    }

    pub(crate) fn gave_up(failure: &Failure) {
        tracing::error!(target: "procpool", "{}", failure.message);
    }
}

#[cfg(not(feature = "tracing"))]
mod silent {
    use super::*;

    pub(crate) fn worker_started(_: usize, _: u32) {}
    pub(crate) fn worker_ended(_: &WorkerEnd) {}
    pub(crate) fn call_ended(_: Option<&Failure>, _: Option<Duration>) {}
    pub(crate) fn noted(_: &str) {}
    pub(crate) fn gave_up(_: &Failure) {}
}

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::*;
#[cfg(feature = "tracing")]
pub(crate) use traced::*;

#[cfg(test)]
#[cfg(feature = "tracing")]
mod tests;
