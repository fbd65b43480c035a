//! The events that a subscriber of a program gets.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::{Failure, Kind, Pool};

/// Keeps all events of procpool as lines: the level, then the fields.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

struct EventLine(String);

impl Visit for EventLine {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes all");
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "procpool"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = EventLine(event.metadata().level().to_string());
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
    let code =
        r#"read l; echo '{"result":1}'; read l; echo '{"error":"as told"}'; read l; exit 73"#;
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
