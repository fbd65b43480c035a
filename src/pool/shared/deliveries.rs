//! Where outcomes go: to the sink, to callers, or into the count of jobs that never ran. Also the names
//! of jobs in messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::job::caller::{CallResult, Caller};
use crate::job::{Answer, Done, Failure, Job, Kind, ResultStreak, Sink, Value, naming};
use crate::pool::events;
use crate::pool::shared::guarded::GuardedSink;
use crate::pool::shared::tally::{CallCounts, Tally};
use crate::process::Wake;

/// The places where outcomes go.
pub(crate) struct Deliveries {
    sink: Option<GuardedSink>,
    /// The sink learns which jobs are taken.
    wants_begun: bool,
    /// The names of the sources of jobs.
    sources: Vec<String>,
    /// How many jobs were fed and never ran.
    left: AtomicUsize,
    /// How many jobs a worker may have at a time, even if jobs are slow: one that does one after the other, and one
    /// that works on several.
    at_a_time: [AtomicUsize; 2],
    tally: Tally,
}

impl Deliveries {
    pub(super) fn new(sink: Option<GuardedSink>, sources: Vec<String>) -> Self {
        let wants_begun = sink.as_ref().is_some_and(|sink| sink.wants_begun());
        Self {
            sink,
            wants_begun,
            sources,
            left: AtomicUsize::new(0),
            at_a_time: [const { AtomicUsize::new(1) }; 2],
            tally: Tally::default(),
        }
    }

    pub(crate) fn sink(&self) -> Option<&dyn Sink> {
        self.sink.as_ref().map(|sink| sink as &dyn Sink)
    }

    /// Gives the outcome of a job to the sink, unless a caller waits for it.
    pub(crate) fn deliver(&self, done: &Done<'_>) {
        if let (Some(sink), None) = (&self.sink, &done.job.caller) {
            sink.deliver(done);
        }
    }

    /// Reports to the sink that a try of a job has failed and that the job is tried again, unless a
    /// caller waits for it.
    pub(crate) fn retried(&self, done: &Done<'_>) {
        if let (Some(sink), None) = (&self.sink, &done.job.caller) {
            sink.retried(done);
        }
    }

    /// A slot, counted from 1, has taken jobs.
    pub(crate) fn begun<'a>(&self, slot: usize, jobs: impl IntoIterator<Item = &'a Job>) {
        if let Some(sink) = self.sink.as_ref().filter(|_| self.wants_begun) {
            jobs.into_iter().flat_map(Job::singles).for_each(|job| sink.begun(slot, job));
        }
    }

    /// A slot, counted from 1, has this process from now on.
    pub(crate) fn process(&self, slot: usize, pid: u32) {
        if let Some(sink) = self.sink.as_ref().filter(|_| self.wants_begun) {
            sink.process(slot, pid);
        }
    }

    /// A worker may have this many jobs at a time, even if jobs are slow: it works on several (`is_concurrent`), or the
    /// user says so. The sink learns of the largest number.
    pub(crate) fn note_at_a_time(&self, jobs: usize, is_concurrent: bool) {
        if jobs > self.at_a_time(is_concurrent)
            && self.at_a_time[usize::from(is_concurrent)].fetch_max(jobs, Ordering::AcqRel) < jobs
            && let Some(sink) = &self.sink
        {
            sink.works_at_a_time(jobs, is_concurrent);
        }
    }

    /// How many jobs a worker may have at a time, as far as is known.
    pub(crate) fn at_a_time(&self, is_concurrent: bool) -> usize {
        self.at_a_time[usize::from(is_concurrent)].load(Ordering::Acquire)
    }

    /// Gives the results of `count` successive jobs to the sink: texts, each with a newline after it.
    pub(crate) fn deliver_texts(&self, seq: u64, count: u64, texts: &[u8]) {
        if let Some(sink) = &self.sink {
            sink.texts(seq, count, texts);
        }
    }

    /// Gives results that came together to the sink.
    pub(crate) fn deliver_results(&self, results: &ResultStreak<'_>) {
        if let Some(sink) = &self.sink
            && !sink.results(results)
        {
            results.each_done(|done| sink.deliver(done));
        }
    }

    /// Gives lines that a command has printed to stdout and to stderr to the sink. Returns whether it
    /// took them.
    pub(crate) fn pass_lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        self.sink.as_ref().is_none_or(|sink| sink.lines(job, out, err))
    }

    /// Gives a part of a result to the sink. Returns whether it took it.
    pub(crate) fn pass_part(&self, job: &Job, part: Value<'_>) -> bool {
        self.sink.as_ref().is_none_or(|sink| sink.part(job, part))
    }

    /// Waits until the sink may take what it has not taken, but no longer than this. A sink that can't wait is
    /// asked again after that, or after a wake-up.
    pub(crate) fn await_room(&self, wake: &Wake, most: Duration) {
        if !self.sink.as_ref().is_some_and(|sink| sink.await_room(most)) {
            wake.wait(Some(most));
        }
    }

    /// Has the sink write the results that this thread has delivered.
    pub(crate) fn flush(&self) {
        if let Some(sink) = &self.sink {
            sink.flush();
        }
    }

    /// Waits a moment until the results that were flushed are printed.
    pub(crate) fn settle(&self) {
        if let Some(sink) = &self.sink {
            sink.settle();
        }
    }

    /// Drops jobs. Callers get the failure; jobs for the sink are counted as left.
    pub(crate) fn drop_jobs(&self, jobs: impl IntoIterator<Item = Job>, failure: &Failure) {
        for job in jobs.into_iter().flat_map(Job::into_singles) {
            if job.caller.is_some() {
                self.answer(job, Err(failure));
            } else if job.attempt > 1 {
                self.drop_tried(&job);
            } else {
                self.left.fetch_add(job.count(), Ordering::Relaxed);
                if let Some(sink) = &self.sink {
                    sink.dropped(&job);
                }
            }
        }
    }

    /// Gives the outcome of a job that did not run to its caller, if it has one.
    pub(crate) fn answer(&self, job: Job, outcome: Result<Value<'_>, &Failure>) {
        if let Some(caller) = job.caller {
            self.reply(caller, outcome.map(Answer::of).map_err(Clone::clone), None);
        }
    }

    /// Gives a caller its answer, and counts it. `time`: how long the job ran.
    pub(crate) fn reply(&self, caller: Caller<Job>, answer: CallResult, time: Option<Duration>) {
        if !caller.is_gone() {
            let kind = answer.as_ref().err().map(|failure| failure.kind);
            self.tally.add(kind, time);
            events::call_ended(answer.as_ref().err(), time);
        }
        caller.reply(answer);
    }

    /// How calls have ended.
    pub(crate) fn counts(&self) -> CallCounts {
        self.tally.counts()
    }

    /// Drops a job that has run and waited for another try.
    fn drop_tried(&self, job: &Job) {
        let failure = waiting_at_end();
        self.deliver(&Done {
            job,
            outcome: Err(&failure),
            printed: None,
            run: None,
            unproven: None,
        });
        self.flush();
    }

    /// How many jobs were fed and never ran.
    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    pub(crate) fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The name of a job in messages.
    pub(crate) fn name(&self, job: &Job) -> String {
        naming::name(job, &self.sources)
    }

    /// A message with the place of its job before it, if that is known.
    pub(crate) fn with_place(&self, job: &Job, message: String) -> String {
        match naming::place(job.place, &self.sources) {
            Some(place) => format!("{place}: {message}"),
            None => message,
        }
    }
}

/// The failure of a job that had not been tried when the run was ended.
pub(crate) fn unstarted_at_end() -> Failure {
    Failure::new(Kind::Unstarted, "it was waiting when the pool was shut down")
}

/// The failure of a job that waited for another try when the run was ended.
pub(crate) fn waiting_at_end() -> Failure {
    Failure::new(Kind::Cancelled, "it was waiting to be tried again when the run was ended")
}
