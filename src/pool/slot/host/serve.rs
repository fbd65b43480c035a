//! The rounds of the thread of another machine: it asks the queue for each of its slots, sends the
//! jobs to the agent, and waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ServerLine;
use crate::job::call::FIRST_CALL;
use crate::job::{Failure, Job, Kind};
use crate::link::frame::LONGEST;
use crate::link::ledger::JobLedger;
use crate::link::to_agent::{ToAgent, put_job};
use crate::pool::queue::{Ask, Taken};
use crate::pool::shared::Shared;
use crate::pool::shared::hosts::{Desk, HostVoice};
use crate::pool::slot::deliver::Attempt;
use crate::pool::slot::host::state::HostSlot;
use crate::pool::slot::steps::{self, OVER_TICK, Slot};
use crate::pool::underway::Underway;
use crate::process::Wake;
use crate::util::clock::Moment;
use crate::util::setting::Setting;

/// An agent has this many bytes of jobs at most, and one job.
const MOST_BYTES: usize = 4 << 20;

/// How many jobs are worth a message.
const PORTION: usize = 16;

/// How often it is looked whether another host has finished its login.
const LOGIN_TICK: Duration = Duration::from_millis(50);

/// How many more jobs an agent may have.
#[derive(Clone, Copy)]
struct HostRoom {
    jobs: usize,
    /// They are shared out evenly.
    is_shared: bool,
}

/// Why a machine needs its thread no more.
pub(crate) enum HostEnd {
    /// Its slots have left.
    Left,
    /// It is quiet: the minder may serve it.
    Quiet(Box<HostSlot>),
}

impl HostSlot {
    /// The slots of a machine, which nobody serves yet.
    pub(crate) fn begin(
        index: usize,
        shared: Arc<Shared>,
        desk: Arc<Desk>,
        wake: Arc<Wake>,
    ) -> Box<Self> {
        // Only this machine and the first slot have numbers of their own.
        Box::new(Self::new(Slot::new(index, shared, wake), desk))
    }

    /// Serves the slots of a machine until the queue is closed and empty, or the machine is quiet.
    pub(crate) fn run(mut self: Box<Self>) -> HostEnd {
        if let Some(hitch) = self.record.hitch.take() {
            self.failed(&hitch);
        }
        self.record.rate.begin(self.window.total(), self.slot.now());
        loop {
            while self.turn() {
                if self.is_quiet() {
                    // The results so far are those of this thread.
                    self.slot.flush();
                    return HostEnd::Quiet(self);
                }
            }
            self.slot.flush();
            // The connection is ended when the slots are gone, and the run waits for that as well.
            let shared = Arc::clone(&self.slot.shared);
            shared.queue.retiring();
            let has_left = self.desk.leave(|index| shared.queue.leave(index, || shared.renew()));
            if has_left {
                self.finish();
                shared.queue.retired(|| shared.renew());
                return HostEnd::Left;
            }
            shared.queue.retired(|| shared.renew());
        }
    }

    /// One round: take jobs, send them, wait, deal with the events. Returns whether there is anything left
    /// to do.
    fn turn(&mut self) -> bool {
        self.admit();
        self.answer_roll_call();
        match &self.connection {
            None if self.preparation.is_some() => self.await_preparation(),
            None => self.stay_away(),
            Some(connection) if !connection.is_ready() => self.boot(),
            Some(_) => self.work(),
        }
    }

    pub(super) fn answer_roll_call(&mut self) {
        let (ledger, desk, pids) = (&self.ledger, &self.desk, &self.said.pids);
        let (slots, at_a_time) = (desk.count(), self.window.on_at_a_time());
        self.slot
            .answer_roll_call(slots, |shared, _| underway(shared, ledger, at_a_time, desk, pids));
    }

    /// Takes note of slots that were called.
    pub(super) fn admit(&mut self) {
        let fresh = self.desk.take_calls();
        if fresh.is_empty() {
            return;
        }
        if self.is_ready() {
            self.idle.extend(fresh);
        } else {
            self.busy.extend(fresh);
            self.step_aside();
        }
    }

    fn ask(&mut self, busy: bool, room: HostRoom) -> Ask {
        let HostRoom { jobs: max, is_shared } = room;
        Ask {
            warm: true,
            busy,
            finished: std::mem::take(&mut self.slot.finished),
            now: self.slot.now(),
            max,
            max_bytes: MOST_BYTES.saturating_sub(self.ledger.bytes()).max(1),
            portion: PORTION,
            shares: if is_shared { self.capacity } else { 0 },
            holder: self.slot.index,
        }
    }

    /// One round without a connection. Returns whether there is anything left to do.
    fn stay_away(&mut self) -> bool {
        let is_over = self.slot.shared.stopping.has_begun() || !self.slot.may_get_jobs();
        if is_over {
            return false;
        }
        if self.record.is_set_aside {
            self.slot.wake.wait(Some(OVER_TICK));
            return true;
        }
        let wait = self.record.retry_at.since(self.slot.now());
        if !wait.is_zero() {
            self.slot.wake.wait(Some(wait.min(OVER_TICK)));
            return true;
        }
        let Some(hosts) = self.slot.shared.hosts.clone() else { return false };
        match hosts.begin_login() {
            Some(login) if self.desk.host.before.is_empty() || self.record.is_prepared => {
                self.connect(&hosts, login);
            }
            Some(login) => self.prepare(&hosts, login),
            None => self.slot.wake.wait(Some(LOGIN_TICK)),
        }
        true
    }

    /// One round with an agent that takes jobs. Returns whether there is anything left to do.
    fn work(&mut self) -> bool {
        let is_left = self.converse();
        if is_left {
            self.attend(Moment::NEVER);
        }
        is_left
    }

    /// Takes jobs, and says all that is to be said to an agent that takes jobs. Returns whether there is
    /// anything left to do.
    pub(super) fn converse(&mut self) -> bool {
        self.pass_stop_on();
        if self.said.stop.is_some() {
            self.give_up_turn();
            self.is_leaving = !self.slot.may_get_jobs();
        } else if self.send_in_turn() {
            self.take();
        }
        if self.is_leaving && self.ledger.unfinished() == 0 {
            return false;
        }
        self.speak();
        true
    }

    /// Takes as many jobs as the agent may have now.
    fn take(&mut self) {
        self.free_slots();
        self.is_leaving = false;
        // Each idle slot must ask: the queue may wait for any of them.
        for index in std::mem::take(&mut self.idle) {
            let has_room = self.ledger.unfinished() < self.capacity;
            if has_room && !self.is_leaving && self.slot.jobs.is_empty() {
                let room = self.room();
                if self.take_for(index, false, room) {
                    self.busy.push(index);
                    continue;
                }
                self.idle.push(index);
            } else {
                let fresh = self.slot.shared.queue.set_aside(index);
                self.slot.shared.start_slots(fresh);
                self.busy.push(index);
            }
        }
        let room = self.room();
        if self.idle.is_empty() && room.jobs > 0 && !self.slot.shared.gates.have_interval() {
            self.take_for(self.slot.index, true, room);
        }
    }

    /// Has as many slots ask for jobs as the agent has free.
    fn free_slots(&mut self) {
        let busy = self.ledger.unfinished().min(self.capacity);
        let surplus = self.busy.len().saturating_sub(busy);
        let spare = self.slots().saturating_sub(self.capacity);
        let free = surplus.saturating_sub(spare.min(surplus));
        let at = self.busy.len() - free;
        self.idle.extend(self.busy.drain(at..));
    }

    fn slots(&self) -> usize {
        self.busy.len() + self.idle.len()
    }

    /// How many more jobs the agent may have: those that its workers work on at a time are shared out, further ones
    /// wait there if jobs are quick.
    fn room(&self) -> HostRoom {
        let unfinished = self.ledger.unfinished();
        let at_a_time = self.window.at_a_time(self.capacity);
        if at_a_time > self.capacity && at_a_time > unfinished {
            return HostRoom { jobs: at_a_time - unfinished, is_shared: true };
        }
        let jobs = (self.capacity + self.window.ahead()).saturating_sub(unfinished);
        HostRoom { jobs, is_shared: false }
    }

    /// Takes jobs for a slot, and sends them. Returns whether there were any.
    fn take_for(&mut self, index: usize, busy: bool, room: HostRoom) -> bool {
        let has_interval = self.slot.shared.gates.have_interval();
        let jobs = if has_interval { 1 } else { room.jobs };
        let ask = self.ask(busy, HostRoom { jobs, ..room });
        let (taken, due) = self.slot.take_for(index, ask);
        self.said.due = due;
        match taken {
            Taken::Leave => {
                self.is_leaving = true;
                return false;
            }
            Taken::Wait => return false,
            Taken::Jobs => {}
        }
        self.send_in_turn();
        true
    }

    /// Sends the jobs in hand, if it is the time for it. Returns whether none is left. The load and the
    /// memory that jobs wait for are those of the machine that runs them.
    fn send_in_turn(&mut self) -> bool {
        if self.slot.jobs.is_empty() {
            return true;
        }
        let Slot { shared, ticket, wake, .. } = &mut self.slot;
        if let Some(due) = shared.gates.ask_for_turn(ticket, &shared.groups.clock, wake) {
            self.said.turn_at = due;
            return false;
        }
        self.said.turn_at = Moment::NEVER;
        self.send_jobs();
        true
    }

    /// Sends the jobs in hand to the agent.
    fn send_jobs(&mut self) {
        self.send_header();
        let longest = self.desk.host.line.as_ref().map_or(LONGEST, ServerLine::longest);
        while let Some(mut job) = self.slot.jobs.pop_front() {
            if job.caller.is_some() {
                job.seq = FIRST_CALL + self.said.calls.count;
                self.said.calls.count += 1;
            }
            if job.is_abandoned() {
                self.slot.finished += 1;
                continue;
            }
            let own_timeout = job.timeout;
            if self.desk.is_server() {
                // Its callers have timeouts of their own.
                job.timeout = own_timeout.or_else(|| self.slot.shared.estimates.timeout());
            }
            let len =
                self.desk.voice().as_mut().map_or(0, |voice| put_within(&job, longest, voice));
            job.timeout = own_timeout;
            if len <= longest {
                self.ledger.send(job);
            } else {
                self.refuse(job, len, longest);
            }
        }
    }

    /// A job is longer than the agent takes, and fails.
    fn refuse(&mut self, job: Job, len: usize, longest: usize) {
        let title = self.desk.title();
        let failure = Failure::new(
            Kind::Invalid,
            format!(
                "the job has {len} bytes, and {title} takes {longest} at most: a larger {} there allows more",
                Setting::MaxLine
            ),
        );
        for job in job.into_singles() {
            let attempt = Attempt::at_once(0, self.slot.now());
            self.slot.deliver(attempt, job, Err(&failure), None);
        }
    }

    /// Sends the names of the args, once they are known.
    fn send_header(&mut self) {
        if self.said.header {
            return;
        }
        let commands = self.slot.shared.config.commands.as_ref();
        if let Some(names) = commands.and_then(|commands| commands.header.get()) {
            let names = names.iter().map(Vec::as_slice).collect();
            self.desk.say(&ToAgent::Header(names));
            self.said.header = true;
        }
    }
}

/// Appends a job to what is said, unless it is longer than this. Returns how many bytes it has.
fn put_within(job: &Job, longest: usize, voice: &mut HostVoice) -> usize {
    let before = voice.end().len();
    put_job(job, voice.end());
    let len = voice.end().len() - before;
    if len > longest {
        voice.end().truncate(before);
    }
    len
}

/// The jobs that a host has begun.
fn underway(
    shared: &Shared,
    ledger: &JobLedger,
    at_a_time: usize,
    desk: &Desk,
    pids: &HashMap<u64, u32>,
) -> Vec<Underway> {
    let mut jobs = Vec::new();
    ledger.each_running(at_a_time, |slot, job, since| {
        let pid = pids.get(&slot).copied().unwrap_or_default();
        let slot = usize::try_from(slot).unwrap_or_default();
        let one = steps::underway(shared, job, slot, pid, since);
        jobs.push(Underway { host: desk.label(), ..one });
    });
    jobs
}
