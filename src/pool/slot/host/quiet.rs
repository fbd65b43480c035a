//! A machine as the minder serves it: one that is quiet, and where nothing unusual happens. All else needs a
//! thread of its own.

use std::io;

use crate::pool::shared::minder::MindedEvents;
use crate::pool::slot::host::state::HostSlot;
use crate::process::Crowd;
use crate::util::clock::Moment;

/// A machine is quiet if each of its slots finishes no more jobs in a period, and stays so up to a few times as
/// many. To such jobs the rest of the minder is a small loss.
const QUIET: u64 = 1;
const NOT_QUIET: u64 = 4;

impl HostSlot {
    /// Whether the minder may serve the machine.
    pub(super) fn is_quiet(&mut self) -> bool {
        let minder = self.slot.shared.hosts.as_ref().and_then(|hosts| hosts.minder.as_ref());
        if !minder.is_some_and(|minder| minder.may_serve()) {
            return false;
        }
        let rate = self.record.rate.measure(self.window.total(), self.slot.now());
        rate.is_some_and(|finished| finished <= QUIET * self.capacity as u64)
            && self.is_plain()
            && self.has_said_all()
    }

    /// Whether the agent works, and nothing is to be waited for but its messages.
    fn is_plain(&self) -> bool {
        let shared = &*self.slot.shared;
        let is_live = shared.config.commands.as_ref().is_some_and(|commands| commands.live);
        let is_ready = self.connection.as_ref().is_some_and(|connection| {
            connection.is_ready() && !connection.is_closed && connection.carrier.may_join()
        });
        is_ready && !is_live && !self.record.has_said_bye && !shared.stopping.has_begun()
    }

    /// Whether the agent's pipe has taken all that was said. The minder does not wait for room.
    fn has_said_all(&self) -> bool {
        self.desk.voice().as_ref().is_some_and(|voice| voice.is_empty())
    }

    /// As [`crate::process::Process::join`].
    pub(crate) fn join(&self, crowd: &Crowd, member: u64) -> io::Result<()> {
        let Some(connection) = &self.connection else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        crowd.add_wake(&self.slot.wake, member)?;
        connection.carrier.join(crowd, member).inspect_err(|_| crowd.remove_wake(&self.slot.wake))
    }

    pub(crate) fn part(&self, crowd: &Crowd) {
        crowd.remove_wake(&self.slot.wake);
        if let Some(connection) = &self.connection {
            connection.carrier.part(crowd);
        }
    }

    /// One round on the minder's thread, which waits for nothing. Returns when the next one is due; `None`: the
    /// machine needs a thread of its own.
    pub(crate) fn round(&mut self, events: MindedEvents) -> Option<Moment> {
        if events.is_woken {
            self.slot.wake.clear();
        }
        let due = if events.other { None } else { self.quiet_turn(events.stdout) };
        // The results so far are those of this thread.
        self.slot.flush();
        due
    }

    fn quiet_turn(&mut self, has_come: bool) -> Option<Moment> {
        let (timeout, now) = (self.timeout(), self.slot.now());
        let connection = self.connection.as_mut()?;
        let silent_at = connection.heard.after(timeout);
        if (has_come || now >= silent_at)
            && connection.read(now)
            && let Err(hitch) = self.read_messages()
        {
            self.record.hitch = Some(hitch);
            return None;
        }
        if !self.is_plain() || self.record.is_unfit.is_some() {
            return None;
        }
        let rate = self.record.rate.measure(self.window.total(), now);
        if rate.is_some_and(|finished| finished > NOT_QUIET * self.capacity as u64) {
            return None;
        }
        self.admit();
        self.answer_roll_call();
        if !self.converse() || !self.has_said_all() {
            return None;
        }
        let silent_at = self.connection.as_ref()?.heard.after(timeout);
        let due = silent_at.min(self.said.due).min(self.said.turn_at);
        (self.slot.now() < silent_at).then_some(due)
    }
}
