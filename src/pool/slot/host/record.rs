//! The history of the connections of a host, and why one can't be used.

use crate::pool::slot::host::job_rate::JobRate;
use crate::util::clock::Moment;

/// Why a connection can't be used.
#[derive(Debug)]
pub(super) struct Hitch {
    pub(super) why: String,
    /// It would be the same another time.
    pub(super) is_lasting: bool,
}

impl Hitch {
    pub(super) fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_lasting: true }
    }

    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_lasting: false }
    }
}

/// The history of the connections of a host.
#[derive(Debug)]
pub(super) struct Record {
    /// The host runs no jobs any more.
    pub(super) is_set_aside: bool,
    /// When it is tried again.
    pub(super) retry_at: Moment,
    /// How often in a row no agent got ready.
    pub(super) boot_failures: u32,
    /// How often in a row it was lost before it had finished a job.
    pub(super) idle_losses: u32,
    /// How many jobs in a row have failed.
    pub(super) streak: usize,
    /// A job has succeeded.
    pub(super) has_succeeded: bool,
    /// How many slots are numbered before its own, and how many it had then.
    pub(super) slots_before: Option<(usize, usize)>,
    /// What prepares the host has succeeded.
    pub(super) is_prepared: bool,
    /// The agent has finished.
    pub(super) has_said_bye: bool,
    /// Why the agent is of no use.
    pub(super) is_unfit: Option<String>,
    pub(super) rate: JobRate,
    /// Why its connection can't be used, as the minder has found.
    pub(super) hitch: Option<Hitch>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            is_set_aside: false,
            retry_at: Moment::ZERO,
            boot_failures: 0,
            idle_losses: 0,
            streak: 0,
            has_succeeded: false,
            slots_before: None,
            is_prepared: false,
            has_said_bye: false,
            is_unfit: None,
            rate: JobRate::new(),
            hitch: None,
        }
    }
}
