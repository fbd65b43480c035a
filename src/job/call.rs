//! A call and its job: the job goes from the call to a slot, and may come back.

use std::sync::Arc;

use super::caller::{CallRecord, Caller, Waits};
use super::unit::Job;

/// The jobs of calls have no number. Those that are sent to another machine get one from this on.
pub(crate) const FIRST_CALL: u64 = 1 << 62;

/// A call that is open: somebody waits for its job.
pub(crate) type OpenCall = CallRecord<Job>;

/// Takes the job out of a call, as [`CallRecord::start`]. The job knows its call from then on.
pub(crate) fn start(call: Arc<OpenCall>, slot: usize) -> Option<(Job, bool)> {
    let (mut job, has_place) = call.start(slot)?;
    job.caller = Some(Caller::new(call));
    Some((job, has_place))
}

impl Job {
    /// Puts the job of a call back into the call, which is to be queued again. `None`: nobody waits for
    /// it any more.
    ///
    /// # Errors
    /// The job is none of a call.
    pub(crate) fn into_call(mut self, shelf: Waits) -> Result<Option<Arc<OpenCall>>, Box<Self>> {
        let Some(caller) = self.caller.take() else { return Err(Box::new(self)) };
        Ok(caller.into_call().filter(|call| call.requeue(self, shelf)))
    }
}
