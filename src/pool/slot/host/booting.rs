//! From the start of a launcher to an agent that takes jobs: the lines of the script there, the copy of this
//! program, the greeting, and the task of the agent.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::ServerLine;
use crate::link::boot::BootLine;
use crate::link::greeting::{self, TooNoisy};
use crate::link::to_agent::{Setup, ToAgent};
use crate::pool::shared::hosts::{HostDesks, Login};
use crate::pool::slot::host::connection::{Connection, ConnectionStage};
use crate::pool::slot::host::record::Hitch;
use crate::pool::slot::host::said::Said;
use crate::pool::slot::host::state::HostSlot;
use crate::pool::slot::steps::OVER_TICK;

/// A login, or a copy, that makes no progress for this long is given up.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);

impl HostSlot {
    /// Starts the launcher of the host.
    pub(super) fn connect(&mut self, hosts: &Arc<HostDesks>, login: Login) {
        self.said = Said::default();
        let (wake, now) = (Arc::clone(&self.slot.wake), self.slot.now());
        if let Some(line) = self.desk.host.line.clone() {
            return self.join_server(&line, login);
        }
        match Connection::start(&self.desk, hosts, login, &wake, now) {
            Ok(connection) => {
                self.connection = Some(connection);
                hosts.start_heart();
            }
            Err(error) if self.slot.shared.is_crowded(&error) => {
                self.failed(&Hitch::passing(format!("its launcher can't be started: {error}")));
            }
            Err(error) => {
                let launcher = self.desk.host.launcher.first();
                let name = launcher.map(|word| word.to_string_lossy()).unwrap_or_default();
                let why = format!("its launcher '{name}' can't be started: {error}");
                self.failed(&Hitch::lasting(why));
            }
        }
    }

    /// Uses the connection to a server. It has said what it is.
    fn join_server(&mut self, line: &ServerLine, login: Login) {
        match Connection::over(&self.desk, line, login, self.slot.now()) {
            Ok(connection) => {
                self.connection = Some(connection);
                if let Some(hosts) = &self.slot.shared.hosts {
                    hosts.start_heart();
                }
                self.set_up(1);
            }
            Err(error) => {
                self.failed(&Hitch::lasting(format!("it can't be spoken to: {error}")));
            }
        }
    }

    /// One round of a connection whose agent is not ready. Returns whether there is anything left to do.
    pub(super) fn boot(&mut self) -> bool {
        if self.slot.shared.stopping.has_begun() || !self.slot.may_get_jobs() {
            return false;
        }
        let timeout = self.timeout();
        let Some(connection) = &mut self.connection else { return true };
        let now = self.slot.shared.now();
        let deadline = connection.heard.after(BOOT_PATIENCE.max(timeout));
        let wake = &self.slot.wake;
        let ready = connection.wait(
            &self.slot.shared,
            &self.desk,
            wake,
            deadline.until(now).map(|time| time.min(OVER_TICK)),
        );
        let is_late = !ready.stdout && self.slot.shared.now() >= deadline;
        let is_closed = connection.is_closed;
        let is_booting = matches!(connection.stage, ConnectionStage::Booting { .. });
        let heard = if is_booting { self.hear_script() } else { self.read_messages() };
        match heard {
            Err(hitch) => self.failed(&hitch),
            Ok(()) if is_closed => self.closed(),
            Ok(()) if is_late => self.failed(&Hitch::passing("it does not answer")),
            Ok(()) => {}
        }
        true
    }

    /// Deals with a line of the script.
    fn hear_script(&mut self) -> Result<(), Hitch> {
        loop {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            let ConnectionStage::Booting { listener, .. } = &mut connection.stage else {
                return Ok(());
            };
            let line = listener.next(connection.incoming.end()).map_err(|TooNoisy| {
                Hitch::lasting("its login prints without end: procpool finds no greeting in it")
            })?;
            let Some(line) = line else { return Ok(()) };
            match BootLine::read(&line) {
                BootLine::Need { system, machine } => self.send_copy(&system, &machine)?,
                BootLine::Fail(failure) => return Err(Hitch::lasting(failure.to_string())),
                BootLine::Agent(words) => {
                    let cpus = greeting::check(&words);
                    self.set_up(cpus.map_err(|other| Hitch::lasting(other.to_string()))?);
                    // The bytes after the greeting are messages.
                    return self.read_messages();
                }
                BootLine::Unknown => return Err(Hitch::lasting("its answer can't be understood")),
            }
        }
    }

    /// Sends a copy of this program, if the host could run it.
    fn send_copy(&mut self, system: &str, machine: &str) -> Result<(), Hitch> {
        let own = rustix::system::uname();
        let (our_system, our_machine) =
            (own.sysname().to_string_lossy(), own.machine().to_string_lossy());
        if (system, machine) != (&*our_system, &*our_machine) {
            return Err(Hitch::lasting(format!(
                "it has no procpool {}, and can't run a copy of this one: it is {} {}, this machine \
                 is {our_system} {our_machine}; install procpool there",
                greeting::PROGRAM_VERSION,
                crate::util::text::printable(system),
                crate::util::text::printable(machine),
            )));
        }
        let hosts = self.slot.shared.hosts.as_ref();
        let copy = hosts.map(|hosts| hosts.copy()).transpose().map_err(Hitch::lasting)?;
        if let (Some(copy), Some(voice)) = (copy, &mut *self.desk.voice()) {
            voice.end().extend_from_slice(&copy.bytes);
            voice.flush();
        }
        Ok(())
    }

    /// The agent is there, on a machine with this number of CPUs: it gets its task.
    fn set_up(&mut self, cpus: usize) {
        let Some(hosts) = self.slot.shared.hosts.clone() else { return };
        self.capacity = self.desk.host.slots.unwrap_or(cpus);
        let before = match self.record.slots_before {
            Some((before, slots)) if slots == self.capacity => before,
            _ => hosts.slots_before(&self.desk, self.capacity),
        };
        if self.record.slots_before.is_none() && self.desk.host.slots.is_none() && self.capacity > 1
        {
            let count = self.capacity - 1;
            let first = self.slot.shared.queue.grow(count);
            hosts.add_slots(first, count, &self.desk);
        }
        self.record.slots_before = Some((before, self.capacity));
        let setup = ToAgent::Setup(Setup {
            host: self.desk.name,
            slots: Some(self.capacity as u64),
            slots_before: (self.slot.shared.config.slots_before + before) as u64,
            timeout: hosts.settings.timeout,
            parts: self.slot.shared.config.worker.parts,
            folder: hosts.settings.folder.as_os_str().as_bytes(),
            task: &hosts.settings.task,
        });
        if let Some(voice) = &mut *self.desk.voice() {
            voice.has_agent = true;
        }
        self.desk.say(&setup);
        if let Some(connection) = &mut self.connection
            && let ConnectionStage::Booting { _login, .. } =
                std::mem::replace(&mut connection.stage, ConnectionStage::Ready)
        {
            connection.stage = ConnectionStage::SetUp { _login };
        }
    }

    /// The agent takes jobs.
    pub(super) fn ready(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        connection.stage = ConnectionStage::Ready;
        self.record.boot_failures = 0;
        self.window = crate::link::window::AgentWindow::new(std::time::Instant::now());
        if !self.may_rerun() && !self.desk.is_server() {
            // All that it has when it is lost may have run.
            self.window.shut();
        }
        self.record.rate.begin(0, self.slot.now());
        // There may be more slots than were called.
        let fresh = self.slot.shared.queue.set_aside(self.slot.index);
        self.slot.shared.start_slots(fresh);
    }

    pub(super) fn timeout(&self) -> Duration {
        self.slot.shared.hosts.as_ref().map_or(Duration::MAX, |hosts| hosts.settings.timeout)
    }

    /// Some job has succeeded: a host on which all fail is not like the others.
    pub(super) fn note_success(&mut self) {
        self.record.streak = 0;
        self.record.has_succeeded = true;
        if let Some(hosts) = &self.slot.shared.hosts {
            hosts.has_succeeded.store(true, Ordering::Relaxed);
        }
    }
}
