//! The end of a worker that had jobs: its cause, the job that is charged with it, and where its other
//! jobs go.

use std::process::ExitStatus;
use std::time::Duration;

use crate::job::{Failure, Kind, Why};
use crate::pool::shared::Shared;
use crate::pool::slot::deliver::running_at_end;
use crate::pool::slot::doubt::{
    accept_results, doubt_for, drop_records, report_ahead, report_unasked,
};
use crate::pool::slot::retire::report_end;
use crate::pool::slot::steps::Slot;
use crate::process::stops::Stopped;
use crate::process::{Stop, Transfer, describe_exited};
use crate::util::text::quote;
use crate::worker::{Flight, Violation, Worker};

/// A process whose pipes have closed has this long to exit, so that its status is known.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// A worker that was told to cancel its job has this long to end, before it gets TERM.
const CANCEL_PATIENCE: Duration = Duration::from_millis(500);

/// The sign that a worker is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndSign {
    Exited,
    ClosedStdout,
    ClosedStdin,
    /// It was stopped because it wanted the terminal, and will not go on.
    Stopped(Stopped),
}

impl EndSign {
    fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// What happened, after "the worker (pid N)".
    fn describe(&self, has_exited: bool, status: Option<ExitStatus>) -> String {
        match self {
            _ if has_exited => describe_exited(status),
            Self::ClosedStdin => "closed its stdin but went on running".to_owned(),
            Self::Stopped(stopped) => stopped.to_string(),
            Self::Exited | Self::ClosedStdout => "closed its stdout but went on running".to_owned(),
        }
    }
}

impl Slot {
    /// Ends a worker that can't go on. Its oldest job fails, or is forgotten if there is no failure.
    /// Its other jobs go to other workers.
    pub(super) fn fail_oldest(&mut self, mut worker: Worker, failure: Option<&Failure>) {
        worker.set_why(why_for(failure));
        report_ahead(&self.shared, &mut worker);
        let is_late = failure.is_none_or(|failure| failure.kind == Kind::Timeout);
        let is_asked = is_late && worker.cancel_oldest();
        if let Some(flight) = worker.take_oldest() {
            match failure {
                Some(failure) => self.deliver_failure(worker.process.pid(), flight, failure),
                None => self.finished += 1,
            }
        }
        self.fail_cancelled(&mut worker);
        self.put_back(worker.take_jobs().into_iter());
        if is_asked {
            self.leave_time_to_cancel(&mut worker);
        }
        self.dismiss(worker, first_step(failure));
    }

    /// Ends a worker that can't go on, and that works on several jobs at a time. Those jobs fail that it has
    /// read and that may be at fault. Its other jobs go to other workers.
    pub(super) fn fail_some(
        &mut self,
        mut worker: Worker,
        failure: &Failure,
        may_be_at_fault: impl Fn(&Flight) -> bool,
    ) {
        worker.set_why(why_for(Some(failure)));
        report_ahead(&self.shared, &mut worker);
        let taken = worker.bytes_read();
        self.put_back(worker.take_unread(taken).into_iter());
        self.fail_cancelled(&mut worker);
        let failed = worker.flights.take_failed(may_be_at_fault);
        let failure = one_of(failure, failed.len());
        for flight in failed {
            self.deliver_failure(worker.process.pid(), flight, &failure);
        }
        self.put_back(worker.take_jobs().into_iter());
        self.dismiss(worker, first_step(Some(&failure)));
    }

    /// Waits a while for a worker that was asked to end its work, and finds the end of its stdin.
    fn leave_time_to_cancel(&mut self, worker: &mut Worker) {
        self.step_aside();
        self.flush();
        worker.process.close_stdin();
        let shared = &*self.shared;
        let patience = shared.config.grace.min(CANCEL_PATIENCE);
        worker.await_exit(&shared.groups, Some(&self.wake), patience, &*shared.watcher);
    }

    /// Delivers the failures of the jobs that a worker was told to end.
    fn fail_cancelled(&mut self, worker: &mut Worker) {
        let pid = worker.process.pid();
        for (flight, failure) in worker.flights.take_all_cancelled() {
            self.deliver_failure(pid, flight, &failure);
        }
    }

    /// Ends a worker whose jobs have used up the time that they had after the end of the run.
    pub(super) fn cancel(&mut self, mut worker: Worker) {
        worker.set_why(Why::Cancelled);
        report_ahead(&self.shared, &mut worker);
        self.cancel_jobs(&mut worker);
        let means = self.shared.stopping.means();
        self.dismiss(worker, means);
    }

    fn cancel_jobs(&mut self, worker: &mut Worker) {
        let failure = running_at_end();
        while let Some(flight) = worker.take_oldest() {
            self.deliver_failure(worker.process.pid(), flight, &failure);
        }
    }

    /// Deals with a worker that has exited, or closed a pipe, which means the same.
    pub(super) fn worker_ended(&mut self, mut worker: Worker, end: &EndSign) {
        let was_idle = worker.flights.is_empty();
        if worker.replies() > 0 {
            // Other workers take the jobs that it has not read. They need not wait for its end.
            let taken = worker.bytes_read();
            self.put_back(worker.take_unread(taken).into_iter());
        }
        self.step_aside();
        // Its end may take as long as that of a worker that is dismissed.
        self.flush();
        let has_exited =
            *end == EndSign::Exited || (!end.is_stopped() && self.await_exit(&mut worker));
        let taken = worker.bytes_read();
        if !has_exited && !end.is_stopped() && worker.flights.is_empty() {
            return self.replace_idle(worker, end);
        }
        worker.note_end();
        let first = if has_exited { Stop::Kill } else { Stop::Terminate };
        let status = self.stop(&mut worker, first);
        let violation = self.take_last_replies(&mut worker);
        report_ahead(&self.shared, &mut worker);
        let is_killing = self.shared.groups.is_killing();
        worker.set_why(if is_killing { Why::Cancelled } else { Why::Died });
        report_end(&self.shared, &worker);
        // This must come after the last replies: they change which job is the oldest.
        let begun = worker.had_begun(taken);
        let what = end.describe(has_exited, status);
        let message = format!("the worker (pid {}) {what}", worker.process.pid());
        if worker.flights.is_empty() {
            let is_well = status.is_some_and(|status| status.success()) && !end.is_stopped();
            self.ended_without_job(worker, end, (!is_well && was_idle).then_some(message));
        } else if let Some(violation) = violation.filter(|violation| violation.is_surplus) {
            let failure = surplus_at_end(&self.shared, &mut worker, &violation, &message);
            self.charge(worker, true, failure);
        } else {
            let message = before_its_answer(message, &worker, end);
            self.charge(worker, begun, Failure::new(Kind::Crash, message));
        }
    }

    fn await_exit(&self, worker: &mut Worker) -> bool {
        let shared = &*self.shared;
        worker.await_exit(&shared.groups, Some(&self.wake), EXIT_PATIENCE, &*shared.watcher)
    }

    fn stop(&self, worker: &mut Worker, first: Stop) -> Option<ExitStatus> {
        let shared = &*self.shared;
        let grace = shared.config.grace;
        worker.process.stop(first, grace, &shared.groups, Some(&self.wake), &*shared.watcher)
    }

    /// Replaces a worker that closed a pipe while it had no job and went on running.
    fn replace_idle(&mut self, worker: Worker, end: &EndSign) {
        let pipe = if *end == EndSign::ClosedStdin { "stdin" } else { "stdout" };
        self.shared.watcher.note(&format!(
            "in slot {}, the worker (pid {}) closed its {pipe} between two jobs but went on \
             running: it is replaced",
            self.number(),
            worker.process.pid()
        ));
        self.retire(worker);
    }

    /// Reports on a worker that has ended without a job: output that nobody asked for, and the
    /// `trouble` that it had while it was idle.
    fn ended_without_job(&self, mut worker: Worker, end: &EndSign, trouble: Option<String>) {
        let shared = &*self.shared;
        if shared.groups.is_killing() {
            return drop_records(shared, &mut worker);
        }
        if worker.unasked_at_end().is_empty() {
            accept_results(shared, &mut worker);
        } else {
            report_unasked(shared, &mut worker);
        }
        if let Some(message) = trouble {
            let slot = self.number();
            let advice = advice_after(end);
            shared.watcher.note(&format!("in slot {slot}, {message} while it had no job{advice}"));
        }
    }

    /// Charges the jobs that a worker's death may be due to. That is the oldest job if the worker had
    /// begun to read it, or had printed something in place of its reply; the others go back.
    fn charge(&mut self, mut worker: Worker, begun: bool, failure: Failure) {
        // A worker that has read its next request, and then printed nothing before its end, has
        // answered the earlier requests.
        if begun && worker.is_on_one() && worker.unparsed().is_empty() {
            accept_results(&self.shared, &mut worker);
        } else {
            drop_records(&self.shared, &mut worker);
        }
        if self.shared.groups.is_killing() {
            return self.cancel_jobs(&mut worker);
        }
        let replies = worker.replies();
        let failures_before = worker.failures_before;
        if begun && worker.is_unordered() {
            let taken = worker.bytes_read();
            self.put_back(worker.take_unread(taken).into_iter());
        }
        self.fail_cancelled(&mut worker);
        // If the worker works on several jobs at a time, each of them is charged.
        let charged = match (begun, worker.is_unordered()) {
            (true, true) => worker.flights.take_failed(|_| true),
            (true, false) => worker.take_oldest().into_iter().collect(),
            (false, _) => Vec::new(),
        };
        let charge = one_of(&failure, charged.len());
        for flight in charged {
            self.deliver_failure(worker.process.pid(), flight, &charge);
        }
        let others = worker.take_jobs();
        drop(worker);
        // A worker that had begun its job had started: that job is charged with its death.
        if begun || replies > 0 {
            self.put_back(others.into_iter());
        } else {
            self.start_failed(others, failure.message, failures_before);
        }
    }

    /// Delivers the replies that a dead worker printed before its end, up to the first violation of the
    /// protocol, which is returned.
    fn take_last_replies(&mut self, worker: &mut Worker) -> Option<Violation> {
        let mut left = self.shared.config.worker.max_reply;
        loop {
            // The replies that have been read already come first.
            let now = self.now();
            let received = match self.deliver_replies(worker, now) {
                Ok(received) => received,
                Err(violation) => return Some(violation),
            };
            if received.answered > 0 {
                self.shared.start_ups.worker_answered();
            }
            match worker.read() {
                // A process that left the group may hold the pipe and flood it.
                Transfer::Moved(count) if count < left => left -= count,
                _ => return None,
            }
        }
    }
}

/// Why a worker ends whose job has failed so. `None`: the job is forgotten.
fn why_for(failure: Option<&Failure>) -> Why {
    match failure.map(|failure| failure.kind) {
        Some(Kind::Timeout) => Why::Timeout,
        Some(Kind::Memory) => Why::MaxMemory,
        Some(_) => Why::Protocol,
        None => Why::Cancelled,
    }
}

/// The first step of ending such a worker.
fn first_step(failure: Option<&Failure>) -> Stop {
    let is_too_large = failure.is_some_and(|failure| failure.kind == Kind::Memory);
    if is_too_large { Stop::Kill } else { Stop::Terminate }
}

/// The failure of each of this many jobs, if one of them is the cause.
fn one_of(failure: &Failure, count: usize) -> Failure {
    let mut failure = failure.clone();
    if count > 1 {
        let others = format!("; its worker was on {count} jobs, and any of them may be the cause");
        failure.message.push_str(&others);
        failure.is_shared = true;
    }
    failure
}

/// The failure of the oldest job of a worker whose last output answers no request. `end` says how the
/// worker ended.
fn surplus_at_end(
    shared: &Shared,
    worker: &mut Worker,
    violation: &Violation,
    end: &str,
) -> Failure {
    doubt_for(shared, worker, violation);
    let mut message = format!("{}; {end}", violation.message());
    append_last_words(&mut message, worker);
    Failure::new(Kind::Protocol, message)
}

/// The message about a worker that ended with jobs.
fn before_its_answer(mut message: String, worker: &Worker, end: &EndSign) -> String {
    message.push_str(" before it answered");
    if !worker.unparsed().is_empty() {
        message.push_str("; its last output was ");
        message.push_str(&quote(worker.unparsed()));
        message.push_str(&worker.likely_framing());
    }
    append_last_words(&mut message, worker);
    message.push_str(&worker.mentioned_framing());
    message + &advice_after(end)
}

/// What to do about a worker that wanted the terminal; empty: it did not.
fn advice_after(end: &EndSign) -> String {
    if end.is_stopped() { format!("; {}", Stopped::advice()) } else { String::new() }
}

/// Adds the end of a worker's stderr to a message.
pub(super) fn append_last_words(message: &mut String, worker: &Worker) {
    let words = worker.process.last_stderr();
    if !words.is_empty() {
        message.push_str("; its stderr ended with: ");
        message.push_str(&words.replace('\n', " | "));
    }
}
