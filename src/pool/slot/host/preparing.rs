//! The command of the user's that prepares a host before its first job, such as one that copies files to
//! it. It runs on this machine, once for each host.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::shared::hosts::{HostDesks, Login};
use crate::pool::slot::host::connection::HostWatcher;
use crate::pool::slot::host::preparation::Preparation;
use crate::pool::slot::host::record::Hitch;
use crate::pool::slot::host::state::HostSlot;
use crate::pool::slot::steps::OVER_TICK;
use crate::process::{Process, ProcessOutput, ProcessStdin, Spec, Stop, describe};

/// A command that is ended has this long for it.
const GRACE: Duration = Duration::from_secs(1);

impl HostSlot {
    /// Starts the command that prepares the host.
    pub(super) fn prepare(&mut self, hosts: &HostDesks, login: Login) {
        let spec = Spec {
            argv: &self.desk.host.before,
            program: None,
            env: &[],
            clears_env: false,
            slot: 0,
            cpus: None,
            cwd: None,
            stdin: ProcessStdin::Null,
            output: ProcessOutput::Pipes,
            wake: &self.slot.wake,
            is_brief: false,
        };
        match Process::start(&spec, &hosts.launchers) {
            Ok(process) => {
                self.preparation = Some(Preparation { process, printed: Vec::new(), login });
            }
            Err(error) => {
                let name = self.preparing_program();
                let why = format!("what prepares it, '{name}', can't be started: {error}");
                self.failed(&Hitch { why, is_lasting: !self.slot.shared.is_crowded(&error) });
            }
        }
    }

    /// One round while the host is prepared. Returns whether there is anything left to do.
    pub(super) fn await_preparation(&mut self) -> bool {
        let shared = Arc::clone(&self.slot.shared);
        let Some(hosts) = &shared.hosts else { return false };
        if shared.stopping.has_begun() || !self.slot.may_get_jobs() {
            self.end_preparation(hosts, Stop::Terminate);
            return false;
        }
        let watcher = HostWatcher { watcher: &*shared.watcher, host: self.desk.label() };
        let Some(preparation) = &mut self.preparation else { return true };
        let wake = Some(&*self.slot.wake);
        let ready = preparation.process.wait(wake, false, None, Some(OVER_TICK));
        if ready.stderr {
            preparation.process.forward_stderr(&watcher);
        }
        if ready.stdout || ready.exited {
            preparation.pass_on(&watcher, ready.exited);
        }
        if ready.exited {
            self.prepared(hosts);
        }
        true
    }

    /// The command has exited.
    fn prepared(&mut self, hosts: &Arc<HostDesks>) {
        let Some((status, login)) = self.end_preparation(hosts, Stop::Kill) else { return };
        if status.is_some_and(|status| status.success()) {
            self.record.is_prepared = true;
            self.connect(hosts, login);
        } else {
            let name = self.preparing_program();
            let why = format!("what prepares it, '{name}', {}", describe(status));
            self.failed(&Hitch::passing(why));
        }
    }

    fn end_preparation(
        &mut self,
        hosts: &HostDesks,
        first: Stop,
    ) -> Option<(Option<ExitStatus>, Login)> {
        let Preparation { mut process, login, .. } = self.preparation.take()?;
        let watcher = HostWatcher { watcher: &*self.slot.shared.watcher, host: self.desk.label() };
        Some((process.stop(first, GRACE, &hosts.launchers, None, &watcher), login))
    }

    fn preparing_program(&self) -> String {
        let program = self.desk.host.before.first();
        program.map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    }
}
