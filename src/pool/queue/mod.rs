//! The queue between input and slots: the jobs that wait, the slots that take them, and one lock.

mod ask;
mod backlog;
mod calls;
mod loans;
mod monitor;
mod ramp;
mod roster;
mod turns;

pub(crate) use ask::{Ask, Taken};
pub(crate) use loans::Loan;
pub(crate) use monitor::Queue;
pub(crate) use ramp::STEP;
