//! The library, with real processes: the calls of `Pool`, what happens to a call that is dropped,
//! shutting down, failing, and races between all of them.
//!
//! No wait is without a bound: a wait that takes longer than [`PATIENCE`] has failed.

mod builder;
mod calls;
mod dropping;
mod failures;
mod hosts;
mod leaks;
mod panics;
mod processes;
mod queueing;
mod results;
mod runtimes;
mod shutdown;
mod sinks;
mod statistics;
mod successive;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::future::{Future, pending, poll_fn};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Crew, PATIENCE, assert_has, need, wait_for, worker};
use procpool::engine::{Closed, Depth, Done, Job, Limits, Sink, Watcher};
use procpool::{
    BuildError, Builder, Bytes, Code, CommandOutput, Failure, Kind, Pool, Timeout, WorkerState,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

/// How often a condition is looked at that nothing can be waited for.
const TICK: Duration = Duration::from_millis(2);

/// Waits for a future, but not for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Whether this process runs only the test of this name. If not, one is started that does.
#[track_caller]
fn alone(test: &str) -> bool {
    const ALONE: &str = "PROCPOOL_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().expect("the path of this program"))
        .args(["--exact", &format!("library::{test}"), "--nocapture"])
        .env(ALONE, "1")
        .env_remove("PYTHONUNBUFFERED")
        .stdin(Stdio::null())
        .output()
        .expect("this program runs once more");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{}", said.concat());
    false
}

/// The number of a job that a pipeline has room for.
async fn queued(queue: impl Future<Output = Result<u64, Failure>>) -> u64 {
    soon("room", queue).await.expect("the pipeline is open")
}

/// The result of a job.
async fn ok<T>(what: &str, job: impl Future<Output = Result<T, Failure>>) -> T {
    soon(what, job).await.unwrap_or_else(|failure| panic!("{what}: {failure}"))
}

/// The failure of a job.
async fn failed<T: std::fmt::Debug>(
    what: &str,
    job: impl Future<Output = Result<T, Failure>>,
) -> Failure {
    match soon(what, job).await {
        Ok(value) => panic!("{what} should have failed: {value:?}"),
        Err(failure) => failure,
    }
}

/// The pool was ended before the job was.
#[track_caller]
fn assert_ended(failure: &Failure) {
    assert!(matches!(failure.kind, Kind::Cancelled | Kind::Unstarted), "{failure}");
}

/// Waits for a condition to hold, while other tasks go on.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(TICK);
    soon(what, async {
        while !condition() {
            tick.tick().await;
        }
    })
    .await;
}

/// What a future gives within a time, to the microsecond; tokio's timers count milliseconds.
async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let end = Instant::now() + time;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if Instant::now() >= end => Poll::Ready(None),
        Poll::Pending => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

async fn poll_once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls a future once; it is not done yet.
async fn begin<F: Future>(future: &mut Pin<&mut F>) {
    assert!(poll_once(future).await.is_pending(), "it is done already");
}

/// The process that runs the next job.
async fn pid(pool: &Pool) -> i32 {
    let pid: Value = ok("pid", pool.process::<Value>("pid", ())).await;
    i32::try_from(pid.as_i64().expect("a number")).expect("a process id")
}

fn kind<T>(outcome: &Result<T, Failure>) -> Option<Kind> {
    outcome.as_ref().err().map(|failure| failure.kind)
}

fn one_thread() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn threads(count: usize) -> Runtime {
    runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The pool; what it has to say is of no interest.
#[track_caller]
fn build(builder: Builder) -> Pool {
    builder.watcher(Arc::new(Notes::default())).build().expect("a pool")
}

/// What a pool had to say.
#[derive(Default)]
struct Notes(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    stderr: String,
    notes: Vec<String>,
    given_up: usize,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Notes {
    fn worker_stderr(&self, lines: &[u8]) {
        let lines = String::from_utf8_lossy(lines).into_owned();
        self.lock().stderr.push_str(&lines);
    }

    fn note(&self, text: &str) {
        assert!(!text.contains('\n'), "a note has no line breaks: {text:?}");
        self.lock().notes.push(text.to_owned());
    }

    fn start_limit_reached(&self, failure: &Failure) {
        assert_eq!(failure.kind, Kind::Spawn);
        self.lock().given_up += 1;
    }
}

/// A sink that keeps what it is given: numbers of jobs, and results as text.
#[derive(Default)]
struct Collected(Mutex<Vec<(u64, Result<String, Kind>)>>);

impl Collected {
    fn take(&self) -> Vec<(u64, Result<String, Kind>)> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

impl Sink for Collected {
    fn deliver(&self, done: &Done<'_>) {
        let outcome = done.outcome.map(|value| value.to_json().get().to_owned());
        let outcome = outcome.map_err(|failure| failure.kind);
        self.0.lock().expect("no panic").push((done.job.seq, outcome));
    }
}

fn job(cmd: &str, seq: u64, args: &Value) -> Job {
    Job::new(seq, &json!(cmd).to_string(), &args.to_string(), "")
}

/// Jobs whose arg is their number.
fn fed(cmd: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Job> {
    numbers.into_iter().map(|seq| job(cmd, seq, &json!([seq]))).collect()
}

/// An executable shell script in the crew's directory.
fn script(crew: &Crew, name: &str, code: &str) -> String {
    let path = crew.file(name, format!("#!/bin/sh\n{code}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    path
}

/// How many jobs each process did, in the order of the processes.
fn jobs_by_process(crew: &Crew) -> Vec<usize> {
    let jobs = crew.logged("job");
    let starts = crew.logged("start");
    let count = |start: &Vec<String>| jobs.iter().filter(|job| job[1] == start[1]).count();
    starts.iter().map(count).collect()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is alive");
}

/// Whether there is such a process, be it a zombie.
fn is_there(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).expect("a /proc file system").count()
}

/// The children of this process, zombies too.
fn children() -> Vec<String> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").expect("a /proc file system").flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        if parent == Some(&std::process::id().to_string()) {
            children.push(stat);
        }
    }
    children
}
