//! A host that is lost, fails or is of no use: its jobs go to others, it is tried again after a growing
//! pause, or set aside.

use std::sync::Arc;
use std::time::Duration;

use crate::job::{Failure, Job, Kind};
use crate::pool::slot::deliver::{Attempt, running_at_end};
use crate::pool::slot::host::record::Hitch;
use crate::pool::slot::host::state::HostSlot;
use crate::pool::slot::steps::unbundled;
use crate::process::{Stop, describe};
use crate::util::text::printable;

/// A job that was running on this many machines when they were lost fails.
const MOST_LOSSES: u32 = 3;

/// The pause before a lost host is tried again. It doubles with each further time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A host that can't be reached this many times in a row is set aside.
const MOST_BOOT_FAILURES: u32 = 3;

/// So is a host that is lost this many times in a row without having finished a job.
const MOST_IDLE_LOSSES: u32 = 6;

/// So is a host on which this many jobs have failed and none has succeeded, while some have elsewhere.
const SHORTEST_STREAK: usize = 10;

/// A launcher that has closed its stdout has this long to end by itself, so that its status says why.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// An agent that has nothing left to do, or is killed, has this long to say so.
const KILL_PATIENCE: Duration = Duration::from_millis(500);

impl HostSlot {
    /// Nothing more comes from the host: says why as well as that can be known.
    pub(super) fn closed(&mut self) {
        let Some(hosts) = self.slot.shared.hosts.clone() else { return };
        let Some(connection) = self.connection.take() else { return };
        let was_ready = connection.is_ready();
        let (status, words) = connection.end(&self.desk, &hosts, Stop::Retire, LAST_WORDS);
        if self.desk.is_server() {
            return self.fail(&Hitch::lasting("it has ended"), was_ready);
        }
        let last = words.lines().last().map(|line| format!(": {}", printable(line)));
        let launcher = self.desk.host.launcher.first();
        let name = launcher.map(|word| word.to_string_lossy()).unwrap_or_default();
        let why = format!("{name} {}{}", describe(status), last.unwrap_or_default());
        let code = status.and_then(|status| status.code());
        let is_lasting = !was_ready && (matches!(code, Some(126 | 127)) || is_refusal(&words));
        self.fail(&Hitch { why, is_lasting }, was_ready);
    }

    /// The connection is of no use any more, or there is none.
    pub(super) fn failed(&mut self, hitch: &Hitch) {
        let was_ready = self.is_ready();
        if let (Some(connection), Some(hosts)) = (self.connection.take(), &self.slot.shared.hosts) {
            connection.end(&self.desk, hosts, Stop::Kill, Duration::ZERO);
        }
        self.fail(hitch, was_ready);
    }

    fn fail(&mut self, hitch: &Hitch, was_ready: bool) {
        *self.desk.voice() = None;
        let had_jobs = self.ledger.unfinished();
        self.give_jobs_back(&hitch.why);
        if self.slot.shared.stopping.has_begun() {
            return self.step_aside();
        }
        if self.desk.is_server() {
            self.record.is_set_aside = true;
            self.lose_server(&hitch.why);
            return self.step_aside();
        }
        if was_ready || had_jobs > 0 {
            self.record.idle_losses += 1;
        } else {
            self.record.boot_failures += 1;
        }
        let has_given_up = self.record.boot_failures >= MOST_BOOT_FAILURES
            || self.record.idle_losses >= MOST_IDLE_LOSSES;
        if hitch.is_lasting || has_given_up {
            self.set_aside(&hitch.why);
        } else {
            self.try_later(hitch, had_jobs);
        }
        self.step_aside();
    }

    /// The server is gone, and nobody else runs the jobs.
    fn lose_server(&self, why: &str) {
        let message = format!("{} is lost: {why}", self.desk.title());
        self.slot.shared.give_up(&Failure::new(Kind::Lost, message));
    }

    fn try_later(&mut self, hitch: &Hitch, had_jobs: usize) {
        let failures = self.record.boot_failures.max(self.record.idle_losses);
        let pause = FIRST_PAUSE * 2_u32.pow(failures.saturating_sub(1).min(16));
        let pause = pause.min(LONGEST_PAUSE);
        self.record.retry_at = self.slot.now().after(pause);
        let name = self.desk.name;
        let jobs = match had_jobs {
            0 => String::new(),
            _ if !self.may_rerun() => String::new(),
            1 => "; its job goes to another slot".to_owned(),
            count => format!("; its {count} jobs go to other slots"),
        };
        self.slot.shared.watcher.note(&format!(
            "{name} is lost: {}{jobs}; it is tried again in {}",
            hitch.why,
            humantime::format_duration(pause)
        ));
    }

    /// The host runs no jobs any more. Without any other the run ends.
    pub(super) fn set_aside(&mut self, why: &str) {
        if std::mem::replace(&mut self.record.is_set_aside, true) {
            return;
        }
        let shared = Arc::clone(&self.slot.shared);
        let Some(hosts) = &shared.hosts else { return };
        shared.watcher.note(&format!("{} is set aside: {why}", self.desk.name));
        if hosts.set_aside() == 0 {
            let message = match hosts.settings.count() {
                1 => "the only host is set aside".to_owned(),
                count => format!("all {count} hosts are set aside"),
            };
            let message = format!("{message}, and jobs are left: there is nowhere to run them");
            shared.give_up(&Failure::new(Kind::Spawn, message));
        }
    }

    /// The host is of no use, as the agent says, or as its results show. It has a connection.
    pub(super) fn turn_away(&mut self, why: &str) {
        if self.desk.is_server() {
            // No worker starts there: that is the end of the run, as it would be here.
            self.record.is_set_aside = true;
            self.slot.shared.give_up(&Failure::new(Kind::Spawn, why));
        }
        self.failed(&Hitch::lasting(why));
    }

    /// The jobs of a lost agent go back. Those that it ran may have done harm: they go back a few times.
    pub(super) fn give_jobs_back(&mut self, why: &str) {
        self.give_up_turn();
        let at_a_time = self.window.on_at_a_time();
        let lost = self.ledger.lose(at_a_time);
        self.printed.clear();
        self.slot.flush();
        let said = std::mem::take(&mut self.said);
        if said.hoard {
            self.slot.shared.queue.set_hoarding(self.slot.index, false);
        }
        if let Some(sink) = self.slot.shared.deliveries.sink() {
            said.unproven.iter().for_each(|&number| sink.unprovable(number));
        }
        let (mut back, mut joint) = (Vec::new(), Vec::new());
        for mut job in lost.ran {
            job.losses += 1;
            // Any of those that were in one process may be the cause: the next time each is alone in its process.
            job.is_suspect |= at_a_time > 1;
            match self.end_of(&job, why) {
                None if job.singles().len() > 1 => joint.push(job),
                None => back.push(job),
                Some(failure) => self.deliver_lost(job, &failure),
            }
        }
        if self.desk.is_server() || self.may_rerun() {
            back.extend(lost.waited);
        } else {
            // Its agent may have begun them, and could not say so any more.
            let message = format!("{}, which may have run it, was lost: {why}", self.desk.title());
            let failure = Failure::new(Kind::Lost, message);
            let jobs = unbundled(lost.waited.into());
            jobs.into_iter().for_each(|job| self.deliver_lost(job, &failure));
        }
        back.sort_by_key(|job| job.seq);
        self.slot.put_back(back.into_iter());
        // Any of the jobs of a joint job may be the cause: each is asked for alone.
        for job in joint {
            match self.slot.shared.queue.split(self.slot.index, job) {
                Ok(fresh) => self.slot.shared.start_slots(fresh),
                Err(job) => {
                    self.slot.finished += 1;
                    self.slot.shared.drop_jobs([*job]);
                }
            }
        }
        self.slot.flush();
    }

    fn deliver_lost(&mut self, job: Job, failure: &Failure) {
        let attempt = Attempt::at_once(0, self.slot.now());
        self.slot.deliver(attempt, job, Err(failure), None);
    }

    /// Whether a job that may have run on a lost host may run again.
    pub(super) fn may_rerun(&self) -> bool {
        self.slot.shared.hosts.as_ref().is_some_and(|hosts| hosts.settings.rerun)
    }

    /// Why a job that ran on a lost host is not run again, if it is not.
    fn end_of(&self, job: &Job, why: &str) -> Option<Failure> {
        let shared = &*self.slot.shared;
        let name = self.desk.title();
        if shared.stopping.has_begun() {
            return Some(running_at_end());
        }
        let message = match job.losses {
            _ if !self.may_rerun() => format!("{name}, which ran it, was lost: {why}"),
            MOST_LOSSES.. => {
                let count = job.losses;
                format!("{count} machines that ran it were lost, the last one was {name}: {why}")
            }
            _ => return None,
        };
        Some(Failure::new(Kind::Lost, message))
    }

    /// A job has failed here. A host on which all jobs fail is of no use.
    pub(super) fn note_failure(&mut self, kind: Kind) {
        if matches!(kind, Kind::Invalid | Kind::Cancelled) {
            return;
        }
        self.record.streak += 1;
        let hosts = self.slot.shared.hosts.as_ref();
        let others = hosts
            .is_some_and(|hosts| hosts.has_succeeded.load(std::sync::atomic::Ordering::Relaxed));
        if others
            && !self.record.has_succeeded
            && self.record.streak >= SHORTEST_STREAK.max(2 * self.capacity)
        {
            let count = self.record.streak;
            self.record.is_unfit = Some(format!("all {count} jobs that it ran have failed"));
        }
    }

    /// The slots are gone: the agent ends its workers, and then itself.
    pub(super) fn finish(mut self) {
        let Some(hosts) = self.slot.shared.hosts.clone() else { return };
        let grace = self.slot.shared.config.grace;
        if self.is_ready() {
            self.desk.say(&crate::link::to_agent::ToAgent::Finish);
            let mut end = self.slot.now().after(2 * grace + self.timeout());
            while !self.record.has_said_bye && self.is_ready() && self.slot.now() < end {
                if self.slot.shared.groups.is_killing() {
                    end = end.min(self.slot.now().after(KILL_PATIENCE));
                }
                self.pass_stop_on();
                self.attend(end);
            }
        }
        if let Some(connection) = self.connection.take() {
            // A login that is not needed any more may have left a part of a copy.
            let (said_bye, was_ready) = (self.record.has_said_bye, connection.is_ready());
            let first = if said_bye {
                Stop::Retire
            } else if was_ready {
                Stop::Kill
            } else {
                Stop::Terminate
            };
            connection.end(&self.desk, &hosts, first, FIRST_PAUSE);
        }
    }
}

/// Whether the last words of a launcher say that it would be the same another time.
fn is_refusal(words: &str) -> bool {
    const REFUSALS: [&str; 7] = [
        "Permission denied",
        "Host key verification failed",
        "Could not resolve hostname",
        "Too many authentication failures",
        "No such container",
        "Bad configuration option",
        "Cannot open network namespace",
    ];
    REFUSALS.iter().any(|refusal| words.contains(refusal))
}
