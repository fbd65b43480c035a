//! What a slot does about a process that was stopped: by the terminal, or by somebody else.

use crate::pool::shared::Shared;
use crate::process::Process;
use crate::process::stops::Stopped;

/// Whether a process was stopped because it wanted the terminal. If somebody else has stopped it, a
/// note says so. `who` is the subject of the note.
pub(super) fn stopped_for_terminal(
    shared: &Shared,
    process: &Process,
    who: impl FnOnce() -> String,
) -> Option<Stopped> {
    let stopped = process.stopped(&shared.groups)?;
    if stopped.wanted_terminal() {
        shared.watcher.terminal_wanted();
        return Some(stopped);
    }
    shared.watcher.note(&format!(
        "{} {stopped}. {}",
        who(),
        stopped.how_to_continue(process.pid())
    ));
    None
}
