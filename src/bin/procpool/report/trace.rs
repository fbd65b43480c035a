//! `--trace`: a run in Chrome's trace-event format, for Perfetto and `chrome://tracing`. Each attempt of a job is a
//! slice in the row of its slot. Events are written as they come, as an array, which the format allows to have no
//! end: the file of a killed run can be read, too.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Mutex;

use procpool::engine::{Done, Run, THIS_HOST, WorkerEnd};
use serde_json::{Value, json};

use super::names::{JobNames, message};
use super::track::Span;
use crate::lock::lock;

/// Events are written to the file when they have this many bytes.
const ENOUGH: usize = 64 << 10;

/// The file shows slots and workers as threads of two processes, which have these numbers.
const SLOTS: u32 = 1;
const WORKERS: u32 = 2;

/// The distance between the rows of a slot's lanes.
const LANE: usize = 65_536;

/// A file of events.
#[derive(Debug)]
pub struct Trace {
    state: Mutex<TraceFile>,
}

#[derive(Debug)]
struct TraceFile {
    file: File,
    unwritten: Vec<u8>,
    /// The rows that have names.
    named: HashSet<usize>,
    trouble: Option<io::Error>,
}

impl Trace {
    /// Begins to write.
    pub fn new(file: File, host: &str) -> Self {
        let mut unwritten = b"[\n".to_vec();
        let process = |pid, name: String| json!({ "ph": "M", "pid": pid, "name": "process_name", "args": { "name": name } });
        unwritten.extend(process(SLOTS, format!("slots on {host}")).to_string().into_bytes());
        let mut state = TraceFile { file, unwritten, named: HashSet::new(), trouble: None };
        state.event(&process(WORKERS, format!("workers on {host}")));
        Self { state: Mutex::new(state) }
    }

    /// Adds a job that is over, or an attempt that is not its last. `span`: when its slot was busy with it.
    pub fn add(&self, done: &Done<'_>, span: Option<Span>, is_retried: bool, names: &JobNames) {
        let (Some(span), Some(run)) = (span, done.run) else { return };
        let row = run.slot + span.lane * LANE;
        let slice = slice(done, run, span, (row, is_retried), names);
        let mut state = lock(&self.state);
        if state.named.insert(row) {
            state.name_row(row, run, span.lane);
        }
        state.unwritten.extend_from_slice(&slice);
        if state.unwritten.len() >= ENOUGH {
            state.write();
        }
    }

    /// Adds a worker that has ended. Its times are in seconds since the begin of the run.
    pub fn add_worker(&self, worker: &WorkerEnd) {
        let name = format!("worker {} of slot {}", worker.generation, worker.slot);
        let event = |ph: &str, ts: f64, args: Value| {
            json!({
                "ph": ph, "pid": WORKERS, "tid": worker.slot, "ts": micros(ts), "cat": "worker",
                "id": format!("{}.{}", worker.slot, worker.generation), "name": name, "args": args,
            })
        };
        let args = json!({ "pid": worker.pid, "jobs": worker.jobs, "ended": worker.why.name() });
        let mut state = lock(&self.state);
        state.event(&event("b", worker.start, args));
        state.event(&event("e", worker.start + worker.seconds, json!({})));
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.unwritten.extend_from_slice(b"\n]\n");
        state.write();
        state.trouble.take().map_or(Ok(()), Err)
    }
}

impl TraceFile {
    fn name_row(&mut self, row: usize, Run { slot, host, .. }: Run, lane: usize) {
        let on = host.filter(|host| *host != THIS_HOST).map(|host| format!(" on {host}"));
        let on = on.unwrap_or_default();
        let name = match lane {
            0 => format!("slot {slot}{on}"),
            lane => format!("slot {slot}{on}, job {} at a time", lane + 1),
        };
        let index = slot * 64 + lane.min(63);
        for (kind, args) in [
            ("thread_name", json!({ "name": name })),
            ("thread_sort_index", json!({ "sort_index": index })),
        ] {
            self.event(&json!({ "ph": "M", "pid": SLOTS, "tid": row, "name": kind, "args": args }));
        }
    }

    fn event(&mut self, event: &Value) {
        self.unwritten.extend_from_slice(b",\n");
        // Writing to a Vec can't fail.
        let _ = serde_json::to_writer(&mut self.unwritten, event);
        if self.unwritten.len() >= ENOUGH {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.trouble.is_none() {
            self.trouble = self.file.write_all(&self.unwritten).err();
        }
        self.unwritten.clear();
    }
}

/// The event of a job, and the comma before it. There may be millions of events, so the text is written directly and
/// not made from JSON values.
fn slice(
    done: &Done<'_>,
    run: Run,
    span: Span,
    (row, is_retried): (usize, bool),
    names: &JobNames,
) -> Vec<u8> {
    let name = names.name(done.job);
    let label = names.label(done.job, run.slot);
    let label = if label.is_empty() { &name } else { &label };
    let category = match (done.outcome.is_ok(), is_retried) {
        (true, _) => "job",
        (false, true) => "job,retried",
        (false, false) => "job,failed",
    };
    let ts = micros(span.begun);
    let dur = micros(span.end - span.begun);
    let mut text = Vec::with_capacity(320);
    // Writing to a Vec can't fail.
    let _ = write!(
        text,
        ",\n{{\"ph\":\"X\",\"pid\":{SLOTS},\"tid\":{row},\"ts\":{ts:.3},\"dur\":{dur:.3},\
         \"cat\":\"{category}\",\"name\":"
    );
    string(&mut text, label);
    let _ = write!(text, ",\"args\":{{\"seq\":{},\"pid\":{},\"job\":", done.job.seq, run.pid);
    string(&mut text, &name);
    if run.attempt > 1 || is_retried {
        let _ = write!(text, ",\"attempt\":{}", run.attempt);
    }
    let waited = micros(span.begun - span.start);
    if waited > 0.0 {
        let _ = write!(text, ",\"waited_us\":{waited:.3}");
    }
    if let Err(failure) = done.outcome {
        let _ = write!(text, ",\"failed\":\"{}\",\"message\":", failure.kind.name());
        string(&mut text, &message(failure));
    }
    text.extend_from_slice(b"}}");
    text
}

/// Appends text as JSON.
fn string(to: &mut Vec<u8>, text: &str) {
    // Writing to a Vec can't fail.
    let _ = serde_json::to_writer(to, text);
}

/// Seconds → microseconds, the unit of the format, rounded to nanoseconds.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e3
}
