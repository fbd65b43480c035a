//! The end of a run, after its processes are gone: print the remaining results, keep the lines of failed jobs,
//! write the reports, print the last messages, and find the exit status.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procpool::engine::journal::Journal;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::watch::{ActiveRun, LAST_WAIT, sleep_until};
use crate::exit::Status;
use crate::interrupts::SignalOrder;
use crate::report::findings::{RunEnding, RunOutcome};

/// The time that the remaining results of an interrupted run have to be printed.
const LAST_PRINT: Duration = Duration::from_secs(1);

/// The time that a file may take to be written after an interrupt: the reports, or the lines of failed jobs.
const LAST_WRITE: Duration = Duration::from_secs(5);

impl ActiveRun {
    /// Does all that is left to do after the processes are gone. `end`: how the process ends, if an event has
    /// decided that.
    pub async fn end(mut self, end: Option<Status>) -> Status {
        self.print_rest(end).await;
        self.keep_failed().await;
        let end = self.write_reports(end).await;
        let signal = self.signal.clone();
        let status = self.finish(end);
        // A signal may have come at the very last.
        signal.status().unwrap_or(status)
    }

    /// Prints the remaining results. The reader of stdout may take its time, unless the run was ended early.
    async fn print_rest(&mut self, end: Option<Status>) {
        let output = Arc::clone(&self.output);
        let printed = output.finish();
        tokio::pin!(printed);
        let is_killed = end.is_some_and(|status| status.signal().is_some());
        while !is_killed && self.signal.status().is_none() {
            tokio::select! {
                () = &mut printed => return,
                Some(order) = self.orders.recv() => self.obey(order),
            }
        }
        let _ = tokio::time::timeout(LAST_PRINT, printed).await;
    }

    /// Writes the lines of failed jobs to their place. A signal, or another one after the first, cancels that.
    /// The file is then as it was.
    async fn keep_failed(&mut self) {
        if self.bookkeeper.keeps_failed() {
            let kept = self.start_keeping();
            self.wait_for(kept).await;
        }
    }

    /// Writes the lines of failed jobs on a thread, since a disk may be slow. The receiver gets a message when
    /// it is done.
    fn start_keeping(&self) -> oneshot::Receiver<()> {
        let is_whole = self.course.total().is_some() && self.left() == 0;
        let bookkeeper = Arc::clone(&self.bookkeeper);
        let console = Arc::clone(&self.console);
        let (done, kept) = oneshot::channel();
        let finish = move || {
            if let Some(note) = bookkeeper.finish_failed(is_whole) {
                console.say(&note);
            }
            let _ = done.send(());
        };
        // Without a thread the file stays as it is.
        let _ = thread::Builder::new().name("failed".into()).spawn(finish);
        kept
    }

    /// Writes the reports. A report may go to a pipe that nobody reads. A signal ends the wait for that.
    async fn write_reports(&mut self, end: Option<Status>) -> Option<Status> {
        let Some(reports) = self.reports.clone() else { return end };
        let output = Arc::clone(&self.output);
        let ending = self.ending(end);
        let (done, written) = oneshot::channel();
        // This needs a thread, since the reader of a report may be slow.
        let write = move || drop(done.send(reports.write(ending, &output)));
        if let Err(error) = thread::Builder::new().name("reports".into()).spawn(write) {
            self.console.say(&format!("the reports could not be written: {error}"));
            return end.or(Some(Status::Trouble));
        }
        let troubles = self.wait_for(written).await.unwrap_or_default();
        troubles.iter().for_each(|trouble| self.console.say(trouble));
        end.or((!troubles.is_empty()).then_some(Status::Trouble))
    }

    /// Waits for a thread that writes files. After a signal, it waits for a limited time only, and another
    /// signal ends the wait.
    async fn wait_for<T>(&mut self, mut written: oneshot::Receiver<T>) -> Option<T> {
        let soon = |time| Some(Instant::now() + time);
        let mut last = self.signal.status().and_then(|_| soon(LAST_WRITE));
        if self.timers.give_up_at.is_some() {
            last = soon(LAST_WAIT);
        }
        loop {
            tokio::select! {
                result = &mut written => return result.ok(),
                Some(order) = self.orders.recv() => match order {
                    SignalOrder::Report => {}
                    // All processes are gone already.
                    SignalOrder::Kill => last = soon(LAST_WAIT),
                    SignalOrder::Stop | SignalOrder::Terminate => return None,
                },
                () = sleep_until(last) => return None,
            }
        }
    }

    /// The number of jobs that were read and not run.
    fn left(&self) -> usize {
        self.pools.left() + self.course.unfed()
    }

    /// How the run ended, for reports.
    fn ending(&self, end: Option<Status>) -> RunEnding {
        let outcome = match self.signal.status().or(end) {
            Some(status) => status.signal().map_or(RunOutcome::Broken, RunOutcome::Interrupted),
            None if self.bookkeeper.has_halted() => RunOutcome::Halted,
            None if self.course.misses_input() => RunOutcome::Broken,
            None if self.course.is_doubtful => RunOutcome::Doubtful,
            None => RunOutcome::Complete,
        };
        RunEnding {
            outcome,
            left: self.left() as u64,
            has_unread_input: !self.course.is_read(),
            processes: self.pools.started(),
        }
    }

    /// Prints the last messages. Returns how the process ends.
    fn finish(mut self, end: Option<Status>) -> Status {
        let ending = self.ending(end);
        let end = self.drain_events(end);
        self.say_what_is_left(end);
        if let Some(message) = self.journal.as_ref().and_then(|journal| self.told_by(journal)) {
            self.console.say(&message);
        }
        if let Some(reports) = &self.reports {
            if let Some(annotations) = reports.annotations() {
                self.console.print(annotations.as_bytes());
            }
            if let Some(summary) = reports.summary(ending) {
                self.console.say(&summary);
            }
        }
        let trouble = self.bookkeeper.trouble();
        if let Some(message) = &trouble {
            self.console.say(message);
        }
        if !matches!(end, Some(Status::StdoutClosed | Status::Usage))
            && let Some(line) = self.bookkeeper.closing(self.course.loses_results)
        {
            self.console.print(line.as_bytes());
        }
        end.unwrap_or_else(|| self.status(trouble.is_some()))
    }

    /// Takes note of the events that came last. Only the output's can still change how the process ends.
    fn drain_events(&mut self, mut end: Option<Status>) -> Option<Status> {
        self.progress.clear();
        while let Ok(event) = self.events.try_recv() {
            let counts = event.is_of_output();
            let verdict = self.course.judge(event);
            if counts {
                end = end.or(verdict.status);
                if let Some(message) = &verdict.message {
                    self.console.say(message);
                }
            }
        }
        end
    }

    /// Prints how much of the input was not run. Nobody needs to know after stdout was closed.
    fn say_what_is_left(&self, end: Option<Status>) {
        let left = self.left();
        let has_halted = self.bookkeeper.has_halted();
        let is_read = self.course.is_read();
        let is_cut_short = left > 0 || (has_halted && !is_read);
        if end == Some(Status::StdoutClosed) || !is_cut_short {
            return;
        }
        let s = if left == 1 { "" } else { "s" };
        let by = if has_halted { " by --halt" } else { "" };
        if self.pools.takes_from_queue() {
            return self
                .console
                .say(&format!("the run was ended{by}: {left} job{s} given back to the queue"));
        }
        let unread = if is_read { "" } else { ", and input left unread" };
        self.console.say(&format!("the run was ended{by}: {left} job{s} read and not run{unread}"));
    }

    /// The message about a journal that belongs to another input, or has all results already.
    fn told_by(&self, journal: &Journal) -> Option<String> {
        if !self.course.is_read() {
            return None;
        }
        let resumed = journal.resumed();
        if resumed == 0 && journal.recorded() > 0 {
            return Some("none of the jobs that the journal has is in this input".into());
        }
        let (succeeded, failed) = self.output.counts();
        // The processes of other machines and of servers are not counted. Failures may be theirs.
        let may_have_run = failed > 0 && self.pools.have_hosts();
        let has_run = self.pools.started() > 0 || self.left() > 0 || may_have_run;
        if resumed == 0 || resumed != succeeded || has_run {
            return None;
        }
        // Lines that are no jobs have failed.
        let all = if failed == 0 { "all " } else { "" };
        let s = if resumed == 1 { "" } else { "s" };
        let path = journal.path().display();
        Some(format!(
            "nothing was run: {all}results come from the journal '{path}' ({resumed} job{s})"
        ))
    }

    /// How the process ends after a run that no event and no signal has ended.
    fn status(&self, has_trouble: bool) -> Status {
        if self.course.misses_input() || has_trouble {
            return Status::Trouble;
        }
        let is_cut_short = self.left() > 0 || !self.course.is_read();
        let (_, failed) = self.output.counts();
        let is_halted = self.bookkeeper.has_halted() && is_cut_short;
        if failed > 0 || self.course.is_doubtful || is_halted {
            Status::JobsFailed
        } else {
            Status::Success
        }
    }
}
