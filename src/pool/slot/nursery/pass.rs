//! The right of a slot to leave orders at the nursery, which lives as long as any slot has it.

use std::io;
use std::sync::Arc;

use super::thread;
use crate::pool::shared::Shared;
use crate::pool::shared::nursery::NurseryDoor;
use crate::util::lock::lock;

/// The right of a slot to leave orders.
pub(in crate::pool::slot) struct NurseryPass {
    shared: Arc<Shared>,
    pub(super) door: Arc<NurseryDoor>,
}

impl NurseryPass {
    /// Enters the nursery. The first slot that comes starts it.
    pub(super) fn new(shared: &Arc<Shared>) -> io::Result<Self> {
        let mut place = lock(&shared.start_ups.nursery);
        let door = match &*place {
            Some(door) if door.enter() => Arc::clone(door),
            _ => {
                let door = Arc::new(NurseryDoor::new()?);
                door.enter();
                thread::start(shared, &door)?;
                Arc::clone(place.insert(door))
            }
        };
        Ok(Self { shared: Arc::clone(shared), door })
    }
}

impl Drop for NurseryPass {
    fn drop(&mut self) {
        self.door.leave(|| {
            // The run is not over until the nursery is.
            self.shared.queue.retiring();
            let shared = Arc::clone(&self.shared);
            Box::new(move || shared.queue.retired(|| shared.renew()))
        });
    }
}
