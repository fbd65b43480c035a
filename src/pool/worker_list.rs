//! The workers that are alive now, as [`crate::Pool::stats`] lists them.

use std::sync::{Arc, Mutex, Weak};

use crate::util::lock::lock;
use crate::worker::WorkerCard;

/// The cards of all workers.
#[derive(Debug, Default)]
pub(crate) struct WorkerList(Mutex<Vec<Weak<WorkerCard>>>);

impl WorkerList {
    /// A worker was started.
    pub(crate) fn add(&self, card: &Arc<WorkerCard>) {
        let mut cards = lock(&self.0);
        cards.retain(|card| card.strong_count() > 0);
        cards.push(Arc::downgrade(card));
    }

    /// The workers that are alive, by slot.
    pub(crate) fn cards(&self) -> Vec<Arc<WorkerCard>> {
        let mut cards: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        cards.sort_by_key(|card| (card.id.slot, card.id.generation));
        cards
    }
}
