//! The events that can end a run, except signals, and what each of them means. Only this file decides that.

use procpool::engine::input::End;
use procpool::engine::output::Trouble;
use procpool::engine::{Failure, Kind};

use crate::exit::Status;

/// Something that happened in the input, in the pools or at the output.
#[derive(Debug)]
pub enum Event {
    /// The reader of the input has stopped.
    InputRead(End),
    /// `--halt` has ended the run.
    Halted,
    /// Results can't be printed or recorded as they should be.
    Output(Trouble),
    /// No worker can be started.
    StartLimit(Failure),
    /// Results that were printed may be wrong. A message has said so.
    Doubtful,
    /// The queue that jobs come from or go to can't be used. The text is a sentence.
    Queue(String),
}

impl Event {
    /// Whether no further job may begin, and no further question may be asked.
    pub fn stops_at_once(&self) -> bool {
        matches!(self, Self::Output(_) | Self::StartLimit(_) | Self::Queue(_))
    }

    /// Whether it concerns the output. It then matters even after all workers are gone.
    pub fn is_of_output(&self) -> bool {
        matches!(self, Self::Output(_))
    }
}

/// The reaction of the pools to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They go on.
    Continue,
    /// They run the jobs that they have. No more jobs follow.
    Finish,
    /// They begin no job. Running jobs may finish.
    Stop,
    /// They kill all processes.
    Kill,
    /// They kill all processes, and the run waits for nothing.
    Abandon,
}

/// The meaning of an event for the run.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub action: Action,
    /// The message for stderr.
    pub message: Option<String>,
    /// How the process ends because of the event.
    pub status: Option<Status>,
}

impl Verdict {
    fn go_on(action: Action) -> Self {
        Self { action, message: None, status: None }
    }

    fn end(action: Action, message: String, status: Status) -> Self {
        Self { action, message: Some(message), status: Some(status) }
    }
}

/// What the events have shown so far.
#[derive(Debug, Default)]
pub struct Course {
    /// How the reading ended. `None`: the input is still being read.
    input: Option<End>,
    /// The number of jobs that were read and did not get to the pools.
    unfed: usize,
    /// Some results may be wrong.
    pub is_doubtful: bool,
    /// Some results could not be printed, and are lost.
    pub loses_results: bool,
}

impl Course {
    /// Records an event. Returns what it means.
    pub fn judge(&mut self, event: Event) -> Verdict {
        match event {
            Event::InputRead(end) => self.judge_input(end),
            Event::Halted => Verdict::go_on(Action::Continue),
            Event::Doubtful => {
                self.is_doubtful = true;
                Verdict::go_on(Action::Continue)
            }
            Event::Output(Trouble::Closed) => Verdict {
                action: Action::Abandon,
                message: None,
                status: Some(Status::StdoutClosed),
            },
            Event::Output(Trouble::Broken(message)) => {
                self.loses_results = true;
                Verdict::end(Action::Kill, message, Status::Trouble)
            }
            Event::Output(Trouble::Disordered(message) | Trouble::Unrecorded(message)) => {
                Verdict::end(Action::Stop, message, Status::Trouble)
            }
            Event::Queue(message) => Verdict::end(Action::Stop, message, Status::Trouble),
            Event::StartLimit(failure) => {
                // A server that is lost is trouble of this run. Whatever can't be started is not.
                let is_lost = failure.kind == Kind::Lost;
                let status = if is_lost { Status::Trouble } else { Status::CannotRun };
                Verdict::end(Action::Stop, failure.message, status)
            }
        }
    }

    fn judge_input(&mut self, end: End) -> Verdict {
        let verdict = match &end {
            End::Misused(message) => Verdict::end(Action::Kill, message.clone(), Status::Usage),
            End::Unresumable(message) => {
                Verdict::end(Action::Stop, message.clone(), Status::Trouble)
            }
            End::Complete(_) | End::Stopped(_) | End::Incomplete => Verdict::go_on(Action::Finish),
        };
        if let End::Stopped(jobs) = end {
            self.unfed = jobs;
        }
        self.input = Some(end);
        verdict
    }

    /// The number of jobs in the whole input, if all of it was read.
    pub fn total(&self) -> Option<u64> {
        match self.input {
            Some(End::Complete(jobs)) => Some(jobs),
            _ => None,
        }
    }

    /// The number of jobs that were read and did not get to the pools.
    pub fn unfed(&self) -> usize {
        self.unfed
    }

    /// Whether the reader has not ended yet.
    pub fn is_reading(&self) -> bool {
        self.input.is_none()
    }

    /// Whether the reader got to the end of the input. It may have skipped what it could not read.
    pub fn is_read(&self) -> bool {
        matches!(self.input, Some(End::Complete(_) | End::Incomplete))
    }

    /// Whether some input could not be read.
    pub fn misses_input(&self) -> bool {
        matches!(self.input, Some(End::Incomplete))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_meaning() {
        let judge = |event| Course::default().judge(event);
        let message = || String::from("why");
        let ended = |action, status| Verdict::end(action, message(), status);
        let output = |trouble| judge(Event::Output(trouble));
        assert_eq!(output(Trouble::Broken(message())), ended(Action::Kill, Status::Trouble));
        assert_eq!(output(Trouble::Disordered(message())), ended(Action::Stop, Status::Trouble));
        assert_eq!(output(Trouble::Unrecorded(message())), ended(Action::Stop, Status::Trouble));
        let closed = output(Trouble::Closed);
        assert_eq!((closed.message, closed.status), (None, Some(Status::StdoutClosed)));
        let input = |end| judge(Event::InputRead(end));
        assert_eq!(input(End::Misused(message())), ended(Action::Kill, Status::Usage));
        assert_eq!(input(End::Unresumable(message())), ended(Action::Stop, Status::Trouble));
        for end in [End::Complete(3), End::Stopped(2), End::Incomplete] {
            assert_eq!(input(end), Verdict::go_on(Action::Finish));
        }
        assert_eq!(judge(Event::Halted), Verdict::go_on(Action::Continue));
    }

    #[test]
    fn the_course_keeps_what_the_end_needs() {
        let mut course = Course::default();
        assert!(!course.is_read() && course.total().is_none());
        course.judge(Event::Doubtful);
        course.judge(Event::InputRead(End::Complete(3)));
        assert!(course.is_doubtful && course.is_read() && !course.misses_input());
        assert_eq!((course.total(), course.unfed()), (Some(3), 0));
        course.judge(Event::InputRead(End::Stopped(2)));
        assert_eq!((course.total(), course.unfed(), course.is_read()), (None, 2, false));
        course.judge(Event::InputRead(End::Incomplete));
        assert!(course.is_read() && course.misses_input());
    }
}
