//! [`HostSlot`]: what the thread of another machine knows of its slots, its jobs and its connection.

use std::collections::HashMap;
use std::sync::Arc;

use crate::job::Job;
use crate::job::printed::Capture;
use crate::link::ledger::JobLedger;
use crate::link::window::AgentWindow;
use crate::pool::shared::hosts::Desk;
use crate::pool::slot::host::connection::Connection;
use crate::pool::slot::host::preparation::Preparation;
use crate::pool::slot::host::record::Record;
use crate::pool::slot::host::said::Said;
use crate::pool::slot::steps::Slot;
use crate::util::clock::Moment;

/// The slots of another machine.
pub(crate) struct HostSlot {
    /// It accounts for all jobs of the machine.
    pub(super) slot: Slot,
    pub(super) desk: Arc<Desk>,
    /// What prepares the machine for its first connection.
    pub(super) preparation: Option<Preparation>,
    pub(super) connection: Option<Connection>,
    /// The slots that have asked for a job and got none.
    pub(super) idle: Vec<usize>,
    /// The slots that have a job, or can't have one now.
    pub(super) busy: Vec<usize>,
    /// How many jobs the machine runs at a time; 0: it is not known yet.
    pub(super) capacity: usize,
    pub(super) ledger: JobLedger,
    pub(super) window: AgentWindow,
    /// The output of the commands of running jobs so far.
    pub(super) printed: HashMap<u64, [Capture; 2]>,
    /// A job of a bundle that is delivered.
    pub(super) scratch: Job,
    pub(super) said: Said,
    pub(super) record: Record,
    /// No more jobs will come.
    pub(super) is_leaving: bool,
}

impl HostSlot {
    pub(super) fn new(slot: Slot, desk: Arc<Desk>) -> Self {
        let mut host = Self {
            slot,
            preparation: None,
            connection: None,
            idle: Vec::new(),
            busy: desk.present(),
            capacity: 0,
            ledger: JobLedger::default(),
            window: AgentWindow::new(std::time::Instant::now()),
            printed: HashMap::new(),
            scratch: Job::new(0, "", "", ""),
            said: Said::default(),
            record: Record::default(),
            is_leaving: false,
            desk,
        };
        host.step_aside();
        host
    }

    pub(super) fn is_ready(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_ready)
    }

    /// No slot can have a job now: others are called for those that wait.
    pub(super) fn step_aside(&mut self) {
        self.busy.append(&mut self.idle);
        for &index in &self.busy {
            let fresh = self.slot.shared.queue.set_aside(index);
            self.slot.shared.start_slots(fresh);
        }
    }

    /// The jobs in hand go back: they are not sent.
    pub(super) fn give_up_turn(&mut self) {
        self.slot.shared.gates.forgo_turn(&mut self.slot.ticket);
        self.said.turn_at = Moment::NEVER;
        let jobs = std::mem::take(&mut self.slot.jobs);
        if !jobs.is_empty() {
            self.slot.put_back(jobs.into_iter());
        }
    }
}
