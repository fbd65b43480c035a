//! [`Slot`]: the parts of every kind of slot, and the steps that every kind takes: take jobs, wait at the
//! gates, put jobs back, pause.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Args;
use crate::command::label::{LabelSize, label};
use crate::job::Job;
use crate::job::caller::{CallResult, Caller};
use crate::job::naming::{details, number};
use crate::pool::gates::Passage;
use crate::pool::gates::jobserver::Token;
use crate::pool::queue::{Ask, Taken};
use crate::pool::shared::Shared;
use crate::pool::slot::nursery::pass::NurseryPass;
use crate::pool::underway::{Responder, Underway};
use crate::process::Wake;
use crate::util::clock::Moment;
use crate::util::text::printable;

/// The request of a job is shown up to this many characters.
const SHOWN: usize = 100;

/// The room for the label of a job.
const LABEL: LabelSize = LabelSize { arg: 1_000, whole: 2_000 };

/// Nobody wakes a slot that takes no jobs when the others have taken the last one: it looks this often.
pub(super) const OVER_TICK: Duration = Duration::from_millis(100);

/// The parts of every kind of slot.
pub(super) struct Slot {
    /// Its place in the queue, from 0.
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) wake: Arc<Wake>,
    /// Jobs that were taken from the queue, and not begun yet.
    pub(super) jobs: VecDeque<Job>,
    /// When the next job is to be tried again. Perhaps no other slot is awake then.
    due: Moment,
    /// How many jobs are over that the queue still counts as running.
    pub(super) finished: usize,
    /// How many workers it has started.
    pub(super) generation: u64,
    /// The right to order workers from the nursery, once it has ordered one.
    pub(super) nursery: Option<NurseryPass>,
    /// The right to run a job, if `make` gives it.
    token: Option<Token>,
    /// Its place among those who wait to start a job.
    pub(super) ticket: Option<u64>,
    pub(super) responder: Responder,
    /// The other machine that a job ran on which is delivered next, and its slot there.
    pub(super) elsewhere: Option<(usize, Option<&'static str>)>,
    /// Answers that callers do not have yet. They get them once the queue knows that this slot is free:
    /// otherwise a caller's next job would start another worker.
    pub(super) answers: Vec<(Caller<Job>, CallResult, Option<Duration>)>,
}

impl Slot {
    pub(super) fn new(index: usize, shared: Arc<Shared>, wake: Arc<Wake>) -> Self {
        let responder = shared.roll_call.responder(shared.config.slots_before + index + 1);
        Self {
            index,
            shared,
            wake,
            jobs: VecDeque::new(),
            due: Moment::NEVER,
            finished: 0,
            generation: 0,
            nursery: None,
            token: None,
            ticket: None,
            responder,
            elsewhere: None,
            answers: Vec::new(),
        }
    }

    /// The number of the slot in messages and environments, from 1.
    pub(super) fn number(&self) -> usize {
        self.shared.config.slots_before + self.index + 1
    }

    pub(super) fn now(&self) -> Moment {
        self.shared.now()
    }

    /// When the next job is to be tried again. Perhaps no other slot is awake then.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Passes on the results that have been delivered.
    pub(super) fn flush(&mut self) {
        self.shared.deliveries.flush();
        if !self.answers.is_empty() {
            for (caller, answer, time) in self.answers.drain(..) {
                self.shared.deliveries.reply(caller, answer, time);
            }
        }
    }

    /// Answers the roll call for this number of slots, if there was one since the last answer.
    pub(super) fn answer_roll_call(
        &mut self,
        slots: usize,
        jobs: impl FnOnce(&Shared, usize) -> Vec<Underway>,
    ) {
        let shared = &*self.shared;
        shared.roll_call.answer(&mut self.responder, slots, |slot| jobs(shared, slot));
    }

    /// The slot has no job in flight: others may have the token of its last one.
    pub(super) fn give_token_back(&mut self) {
        self.token = None;
    }

    /// The slot does not ask the queue now, and so does not know of jobs that are to be tried again.
    pub(super) fn forget_due(&mut self) {
        self.due = Moment::NEVER;
    }

    /// Takes jobs from the queue.
    pub(super) fn take(&mut self, ask: Ask) -> Taken {
        let (taken, due) = self.take_for(self.index, ask);
        self.due = due;
        if taken == Taken::Jobs {
            self.shared.deliveries.begun(self.number(), &self.jobs);
        }
        taken
    }

    /// Takes jobs from the queue for the slot with this index. Also returns when to come back if nothing else happens.
    pub(super) fn take_for(&mut self, index: usize, ask: Ask) -> (Taken, Moment) {
        let Self { shared, ticket, wake, jobs, .. } = self;
        let clock = &shared.groups.clock;
        let take = || {
            let (taken, due, fresh) = shared.queue.take(index, ask, jobs);
            (taken, (due, fresh))
        };
        let (taken, (due, fresh)) = shared.gates.take_in_order(ticket, clock, wake, take);
        if !fresh.is_empty() {
            shared.start_slots(fresh);
        }
        (taken, due)
    }

    /// Whether more jobs may come. Takes none.
    pub(super) fn may_get_jobs(&mut self) -> bool {
        let ask = Ask {
            warm: false,
            busy: true,
            finished: std::mem::take(&mut self.finished),
            now: self.now(),
            max: 0,
            max_bytes: 0,
            portion: 1,
            shares: 0,
            holder: self.index,
        };
        self.take(ask) != Taken::Leave
    }

    /// Waits for a wake-up, or until a job is to be tried again.
    pub(super) fn pause_until_due(&self) {
        match self.due {
            Moment::NEVER => self.wake.wait(None),
            due => self.wake.wait(due.until(self.now())),
        }
    }

    /// Waits for this long, or until the run is ended.
    pub(super) fn pause(&self, time: Duration) {
        let end = self.now().after(time);
        while let Some(left) = end.until(self.now()).filter(|left| !left.is_zero()) {
            if self.shared.stopping.has_begun() {
                break;
            }
            self.wake.wait(Some(left));
        }
    }

    /// Puts jobs back into the queue. If the run was ended they are dropped.
    pub(super) fn put_back(&self, jobs: impl DoubleEndedIterator<Item = Job>) {
        let left = self.shared.queue.put_back(self.index, jobs);
        self.shared.drop_jobs(left);
    }

    /// Forgets the jobs in hand whose callers are gone. Returns whether none is left.
    pub(super) fn forget_abandoned(&mut self) -> bool {
        let before = count(&self.jobs);
        let index = self.index;
        self.jobs.retain(|job| {
            if let Some(caller) = &job.caller {
                caller.is_at(index);
            }
            !job.is_abandoned()
        });
        self.finished += before - count(&self.jobs);
        self.jobs.is_empty()
    }

    /// Waits until the jobs in hand may start. If the run ends before that, or nobody wants them to start,
    /// they are dropped. Returns whether the jobs may start.
    pub(super) fn pass_gates(&mut self) -> bool {
        if !self.shared.gates.any() {
            return true;
        }
        if self.forget_abandoned() {
            self.shared.gates.forgo_turn(&mut self.ticket);
            return false;
        }
        self.flush();
        let shared = &*self.shared;
        let jobs = &self.jobs;
        let is_over = || shared.stopping.has_begun() || jobs.iter().all(Job::is_unwanted);
        let clock = &shared.groups.clock;
        let ticket = &mut self.ticket;
        match shared.gates.pass(clock, &*shared.watcher, &self.wake, ticket, is_over) {
            Passage::Free => self.token = None,
            Passage::With(token) => self.token = Some(token),
            Passage::Closed => {
                self.forget_abandoned();
                self.drop_jobs();
                return false;
            }
        }
        true
    }

    /// Drops the jobs in hand: the run is over, or they are wanted back.
    pub(super) fn drop_jobs(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        self.finished += count(&jobs);
        self.shared.drop_jobs(jobs);
    }

    /// Calls other slots for the jobs that wait: this one has something else to do.
    pub(super) fn step_aside(&self) {
        let fresh = self.shared.queue.set_aside(self.index);
        self.shared.start_slots(fresh);
    }
}

/// How many jobs there are. Each job of a bundle counts.
fn count(jobs: &VecDeque<Job>) -> usize {
    jobs.iter().map(Job::count).sum()
}

/// Takes bundles apart: the jobs one by one.
pub(super) fn unbundled(jobs: VecDeque<Job>) -> VecDeque<Job> {
    let mut each = VecDeque::with_capacity(count(&jobs));
    for mut job in jobs {
        while job.count() > 1 {
            each.push_back(job.split_off_first(1));
        }
        each.push_back(job);
    }
    each
}

/// The entry in the roll call for a job that has run since this moment.
pub(super) fn underway(
    shared: &Shared,
    job: &Job,
    slot: usize,
    pid: u32,
    since: Moment,
) -> Underway {
    let what = match (&shared.config.commands, job.as_message()) {
        (Some(commands), _) => commands.line(job, slot).0,
        (None, Some(message)) => message.to_vec(),
        (None, None) => {
            let cmd = serde_json::from_slice::<String>(job.cmd()).unwrap_or_default();
            [cmd.as_bytes(), b" ", job.args()].concat()
        }
    };
    Underway {
        seq: number(job),
        slot,
        pid,
        host: None,
        label: label(shared.config.commands.as_deref(), job, slot, LABEL),
        details: details(job, shared.deliveries.sources()),
        job: shared.deliveries.name(job),
        what: shown(&what),
        args: shown(&args_of(shared, job)),
        is_starting: false,
        time: shared.now().since(since),
        waiting: 0,
    }
}

/// The args of a job with blanks between them, or its message.
fn args_of(shared: &Shared, job: &Job) -> Vec<u8> {
    if let Some(message) = job.as_message() {
        return message.to_vec();
    }
    let args = match &shared.config.commands {
        Some(commands) => commands.args(job),
        None => Args::from_json(job.args()),
    };
    args.map(|args| args.all().collect::<Vec<_>>().join(&b' ')).unwrap_or_default()
}

/// Text of a job as it is shown: on one line, and not too long.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN)]);
    let mut shown = printable(&text.chars().take(SHOWN).collect::<String>());
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}
