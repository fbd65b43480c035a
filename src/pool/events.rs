//! Events for the crate `tracing`, if the feature of this name is on: workers that start and end, notes,
//! and calls that end. All have the target `procpool`.

use std::time::Duration;

use crate::job::{Failure, WorkerEnd};

#[cfg(feature = "tracing")]
mod traced {
    use super::*;

    pub(crate) fn worker_started(slot: usize, pid: u32) {
        tracing::debug!(target: "procpool", slot, pid, "worker started");
    }

    pub(crate) fn worker_ended(end: &WorkerEnd) {
        let WorkerEnd { slot, pid, jobs, seconds, why, .. } = *end;
        let why = why.name();
        tracing::debug!(target: "procpool", slot, pid, jobs, seconds, why, "worker ended");
    }

    pub(crate) fn call_ended(failure: Option<&Failure>, time: Option<Duration>) {
        let seconds = time.map(|time| time.as_secs_f64());
        match failure {
            None => tracing::trace!(target: "procpool", seconds, "call succeeded"),
            Some(Failure { kind, message, .. }) => {
                tracing::debug!(target: "procpool", seconds, %kind, message, "call failed");
            }
        }
    }

    pub(crate) fn noted(text: &str) {
        tracing::warn!(target: "procpool", "{text}");
    }

    pub(crate) fn gave_up(failure: &Failure) {
        tracing::error!(target: "procpool", "{}", failure.message);
    }
}

#[cfg(not(feature = "tracing"))]
mod silent {
    use super::*;

    pub(crate) fn worker_started(_: usize, _: u32) {}
    pub(crate) fn worker_ended(_: &WorkerEnd) {}
    pub(crate) fn call_ended(_: Option<&Failure>, _: Option<Duration>) {}
    pub(crate) fn noted(_: &str) {}
    pub(crate) fn gave_up(_: &Failure) {}
}

#[cfg(not(feature = "tracing"))]
pub(crate) use silent::*;
#[cfg(feature = "tracing")]
pub(crate) use traced::*;

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use crate::{Failure, Kind, Pool};

    /// Keeps all events of procpool as lines: the level, then the fields.
    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {field}={value:?}").expect("a string takes all");
        }
    }

    impl Subscriber for Events {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "procpool"
        }

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().expect("no panic").push(line.0);
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn workers_and_calls_are_told_of() {
        let events = Events::default();
        tracing::subscriber::set_global_default(events.clone()).expect("it is the only one");
        // Pools of other tests may be told of at the same time.
        let code = r#"read -r l; echo '{"result":1}'; read -r l; echo '{"error":"as told"}'; read -r l; exit 73"#;
        let pool = Pool::worker(["sh", "-c", code]).max_procs(1).build().expect("a pool");
        let call = || pool.blocking().process::<u64>("", ());
        assert_eq!(call().expect("ok"), 1);
        let pid = pool.stats().workers[0].pid;
        let kinds = [call(), call()].map(|outcome| outcome.err().map(|Failure { kind, .. }| kind));
        assert_eq!(kinds, [Some(Kind::Error), Some(Kind::Crash)]);
        pool.blocking().shutdown();
        let lines = events.0.lock().expect("no panic").clone();
        let has = |begin: &str, parts: &[&str]| {
            let is_it = |line: &&String| {
                line.starts_with(begin) && parts.iter().all(|part| line.contains(part))
            };
            assert!(lines.iter().any(|line| is_it(&line)), "{begin} {parts:?}: {lines:?}");
        };
        has("DEBUG message=worker started slot=1", &[&format!("pid={pid}")]);
        has("TRACE message=call succeeded seconds=", &[]);
        has("DEBUG message=call failed seconds=", &["kind=error", "message=\"as told\""]);
        has("DEBUG message=call failed seconds=", &["kind=crash", "exited with status 73"]);
        has("DEBUG message=worker ended slot=1", &[&format!("pid={pid} jobs=2"), "why="]);
    }
}
