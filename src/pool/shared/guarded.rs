//! Code that the user has given the pool may panic, and nobody must wait for ever for that. The panic of a
//! watcher is ignored. ResultStreak that a sink did not take are lost, and that is reported once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::job::{Done, Failure, Job, ResultStreak, Sink, Value, Watcher, WorkerEnd};
use crate::pool::events;

/// Calls code of the user's. If it panics, `otherwise` is returned. The
/// panic's message is on stderr by then.
fn guard<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(otherwise)
}

/// A watcher whose panics end nothing.
pub(super) struct GuardedWatcher(pub(super) Arc<dyn Watcher>);

impl Watcher for GuardedWatcher {
    fn worker_stderr(&self, lines: &[u8]) {
        guard((), || self.0.worker_stderr(lines));
    }

    fn worker_wrote(&self, slot: usize, pid: u32, lines: &[u8]) {
        guard((), || self.0.worker_wrote(slot, pid, lines));
    }

    fn note(&self, text: &str) {
        guard((), || {
            events::noted(text);
            self.0.note(text);
        });
    }

    fn doubtful(&self, text: &str) {
        guard((), || {
            events::noted(text);
            self.0.doubtful(text);
        });
    }

    fn start_limit_reached(&self, failure: &Failure) {
        guard((), || {
            events::gave_up(failure);
            self.0.start_limit_reached(failure);
        });
    }

    fn terminal_wanted(&self) {
        guard((), || self.0.terminal_wanted());
    }

    fn may_stop(&self) -> bool {
        guard(false, || self.0.may_stop())
    }

    fn interrupted(&self, signal: i32) {
        guard((), || self.0.interrupted(signal));
    }

    fn output_lost(&self, message: &str) {
        guard((), || {
            events::noted(message);
            self.0.output_lost(message);
        });
    }

    fn worker_ended(&self, worker: &WorkerEnd) {
        guard((), || self.0.worker_ended(worker));
    }

    fn confirms(&self, command: &[u8]) -> bool {
        guard(false, || self.0.confirms(command))
    }
}

/// A sink whose panics lose the results that it was given, and nothing else.
pub(super) struct GuardedSink {
    sink: Arc<dyn Sink>,
    watcher: Arc<dyn Watcher>,
    has_panicked: AtomicBool,
}

impl GuardedSink {
    pub(super) fn new(sink: Arc<dyn Sink>, watcher: Arc<dyn Watcher>) -> Self {
        Self { sink, watcher, has_panicked: AtomicBool::new(false) }
    }

    fn guard<T>(&self, otherwise: T, call: impl FnOnce(&dyn Sink) -> T) -> T {
        let done = guard(None, || Some(call(&*self.sink)));
        if done.is_none() && !self.has_panicked.swap(true, Ordering::AcqRel) {
            self.watcher.output_lost(
                "outcomes of jobs were lost, since what was to take them has panicked",
            );
        }
        done.unwrap_or(otherwise)
    }
}

impl Sink for GuardedSink {
    fn deliver(&self, done: &Done<'_>) {
        self.guard((), |sink| sink.deliver(done));
    }

    fn settle(&self) {
        self.guard((), |sink| sink.settle());
    }

    fn works_at_a_time(&self, jobs: usize, is_concurrent: bool) {
        self.guard((), |sink| sink.works_at_a_time(jobs, is_concurrent));
    }

    fn flush(&self) {
        self.guard((), |sink| sink.flush());
    }

    fn texts(&self, seq: u64, count: u64, texts: &[u8]) {
        self.guard((), |sink| sink.texts(seq, count, texts));
    }

    fn results(&self, results: &ResultStreak<'_>) -> bool {
        self.guard(true, |sink| sink.results(results))
    }

    fn proved(&self, number: u64) {
        self.guard((), |sink| sink.proved(number));
    }

    fn unprovable(&self, number: u64) {
        self.guard((), |sink| sink.unprovable(number));
    }

    fn doubt(&self, done: &Done<'_>) {
        self.guard((), |sink| sink.doubt(done));
    }

    fn retried(&self, done: &Done<'_>) {
        self.guard((), |sink| sink.retried(done));
    }

    fn wants_begun(&self) -> bool {
        self.guard(false, |sink| sink.wants_begun())
    }

    fn process(&self, slot: usize, pid: u32) {
        self.guard((), |sink| sink.process(slot, pid));
    }

    fn begun(&self, slot: usize, job: &Job) {
        self.guard((), |sink| sink.begun(slot, job));
    }

    fn dropped(&self, job: &Job) {
        self.guard((), |sink| sink.dropped(job));
    }

    fn lines(&self, job: &Job, out: &[u8], err: &[u8]) -> bool {
        self.guard(true, |sink| sink.lines(job, out, err))
    }

    fn part(&self, job: &Job, part: Value<'_>) -> bool {
        self.guard(true, |sink| sink.part(job, part))
    }

    fn await_room(&self, most: Duration) -> bool {
        self.guard(false, |sink| sink.await_room(most))
    }
}
