//! The call that waits for a job, as the slot sees it: whether it still waits, and where its answer goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::outcome::Failure;

/// The call that waits for a job.
#[derive(Debug)]
pub(crate) enum Caller {
    One {
        sender: oneshot::Sender<CallResult>,
        slot: Arc<AtomicUsize>,
    },
    Pipeline {
        tag: u64,
        sender: mpsc::UnboundedSender<(u64, CallResult)>,
        room: OwnedSemaphorePermit,
    },
}

pub(crate) type CallResult = Result<Box<RawValue>, Failure>;

impl Caller {
    /// Tells the caller that its job is about to go to the worker of this slot. Call [`Caller::is_gone`]
    /// after this: if the caller is gone, the job must not go there.
    pub(crate) fn is_at(&self, index: usize) {
        if let Self::One { slot, .. } = self {
            slot.store(index, Ordering::Relaxed);
            // A caller that goes now sees the slot, or the next `is_gone` sees that the caller is gone.
            fence(Ordering::SeqCst);
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::One { sender, .. } => sender.is_closed(),
            Self::Pipeline { sender, .. } => sender.is_closed(),
        }
    }

    pub(crate) fn reply(self, answer: CallResult) {
        match self {
            Self::One { sender, .. } => drop(sender.send(answer)),
            Self::Pipeline { tag, sender, room } => {
                drop(sender.send((tag, answer)));
                drop(room);
            }
        }
    }
}
