//! The request of a slot to the queue, and the answer.

use crate::util::clock::Moment;

/// The request of a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// The slot has a worker.
    pub(crate) warm: bool,
    /// The slot has jobs in flight, and could take more.
    pub(crate) busy: bool,
    /// How many jobs the slot has finished since it last asked.
    pub(crate) finished: usize,
    pub(crate) now: Moment,
    /// The most jobs that the slot can take.
    pub(crate) max: usize,
    /// About the most bytes of jobs that the slot can take.
    pub(crate) max_bytes: usize,
    /// How many jobs are worth one write to the worker. Together they take it almost no time.
    pub(crate) portion: usize,
    /// For how many slots an even share of the jobs may be taken, even if jobs are slow, because their workers work
    /// on several at a time; 0: jobs are not shared out.
    pub(crate) shares: usize,
    /// The slot that accounts for the jobs: the slot itself, but for the slots of another machine, whose
    /// jobs are counted together.
    pub(crate) holder: usize,
}

/// The answer to a slot that asks for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Jobs,
    /// No jobs: the slot waits until it is woken.
    Wait,
    /// No jobs, and none will come.
    Leave,
}
