//! The library, with real processes: the calls of `Pool`, what happens to a call that is dropped,
//! shutting down, failing, and races between all of them.
//!
//! No wait is without a bound: whatever takes longer than [`PATIENCE`] hangs.

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

use crate::common::{Crew, PATIENCE, assert_has, wait_for, worker};
use procpool::{
    BuildError, Builder, Closed, Depth, Done, Failure, Job, Kind, Limits, Pool, Sink, Watcher,
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

type Outcome = Result<Value, Failure>;

/// How often a condition is looked at that nothing can be waited for.
const TICK: Duration = Duration::from_millis(2);

// The calls.

#[tokio::test]
async fn a_job_gets_its_reply() {
    #[derive(Serialize)]
    struct Resize<'a> {
        name: &'a str,
        width: u32,
    }
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    for args in [json!([]), json!([1, "a\nb\0 ☃ \"", null]), json!({"a": {"b": []}}), json!(7)] {
        assert_eq!(ok("echo", pool.process("echo", &args)).await, args);
    }
    let resize = Resize { name: "a.png", width: 100 };
    let expected = json!({"name": "a.png", "width": 100});
    assert_eq!(ok("a struct", pool.process("echo", resize)).await, expected);
    assert_eq!(ok("a tuple", pool.process("echo", (1, "b"))).await, json!([1, "b"]));
    assert_eq!(ok("a text", pool.process("echo", "b")).await, json!("b"));
    assert_eq!(ok("nothing", pool.process("echo", ())).await, Value::Null);
    let failure = failed("no such command", pool.process("no \"such\"\ncommand", [1])).await;
    assert_eq!(failure.kind, Kind::Error);
    assert_eq!(failure.message, "no \"such\"\ncommand: unknown command no \"such\"\ncommand");
}

/// A request is one line, but JSON may be written on several.
#[tokio::test]
async fn args_with_line_breaks_are_one_request() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let args = RawValue::from_string("[\n  1,\r\n  \"a\\nb\"\n]".into()).expect("JSON");
    assert_eq!(ok("echo", pool.process("echo", &args)).await, json!([1, "a\nb"]));
    let nested = json!({"ok": true});
    assert_eq!(ok("echo", pool.process("echo", (&args, &nested))).await[1], nested);
}

#[tokio::test]
async fn an_error_is_kept_as_it_came() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let failure = failed("an error", pool.process("fail_object", ())).await;
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Error, "it failed"));
    let data = failure.data.as_ref().expect("the error as it came");
    let data: Value = serde_json::from_str(data.get()).expect("JSON");
    assert_eq!(data, json!({"message": "it failed", "code": 7}));
    assert_eq!(failure.to_string(), "error: it failed");
    // The worker lives on.
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
}

#[tokio::test]
async fn process_does_nothing_before_it_is_awaited() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")));
    drop(pool.process("echo", [1]));
    soon("join", pool.join()).await;
    assert_eq!(ok("echo", pool.process("echo", [2])).await, json!([2]));
    assert_eq!(crew.logged("job").len(), 1);
}

#[tokio::test]
async fn a_deferred_job_runs_at_once() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    // Each of the two ends only when both have begun.
    let first = pool.defer("await_log", json!(["job", 2]));
    crew.await_logged("job", 1);
    let second = pool.defer("await_log", json!(["job", 2]));
    crew.await_logged("done", 2);
    assert_eq!(ok("the second", second).await, json!(true));
    assert_eq!(ok("the first", first).await, json!(true));
}

#[tokio::test]
async fn map_keeps_the_order() {
    let pool = build(Pool::builder(&worker("")).max_procs(4));
    let args = (0..200_u64).map(|at| (at, (at * 7919) % 1500));
    let outcomes = soon("map", pool.map("nap", args)).await;
    let values: Vec<Value> = outcomes.into_iter().map(|outcome| outcome.expect("ok")).collect();
    assert_eq!(values, (0..200).map(Value::from).collect::<Vec<_>>());
    assert!(soon("map of nothing", pool.map("echo", [0; 0])).await.is_empty());
}

#[tokio::test]
async fn a_failure_in_map_stands_in_its_place() {
    let pool = build(Pool::builder(&worker("")).max_procs(2));
    let lines = ["{\"id\":1,\"result\":1}", "hello", "[]"];
    let outcomes = soon("map", pool.map("garbage", lines.map(|line| [line]))).await;
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes[1..].iter().all(|outcome| kind(outcome) == Some(Kind::Protocol)));
}

#[tokio::test]
async fn map_takes_its_args_as_they_are_needed() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let gate = crew.path("gate");
    let taken = AtomicUsize::new(0);
    let args = (0..100).map(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
        [&gate]
    });
    let mut map = pin!(pool.map("await_file", args));
    begin(&mut map).await;
    crew.await_logged("job", 2);
    begin(&mut map).await;
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken <= 8, "{taken} args were taken");
    crew.file("gate", "");
    let outcomes = soon("map", map).await;
    assert_eq!(outcomes.len(), 100);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|value| *value == true)));
}

#[tokio::test]
async fn a_pipeline_hands_out_what_is_finished_first() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let pipeline = pool.pipeline();
    assert!(soon("an empty pipeline", pipeline.next()).await.is_none());
    assert_eq!(soon("room", pipeline.queue("await_file", [crew.path("gate")])).await, 0);
    for at in 1..=3 {
        assert_eq!(soon("room", pipeline.queue("first", [at])).await, at);
    }
    for _ in 0..3 {
        let (tag, outcome) = soon("an outcome", pipeline.next()).await.expect("one is owed");
        assert_eq!(outcome.expect("ok"), tag);
    }
    crew.file("gate", "");
    let (tag, outcome) = soon("the last", pipeline.next()).await.expect("one is owed");
    assert_eq!((tag, outcome.expect("ok")), (0, json!(true)));
    assert!(soon("the end", pipeline.next()).await.is_none());
    // It may be used again.
    assert_eq!(soon("room", pipeline.queue("first", [4])).await, 4);
    assert_eq!(soon("one more", pipeline.next()).await.expect("one is owed").0, 4);
}

/// Outcomes that nobody takes do not hold a pipeline up, not even with one process.
#[tokio::test]
async fn a_pipeline_may_be_longer_than_its_window() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let pipeline = pool.pipeline();
    for at in 0..300 {
        assert_eq!(soon("room", pipeline.queue("first", [at])).await, at);
    }
    let mut seen = BTreeSet::new();
    while let Some((tag, outcome)) = soon("an outcome", pipeline.next()).await {
        assert_eq!(outcome.expect("ok"), tag);
        assert!(seen.insert(tag), "{tag} came twice");
    }
    assert_eq!(seen.len(), 300);
}

#[test]
fn a_pipeline_is_filled_and_emptied_by_several_tasks() {
    const JOBS: usize = 400;
    threads(4).block_on(async {
        let pool = build(Pool::builder(&worker("")).max_procs(3));
        let pipeline = Arc::new(pool.pipeline());
        let queued = Arc::new(AtomicUsize::new(0));
        let fillers = (0..2_usize).map(|filler| {
            let (pipeline, queued) = (Arc::clone(&pipeline), Arc::clone(&queued));
            tokio::spawn(async move {
                let mut tags = Vec::new();
                for at in 0..JOBS / 2 {
                    tags.push((pipeline.queue("first", [filler * JOBS + at]).await, filler, at));
                    queued.fetch_add(1, Ordering::AcqRel);
                }
                tags
            })
        });
        let fillers: Vec<_> = fillers.collect();
        let takers = (0..2).map(|_| {
            let (pipeline, queued) = (Arc::clone(&pipeline), Arc::clone(&queued));
            tokio::spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let all = queued.load(Ordering::Acquire) == JOBS;
                    match pipeline.next().await {
                        Some((tag, outcome)) => taken.push((tag, outcome.expect("ok"))),
                        None if all => return taken,
                        None => tokio::task::yield_now().await,
                    }
                }
            })
        });
        let takers: Vec<_> = takers.collect();
        let mut expected = BTreeMap::new();
        for filler in fillers {
            for (tag, filler, at) in soon("a filler", filler).await.expect("no panic") {
                assert!(expected.insert(tag, json!(filler * JOBS + at)).is_none());
            }
        }
        let mut seen = BTreeMap::new();
        for taker in takers {
            for (tag, value) in soon("a taker", taker).await.expect("no panic") {
                assert!(seen.insert(tag, value).is_none(), "{tag} came twice");
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(seen.len(), JOBS);
    });
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let pool = build(Pool::builder(&worker("")).max_procs(2));
    let pipeline = pool.pipeline();
    let mut seen = BTreeSet::new();
    for at in 0..200 {
        soon("room", pipeline.queue("first", [at])).await;
        let hurry = Duration::from_micros(at % 10 * 20);
        if let Some(Some((tag, _))) = within(hurry, pipeline.next()).await {
            assert!(seen.insert(tag), "{tag} came twice");
        }
    }
    while let Some((tag, _)) = soon("an outcome", pipeline.next()).await {
        assert!(seen.insert(tag), "{tag} came twice");
    }
    assert_eq!(seen.len(), 200);
}

#[tokio::test]
async fn a_dropped_queue_queues_nothing() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1));
    let pipeline = pool.pipeline();
    let gate = crew.path("gate");
    let mut queued = 0;
    loop {
        let mut queue = pin!(pipeline.queue("await_file", [&gate]));
        match poll_once(&mut queue).await {
            Poll::Ready(_) => queued += 1,
            Poll::Pending => break,
        }
        assert!(queued < 100, "the window has no end");
    }
    crew.file("gate", "");
    for _ in 0..queued {
        let (_, outcome) = soon("an outcome", pipeline.next()).await.expect("one is owed");
        assert_eq!(outcome.expect("ok"), true);
    }
    assert!(soon("the end", pipeline.next()).await.is_none());
    assert_eq!(crew.logged("job").len(), queued);
}

#[tokio::test]
async fn join_waits_for_all_jobs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    soon("join of nothing", pool.join()).await;
    let gate = crew.path("gate");
    let jobs: Vec<_> = (0..6).map(|_| pool.defer("await_file", [&gate])).collect();
    let mut joins = [Box::pin(pool.join()), Box::pin(pool.join())];
    for join in &mut joins {
        begin(&mut join.as_mut()).await;
    }
    // A dropped join has no effect.
    begin(&mut pin!(pool.join())).await;
    crew.await_logged("job", 2);
    for join in &mut joins {
        begin(&mut join.as_mut()).await;
    }
    // What is queued meanwhile is waited for as well.
    let late = pool.defer("first", [1]);
    crew.file("gate", "");
    for join in joins {
        soon("join", join).await;
    }
    assert_eq!(crew.logged("done").len(), 7);
    for job in jobs {
        assert_eq!(soon("a result that is there", job).await.expect("ok"), true);
    }
    assert_eq!(ok("the late one", late).await, json!(1));
    soon("join of nothing", pool.join()).await;
}

#[test]
fn futures_may_be_sent() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let pool = build(Pool::builder(&worker("")));
    is_shared(&pool);
    is_shared(&pool.defer("echo", ()));
    is_shared(&pool.pipeline());
    is_send(&pool.process("echo", "a".to_owned()));
    is_send(&pool.map("echo", vec![1]));
    is_send(&pool.pipeline().queue("echo", "a".to_owned()));
    is_send(&pool.pipeline().next());
    is_send(&pool.join());
    is_send(&pool.shutdown());
}

// Processes.

#[tokio::test]
async fn one_job_at_a_time_needs_one_process() {
    let pool = build(Pool::builder(&worker("")).max_procs(8));
    let mut pids = BTreeSet::new();
    for _ in 0..3 {
        pids.insert(pid(&pool).await);
    }
    assert_eq!(pids.len(), 1);
}

/// The next job is queued at the very moment when the worker has answered the last one.
#[test]
fn a_thousand_jobs_one_at_a_time_need_one_process() {
    threads(2).block_on(async {
        let pool = build(Pool::builder(&worker("")).max_procs(8));
        let mut pids = BTreeMap::new();
        for at in 0..1000 {
            pids.entry(pid(&pool).await).or_insert(at);
        }
        assert_eq!(pids.len(), 1, "the processes, and their first jobs: {pids:?}");
    });
}

#[tokio::test]
async fn jobs_go_to_idle_processes_before_new_ones_are_started() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(4));
    let pair = [pool.defer("await_log", ("job", 2)), pool.defer("await_log", ("job", 2))];
    for job in pair {
        ok("one of two", job).await;
    }
    for _ in 0..20 {
        pid(&pool).await;
    }
    assert_eq!(crew.logged("start").len(), 2);
}

/// A worker that ended while it had nothing to do is not taken for a warm one.
#[tokio::test]
async fn jobs_go_to_a_living_process_before_a_dead_one_is_replaced() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let pair = [pool.defer("await_log", ("job", 2)), pool.defer("await_log", ("job", 2))];
    for job in pair {
        ok("one of two", job).await;
    }
    let last = pid(&pool).await;
    kill(last);
    until("the dead worker has been found", || !is_there(last)).await;
    for _ in 0..5 {
        assert_ne!(pid(&pool).await, last);
    }
    assert_eq!(crew.logged("start").len(), 2, "{:?}", crew.log());
}

#[tokio::test]
async fn an_idle_process_ends_after_its_time() {
    let crew = Crew::new();
    let time = Duration::from_millis(40);
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2).idle_timeout(time));
    for round in 1..=3 {
        pid(&pool).await;
        until("the idle worker is gone", || crew.left().is_empty()).await;
        assert_eq!(crew.logged("start").len(), round);
    }
}

#[tokio::test]
async fn a_process_is_replaced_after_max_reqs_jobs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).max_reqs(3));
    for at in 0..10 {
        assert_eq!(ok("first", pool.process("first", [at])).await, at);
    }
    let mut jobs = jobs_by_process(&crew);
    // One that was started ahead may have had no job yet.
    jobs.retain(|&count| count > 0);
    jobs.sort_unstable();
    assert_eq!(jobs, [1, 3, 3, 3]);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
}

#[tokio::test]
async fn no_process_gets_more_than_max_reqs_jobs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(3).max_reqs(7));
    let outcomes = soon("map", pool.map("first", (0..150).map(|at| [at]))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let jobs = jobs_by_process(&crew);
    assert!(jobs.iter().all(|&count| count <= 7), "{jobs:?}");
    assert_eq!(jobs.iter().sum::<usize>(), 150);
}

/// A worker that went wrong while it had nothing to do, and takes its time to end, does not hold
/// up the next job while others are free.
#[tokio::test]
async fn jobs_do_not_wait_for_an_idle_worker_to_end() {
    let crew = Crew::new();
    let closed = crew.path("closed");
    let begin = "trap '' TERM; read -r l; sleep 0.3; echo '{\"result\":2}'; sleep 0.1";
    let good = "read -r l; sleep 0.15; while echo '{\"result\":1}'; do read -r l || exit; done";
    for end in ["echo garbage", "exec >&-; : > \"$1\""] {
        let bad = format!("{begin}; {end}; sleep 60");
        let code = format!("if test $PROCPOOL_SLOT = 2; then {bad}; else {good}; fi");
        let line = shell_words::join(["sh", "-c", &code, "sh", &closed]);
        let notes = Arc::new(Notes::default());
        let watcher = Arc::clone(&notes) as Arc<dyn Watcher>;
        let pool = Pool::builder(&line).max_procs(2).grace(PATIENCE * 2).watcher(watcher);
        let pool = pool.build().expect("a pool");
        // The second slot becomes idle last, and so would be the next to get a job.
        let [one, other] = [pool.defer("", 1), pool.defer("", 2)];
        let slots = [ok("a first job", one).await, ok("another", other).await];
        assert!(slots.contains(&json!(1)) && slots.contains(&json!(2)), "{slots:?}");
        until("the end of a worker", || {
            !notes.lock().notes.is_empty() || Path::new(&closed).exists()
        })
        .await;
        assert_eq!(ok("the next job", pool.process("", 3)).await, 1);
    }
}

/// Workers that don't end when their stdin does linger for the grace period, but only so many.
#[tokio::test]
async fn replaced_workers_do_not_pile_up() {
    let crew = Crew::new();
    let worker = crew.worker("--ignore-eof");
    let pool =
        build(Pool::builder(&worker).max_procs(1).max_reqs(1).grace(Duration::from_millis(100)));
    let mut most = 0;
    for _ in 0..25 {
        pid(&pool).await;
        most = most.max(crew.left().len());
    }
    assert!(most <= 6, "{most} processes of a pool of one");
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
}

/// Those that linger are ended with the pool.
#[tokio::test]
async fn replaced_workers_do_not_outlive_the_pool() {
    for shutdown in [true, false] {
        let crew = Crew::new();
        let worker = crew.worker("--ignore-eof --ignore-term");
        let pool = Pool::builder(&worker).max_procs(2).max_reqs(1);
        let pool = build(pool.grace(Duration::from_millis(if shutdown { 100 } else { 20_000 })));
        for _ in 0..2 {
            pid(&pool).await;
        }
        if shutdown {
            soon("shutdown", pool.shutdown()).await;
            assert!(crew.left().is_empty(), "{:?}", crew.left());
            pid(&pool).await;
        }
        drop(pool);
        crew.assert_gone();
    }
}

#[tokio::test]
async fn a_worker_is_told_who_it_is() {
    let pool = build(Pool::builder(&worker("")).max_procs(1).max_reqs(4).env("COLOUR", "blue"));
    for generation in ["1", "2"] {
        for (name, expected) in [
            ("PROCPOOL_SLOT", "1"),
            ("PROCPOOL_GENERATION", generation),
            ("PROCPOOL_PROTOCOL", "jsonl"),
            ("COLOUR", "blue"),
        ] {
            assert_eq!(ok(name, pool.process("env", [name])).await, expected, "{name}");
        }
    }
}

/// In a process of its own, where the variable is not set.
#[test]
fn what_the_builder_sets_is_left_alone() {
    if alone("what_the_builder_sets_is_left_alone") {
        let name = "PYTHONUNBUFFERED";
        for (builder, expected) in [
            (Pool::builder(&worker("")), "1"),
            (Pool::builder(&worker("")).env(name, "mine"), "mine"),
        ] {
            let pool = build(builder);
            let seen = one_thread().block_on(async { ok(name, pool.process("env", [name])).await });
            assert_eq!(seen, expected);
        }
    }
}

// Shutting down.

#[tokio::test]
async fn shutdown_under_load_cancels_everything() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let jobs: Vec<_> = (0..20).map(|_| pool.defer("never_answer", ())).collect();
    crew.await_logged("job", 2);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    for job in jobs {
        assert_eq!(failed("a cancelled job", job).await.kind, Kind::Cancelled);
    }
    assert_eq!(crew.logged("job").len(), 2);
    // And then it is used again.
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
    assert_eq!(crew.logged("start").len(), 3);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
}

#[tokio::test]
async fn an_idle_worker_ends_in_its_own_way_at_shutdown() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    pid(&pool).await;
    soon("shutdown", pool.shutdown()).await;
    assert_eq!(crew.logged("eof").len(), 1);
    assert!(crew.left().is_empty(), "{:?}", crew.left());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever_for_a_stubborn_worker() {
    for (flags, cmd) in [("", "ignore_term"), ("--ignore-term --ignore-eof", "pid")] {
        let crew = Crew::new();
        let grace = Duration::from_millis(60);
        let pool = build(Pool::builder(&crew.worker(flags)).max_procs(1).grace(grace));
        let job = pool.defer(cmd, ());
        match cmd {
            "pid" => drop(ok("pid", job).await),
            _ => {
                crew.await_logged("job", 1);
                soon("shutdown", pool.shutdown()).await;
                assert_eq!(failed("a cancelled job", job).await.kind, Kind::Cancelled);
            }
        }
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
    }
}

#[tokio::test]
async fn shutdown_may_be_repeated() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    soon("shutdown of an unused pool", pool.shutdown()).await;
    for at in 0..5 {
        assert_eq!(ok("first", pool.process("first", [at])).await, at);
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
        soon("shutdown again", pool.shutdown()).await;
    }
}

#[tokio::test]
async fn shutdowns_at_the_same_time_end_together() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    for _ in 0..10 {
        let jobs = [pool.defer("never_answer", ()), pool.defer("never_answer", ())];
        soon("shutdowns", async {
            tokio::join!(pool.shutdown(), pool.shutdown(), pool.shutdown(), pool.join());
        })
        .await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
        for job in jobs {
            assert_eq!(failed("a cancelled job", job).await.kind, Kind::Cancelled);
        }
    }
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
}

#[tokio::test]
async fn what_is_queued_during_a_shutdown_is_cancelled() {
    let crew = Crew::new();
    let pool = build(
        Pool::builder(&crew.worker("--ignore-eof --ignore-term"))
            .max_procs(1)
            .grace(Duration::from_millis(200)),
    );
    pid(&pool).await;
    let mut shutdown = pin!(pool.shutdown());
    begin(&mut shutdown).await;
    assert_eq!(failed("process", pool.process("echo", ())).await.kind, Kind::Cancelled);
    assert_eq!(failed("defer", pool.defer("echo", ())).await.kind, Kind::Cancelled);
    let outcomes = soon("map", pool.map("echo", [1, 2, 3])).await;
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(Kind::Cancelled)));
    assert_eq!(pool.feed(&mut fed("echo", [1])), Err(Closed));
    begin(&mut shutdown).await;
    soon("shutdown", shutdown).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
    assert_eq!(crew.logged("job").len(), 2);
}

#[tokio::test]
async fn a_dropped_shutdown_goes_on() {
    let crew = Crew::new();
    let pool = build(
        Pool::builder(&crew.worker("--ignore-eof --ignore-term"))
            .max_procs(2)
            .grace(Duration::from_millis(50)),
    );
    pid(&pool).await;
    let busy = pool.defer("never_answer", ());
    begin(&mut pin!(pool.shutdown())).await;
    until("the workers are gone", || crew.left().is_empty()).await;
    assert_eq!(failed("a cancelled job", busy).await.kind, Kind::Cancelled);
    soon("the next shutdown", pool.shutdown()).await;
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
}

#[tokio::test]
async fn shutdown_while_a_worker_starts() {
    let crew = Crew::new();
    let worker = crew.worker("--sleep-at-start 60000");
    let pool = build(Pool::builder(&worker).max_procs(2));
    let jobs: Vec<_> = (0..4).map(|at| pool.defer("first", [at])).collect();
    crew.await_logged("start", 2);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    for job in jobs {
        assert_eq!(failed("a cancelled job", job).await.kind, Kind::Cancelled);
    }
}

/// However often workers may fail to start, a shutdown is the end of it.
#[tokio::test]
async fn shutdown_while_no_worker_can_be_started() {
    let crew = Crew::new();
    let worker = crew.worker("--die-at-start");
    let pool = build(Pool::builder(&worker).max_procs(2).start_limit(0));
    let jobs: Vec<_> = (0..4).map(|at| pool.defer("first", [at])).collect();
    crew.await_logged("start", 6);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    for job in jobs {
        assert_eq!(failed("a cancelled job", job).await.kind, Kind::Cancelled);
    }

    let script = script(&crew, "worker", "exit 0");
    let pool = build(Pool::builder(&script).max_procs(1).start_limit(0));
    fs::remove_file(&script).expect("the script is there");
    for at in 0..100 {
        let mut job = pool.defer("echo", ());
        assert!(within(Duration::from_micros(at * 10), &mut job).await.is_none());
        soon("shutdown", pool.shutdown()).await;
        assert_eq!(failed("a cancelled job", job).await.kind, Kind::Cancelled);
    }
}

/// Only a shutdown ends these jobs: one that it overlooks makes it hang.
#[test]
fn no_job_slips_through_a_shutdown() {
    if !crate::common::heavy() {
        return;
    }
    const ROUNDS: u64 = 60;
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(3));
    threads(4).block_on(async {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..6)
            .map(|_| {
                let (pool, over) = (pool.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    while !over.load(Ordering::Acquire) {
                        let failure = failed("a call", pool.process("never_answer", ())).await;
                        assert_eq!(failure.kind, Kind::Cancelled, "{failure}");
                    }
                })
            })
            .collect();
        // The next round begins only after both have ended: nobody helps out one that hangs.
        for round in 0..ROUNDS {
            // One begins when the other may be just about to end.
            let [first, second] = [pool.clone(), pool.clone()];
            let enders = [
                tokio::spawn(async move { first.shutdown().await }),
                tokio::spawn(async move {
                    let pause = Duration::from_micros(round * 100 % 6000);
                    within(pause, pending::<()>()).await;
                    second.shutdown().await;
                }),
            ];
            for ender in enders {
                soon(&format!("shutdown {round}"), ender).await.expect("no panic");
            }
            // Nobody shuts it down any more, so it takes jobs.
            begin(&mut pin!(pool.process("never_answer", ()))).await;
        }
        over.store(true, Ordering::Release);
        soon("the last shutdown", async {
            while callers.iter().any(|caller| !caller.is_finished()) {
                pool.shutdown().await;
                tokio::task::yield_now().await;
            }
        })
        .await;
        for caller in callers {
            caller.await.expect("no panic");
        }
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
        soon("join", pool.join()).await;
        assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
    });
}

/// Short jobs from plain threads, joins and shutdowns, all at once: every job ends in one of the
/// two ways it may, and the pool is as good as new.
#[test]
fn calls_joins_and_shutdowns_from_many_threads() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(3).max_reqs(5));
    let over = AtomicBool::new(false);
    let (done, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (pool, over, done, cancelled) = (pool.clone(), &over, &done, &cancelled);
                scope.spawn(move || {
                    one_thread().block_on(async {
                        for at in 0.. {
                            if over.load(Ordering::Acquire) {
                                return;
                            }
                            if number == 0 && at % 7 == 0 {
                                soon("join", pool.join()).await;
                            }
                            let jobs = [pool.defer("first", [at]), pool.defer("first", [at])];
                            for job in jobs {
                                match soon("a job", job).await {
                                    Ok(value) => {
                                        assert_eq!(value, at);
                                        done.fetch_add(1, Ordering::Relaxed);
                                    }
                                    Err(failure) => {
                                        assert_eq!(failure.kind, Kind::Cancelled, "{failure}");
                                        cancelled.fetch_add(1, Ordering::Relaxed);
                                        tokio::task::yield_now().await;
                                    }
                                }
                            }
                        }
                    });
                })
            })
            .collect();
        one_thread().block_on(async {
            for round in 0..15 {
                let before = done.load(Ordering::Relaxed);
                until("jobs get done", || done.load(Ordering::Relaxed) >= before + 10).await;
                soon(&format!("shutdown {round}"), pool.shutdown()).await;
            }
            over.store(true, Ordering::Release);
        });
        wait_for("the threads", || threads.iter().all(thread::ScopedJoinHandle::is_finished));
    });
    one_thread().block_on(async {
        soon("join", pool.join()).await;
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
        assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
    });
}

// Dropping.

#[tokio::test]
async fn a_queued_job_that_is_dropped_never_runs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1));
    let running = pool.defer("await_file", [crew.path("gate")]);
    crew.await_logged("job", 1);
    let queued = pool.defer("echo", ["dropped"]);
    let mut process = Box::pin(pool.process("echo", ["dropped"]));
    begin(&mut process.as_mut()).await;
    drop((queued, process));
    crew.file("gate", "");
    assert_eq!(ok("the running job", running).await, true);
    soon("join", pool.join()).await;
    assert_eq!(ok("the next job", pool.process("first", [1])).await, json!(1));
    assert_eq!(crew.logged("job").len(), 2);
}

/// A pool whose jobs have all been dropped starts no process for them.
#[tokio::test]
async fn thousands_of_dropped_jobs_hold_nobody_up() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let gate = crew.path("gate");
    let running = [pool.defer("await_file", [&gate]), pool.defer("await_file", [&gate])];
    crew.await_logged("job", 2);
    for round in 0..3 {
        let jobs: Vec<_> = (0..1000).map(|at| pool.defer("echo", [at])).collect();
        let kept = pool.defer("first", [round]);
        drop(jobs);
        if round == 0 {
            crew.file("gate", "");
        }
        assert_eq!(ok("the kept job", kept).await, round);
        soon("join", pool.join()).await;
    }
    for job in running {
        assert_eq!(ok("a running job", job).await, true);
    }
    assert_eq!(ok("the next job", pool.process("first", [1])).await, json!(1));
}

/// To drop a call costs about the same however many workers there are.
#[tokio::test]
async fn dropping_many_calls_of_many_workers_is_quick() {
    let pool = build(Pool::builder(&worker("")).max_procs(150));
    let jobs: Vec<_> = (0..4000).map(|_| pool.defer("never_answer", ())).collect();
    let start = Instant::now();
    drop(jobs);
    let time = start.elapsed();
    soon("join", pool.join()).await;
    assert!(time < Duration::from_secs(3), "it took {time:?}");
}

#[tokio::test]
async fn a_running_job_that_is_dropped_ends_its_worker() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let other = pool.defer("await_file", [crew.path("gate")]);
    crew.await_logged("job", 1);
    let running = pool.defer("never_answer", ());
    crew.await_logged("job", 2);
    assert_eq!(crew.left().len(), 2);
    drop(running);
    until("the dropped job's worker is gone", || crew.left().len() == 1).await;
    let last = pid(&pool).await;
    assert_eq!(crew.logged("start").last().map(|line| line[1].clone()), Some(last.to_string()));
    crew.file("gate", "");
    assert_eq!(ok("the other job", other).await, true);
    soon("join", pool.join()).await;
    assert_eq!(crew.logged("start").len(), 3);
}

#[tokio::test]
async fn a_job_that_is_dropped_while_its_worker_starts_never_runs() {
    let crew = Crew::new();
    let (starts, gate) = (crew.path("starts"), crew.path("gate"));
    let code = "echo $$ >> \"$1\"; until test -e \"$2\"; do sleep 0.01; done; shift 2; exec \"$@\"";
    let words = ["sh", "-c", code, "sh", &starts, &gate];
    let line = format!("{} {}", shell_words::join(words), crew.worker(""));
    let pool = build(Pool::builder(&line).max_procs(1));
    let job = pool.defer("echo", ["dropped"]);
    until("the worker starts", || Path::new(&starts).exists()).await;
    drop(job);
    soon("join", pool.join()).await;
    crew.file("gate", "");
    assert_eq!(ok("the next job", pool.process("first", [1])).await, json!(1));
    assert_eq!(crew.logged("job").len(), 1);
}

/// A dropped job that waits at a gate, or for one, is gone at once: the next one has its turn.
#[tokio::test]
async fn jobs_that_are_dropped_take_no_turn_at_a_gate() {
    let crew = Crew::new();
    let hour = Duration::from_secs(3600);
    let limits = Limits { interval: Some(hour), ..Limits::default() };
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2).limits(limits));
    assert_eq!(ok("the first", pool.process("first", [1])).await, 1);
    // Two wait at the gate, and others behind them.
    let waiting: Vec<_> = (0..5).map(|at| pool.defer("first", [at])).collect();
    assert!(timeout(Duration::from_millis(100), pool.join()).await.is_err());
    drop(waiting);
    soon("join", pool.join()).await;
    assert_eq!(crew.logged("job").len(), 1);
    assert_eq!(crew.logged("start").len(), 1, "no process is started for those");
}

/// Each waits for its turn, and those behind one that is dropped come one turn earlier.
#[tokio::test]
async fn the_turns_of_dropped_jobs_are_those_of_others() {
    let crew = Crew::new();
    let limits = Limits { interval: Some(Duration::from_millis(900)), ..Limits::default() };
    let pool = build(Pool::builder(&crew.worker("")).max_procs(6).limits(limits));
    assert_eq!(ok("the first", pool.process("first", [1])).await, 1);
    let start = Instant::now();
    let dropped: Vec<_> = (0..4).map(|at| pool.defer("first", [at])).collect();
    let kept = pool.defer("first", [7]);
    drop(dropped);
    assert_eq!(ok("the one that is kept", kept).await, 7);
    let time = start.elapsed();
    assert!(time < Duration::from_millis(2 * 900), "it waited for the turns of others: {time:?}");
}

/// A job that is to be tried again is forgotten when its call is dropped.
#[tokio::test]
async fn jobs_that_are_dropped_are_not_waited_for_to_be_tried_again() {
    let crew = Crew::new();
    let delay = Duration::from_secs(3600);
    let pool = Pool::builder(&crew.worker("")).max_procs(2).retries(3).retry_delay(delay);
    let pool = build(pool);
    let jobs: Vec<_> = (0..50).map(|_| pool.defer("fail", ["no"])).collect();
    crew.await_logged("done", 50);
    let mut pipeline_jobs = 0;
    let pipeline = pool.pipeline();
    for _ in 0..4 {
        soon("room", pipeline.queue("fail", ["no"])).await;
        pipeline_jobs += 1;
    }
    crew.await_logged("done", 50 + pipeline_jobs);
    assert!(timeout(Duration::from_millis(100), pool.join()).await.is_err());
    drop(jobs);
    assert!(timeout(Duration::from_millis(100), pool.join()).await.is_err());
    drop(pipeline);
    soon("join", pool.join()).await;
    assert_eq!(crew.logged("job").len(), 50 + pipeline_jobs);
}

/// With several jobs at a worker, the dropped one may be behind the one that the worker is on.
#[tokio::test]
async fn a_job_that_is_dropped_while_it_waits_at_a_worker_holds_nobody_up() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).depth(Depth::Fixed(4)));
    let gates = [crew.path("0"), crew.path("1")];
    let [first, second] = [0, 1].map(|at| pool.defer("await_file", [&gates[at]]));
    let dropped = pool.defer("never_answer", ());
    let last = pool.defer("first", [7]);
    crew.await_logged("job", 1);
    crew.file("0", "");
    crew.await_logged("job", 2);
    drop(dropped);
    crew.file("1", "");
    assert_eq!(ok("the first", first).await, true);
    assert_eq!(ok("the second", second).await, true);
    assert_eq!(ok("the last", last).await, 7);
    soon("join", pool.join()).await;
}

#[tokio::test]
async fn a_dropped_map_or_pipeline_cancels_its_jobs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    for round in 1..=5 {
        if round % 2 == 0 {
            let mut map = Box::pin(pool.map("never_answer", 0..10));
            begin(&mut map.as_mut()).await;
            crew.await_logged("job", 2 * round);
        } else {
            let pipeline = pool.pipeline();
            for at in 0..4 {
                soon("room", pipeline.queue("never_answer", [at])).await;
            }
            crew.await_logged("job", 2 * round);
        }
        soon("join", pool.join()).await;
        assert_eq!(crew.logged("job").len(), 2 * round);
    }
    assert_eq!(ok("the next job", pool.process("first", [1])).await, json!(1));
}

/// Calls that are dropped before, while and after they are queued, started, run and answered.
#[tokio::test]
async fn calls_dropped_at_every_moment() {
    for (max_procs, depth, flags) in [
        (1, Depth::Fixed(1), ""),
        (3, Depth::Fixed(1), ""),
        (2, Depth::Fixed(1), "--exit-after 4"),
        (2, Depth::Fixed(8), ""),
        (1, Depth::Auto, ""),
    ] {
        let pool = build(Pool::builder(&worker(flags)).max_procs(max_procs).depth(depth));
        for at in 0..100_u64 {
            let hurry = Duration::from_micros(at * 37 % 1900);
            let kept = pool.defer("first", [at]);
            let dropped = pool.defer("first", [at]);
            match within(hurry, pool.process("first", [at])).await {
                Some(outcome) => assert_eq!(outcome.expect("ok"), at),
                None if at % 3 == 0 => soon("join", pool.join()).await,
                None => {}
            }
            drop(dropped);
            assert_eq!(ok("the kept job", kept).await, at);
        }
        soon("join", pool.join()).await;
        let outcomes = soon("map", pool.map("first", (0..20).map(|at| [at]))).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        soon("shutdown", pool.shutdown()).await;
    }
}

#[test]
fn calls_dropped_by_many_threads() {
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    threads(4).block_on(async {
        let tasks: Vec<_> = (0..20_u64)
            .map(|number| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for at in 0..15 {
                        let hurry = Duration::from_micros((number * 131 + at * 577) % 3000);
                        if let Some(outcome) = within(hurry, pool.process("first", [at])).await {
                            assert_eq!(outcome.expect("ok"), at);
                        }
                    }
                    assert_eq!(ok("a kept call", pool.process("first", [number])).await, number);
                })
            })
            .collect();
        for task in tasks {
            soon("a task", task).await.expect("no panic");
        }
        soon("join", pool.join()).await;
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
    });
}

#[tokio::test]
async fn the_last_handle_takes_all_processes_with_it() {
    let crew = Crew::new();
    let worker = crew.worker("--ignore-term --ignore-eof");
    let pool = build(Pool::builder(&worker).max_procs(3));
    let clone = pool.clone();
    let mut jobs: Vec<_> = (0..10).map(|_| pool.defer("never_answer", ())).collect();
    crew.await_logged("job", 3);
    drop(clone);
    begin(&mut Pin::new(&mut jobs[0])).await;
    assert_eq!(crew.left().len(), 3);
    drop(pool);
    crew.assert_gone();
    for job in jobs {
        assert_eq!(failed("a lost job", job).await.kind, Kind::Cancelled);
    }
    assert_eq!(crew.logged("job").len(), 3);
}

#[tokio::test]
async fn the_last_handle_is_dropped_during_a_shutdown() {
    let crew = Crew::new();
    let worker = crew.worker("--ignore-term --ignore-eof");
    let pool = build(Pool::builder(&worker).max_procs(2));
    pid(&pool).await;
    begin(&mut pin!(pool.shutdown())).await;
    drop(pool);
    crew.assert_gone();
}

/// At every moment of a process's life the pool can go.
#[tokio::test]
async fn pools_dropped_at_every_moment_leave_nothing() {
    let crew = Crew::new();
    for at in 0..100_u64 {
        let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
        let job = pool.defer("first", [at]);
        let mut other = pool.defer("never_answer", ());
        assert!(within(Duration::from_micros(at * 50), &mut other).await.is_none());
        drop(pool);
        match soon("the first job", job).await {
            Ok(value) => assert_eq!(value, at),
            Err(failure) => assert_eq!(failure.kind, Kind::Cancelled, "{failure}"),
        }
        assert_eq!(failed("the other job", other).await.kind, Kind::Cancelled);
    }
    crew.assert_gone();
}

// Runtimes.

/// What many tasks do with a pool at the same time.
async fn many_tasks(pool: &Pool, count: usize) {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move {
                match number % 4 {
                    0 => assert_eq!(
                        ok("echo", pool.process("echo", [number])).await,
                        json!([number])
                    ),
                    1 => {
                        let jobs = [pool.defer("first", [number]), pool.defer("first", [0])];
                        for (job, expected) in jobs.into_iter().zip([number, 0]) {
                            assert_eq!(ok("first", job).await, expected);
                        }
                    }
                    2 => {
                        let outcomes = pool.map("first", (0..5).map(|at| [number + at])).await;
                        for (at, outcome) in outcomes.into_iter().enumerate() {
                            assert_eq!(outcome.expect("ok"), number + at);
                        }
                    }
                    _ => {
                        let failure = failed("fail", pool.process("fail", [number])).await;
                        assert_eq!(
                            (failure.kind, failure.message),
                            (Kind::Error, number.to_string())
                        );
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        soon("a task", task).await.expect("no panic");
    }
}

#[test]
fn many_tasks_on_a_current_thread_runtime() {
    let pool = build(Pool::builder(&worker("")).max_procs(3));
    one_thread().block_on(async {
        many_tasks(&pool, 200).await;
        soon("join", pool.join()).await;
        soon("shutdown", pool.shutdown()).await;
    });
}

#[test]
fn many_tasks_on_a_multi_thread_runtime() {
    let pool = build(Pool::builder(&worker("")).max_procs(3));
    threads(4).block_on(async {
        many_tasks(&pool, 200).await;
        soon("join", pool.join()).await;
        soon("shutdown", pool.shutdown()).await;
    });
}

#[test]
fn one_pool_on_two_runtimes() {
    let pool = build(Pool::builder(&worker("")).max_procs(3));
    let (mine, theirs) = (pool.defer("first", [1]), pool.defer("first", [2]));
    thread::scope(|scope| {
        scope.spawn(|| {
            one_thread().block_on(async {
                assert_eq!(ok("a job from outside", theirs).await, json!(2));
                many_tasks(&pool, 100).await;
            });
        });
        threads(2).block_on(async {
            assert_eq!(ok("a job from outside", mine).await, json!(1));
            many_tasks(&pool, 100).await;
        });
    });
    one_thread().block_on(async { soon("shutdown", pool.shutdown()).await });
}

/// A runtime that is gone takes only its own calls with it.
#[test]
fn a_runtime_ends_before_its_calls() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    for round in 1..=3 {
        let runtime = threads(2);
        for _ in 0..4 {
            let pool = pool.clone();
            runtime.spawn(async move { pool.process("never_answer", ()).await });
        }
        crew.await_logged("job", 2 * round);
        runtime.shutdown_timeout(PATIENCE);
        one_thread().block_on(async { soon("join", pool.join()).await });
    }
    one_thread().block_on(async {
        assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
    });
}

/// The pool's threads are its own: it asks neither for tokio's timers nor for its IO.
#[test]
fn a_runtime_without_drivers_will_do() {
    let thread = thread::spawn(|| {
        let pool = build(Pool::builder(&worker("")).max_procs(1));
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            assert_eq!(pool.process("first", [1]).await.expect("ok"), 1);
            pool.join().await;
            pool.shutdown().await;
        });
    });
    wait_for("the thread", || thread.is_finished());
    thread.join().expect("no panic");
}

// Failures.

#[tokio::test]
async fn the_death_of_a_worker_is_told() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    for (cmd, args, parts) in [
        ("die", json!([]), &["was killed by SIGKILL (signal 9)"][..]),
        ("die", json!(["ABRT"]), &["SIGABRT"]),
        ("exit", json!([0]), &["exited with status 0", "before it answered"]),
        ("stderr_exit", json!(["out of ink", 3]), &["exited with status 3", "out of ink"]),
        ("half", json!([]), &["SIGKILL", "\"resu"]),
    ] {
        let first = pid(&pool).await;
        let failure = failed(cmd, pool.process(cmd, &args)).await;
        assert_eq!(failure.kind, Kind::Crash, "{failure}");
        assert_has(&failure.message, parts);
        assert_has(&failure.message, &[&first.to_string()]);
        assert!(failure.data.is_none());
    }
    pid(&pool).await;
}

#[tokio::test]
async fn a_crash_costs_its_own_job_only() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let pipeline = pool.pipeline();
    let mut outcomes = BTreeMap::new();
    for at in 0..60 {
        let cmd = if at % 5 == 4 { "die" } else { "first" };
        soon("room", pipeline.queue(cmd, json!([if cmd == "die" { 9 } else { at }]))).await;
    }
    while let Some((tag, outcome)) = soon("an outcome", pipeline.next()).await {
        assert!(outcomes.insert(tag, outcome).is_none(), "{tag} came twice");
    }
    assert_eq!(outcomes.len(), 60);
    for (tag, outcome) in outcomes {
        match outcome {
            Ok(value) => assert_eq!(value, tag),
            Err(failure) => assert_eq!((tag % 5, failure.kind), (4, Kind::Crash), "{failure}"),
        }
    }
    soon("join", pool.join()).await;
}

#[tokio::test]
async fn a_timeout_ends_the_worker() {
    let crew = Crew::new();
    let pool = build(
        Pool::builder(&crew.worker(""))
            .max_procs(1)
            .timeout(Duration::from_millis(150))
            .grace(Duration::from_millis(50)),
    );
    for cmd in ["never_answer", "ignore_term", "grandchild_hang"] {
        let failure = failed(cmd, pool.process(cmd, ())).await;
        assert_eq!(failure.kind, Kind::Timeout, "{failure}");
        assert_has(&failure.message, &["150ms"]);
        soon("join", pool.join()).await;
        crew.assert_gone();
    }
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
}

/// Blank lines are no replies. A worker that prints nothing else is up against the same timeout as
/// one that prints nothing.
#[tokio::test]
async fn a_flood_does_not_hold_back_the_timeout() {
    for flood in
        ["yes ''", "read -r a; echo '{\"result\":1}'; read -r b; yes '{\"id\":1,\"result\":1}'"]
    {
        let worker = format!("sh -c {}", shell_words::quote(flood));
        let notes = Arc::new(Notes::default());
        let pool = Pool::builder(&worker)
            .max_procs(1)
            .timeout(Duration::from_millis(300))
            .grace(Duration::from_millis(50))
            .watcher(Arc::clone(&notes) as Arc<dyn Watcher>)
            .build()
            .expect("a pool");
        drop(soon("a first job", pool.process("echo", ())).await);
        let failure = failed("a flood", pool.process("echo", ())).await;
        assert!(matches!(failure.kind, Kind::Timeout | Kind::Protocol), "{failure}");
        soon("shutdown", pool.shutdown()).await;
        let notes = &notes.lock().notes;
        assert!(notes.len() <= 2, "a flood of {} notes: {}", notes.len(), notes[0]);
    }
    let pool = build(Pool::builder("sh -c \"yes ''\"").max_procs(1));
    let job = pool.defer("echo", ());
    soon("shutdown", pool.shutdown()).await;
    let failure = failed("a flood", job).await;
    assert!(matches!(failure.kind, Kind::Cancelled | Kind::Protocol), "{failure}");
}

#[tokio::test]
async fn the_start_limit_fails_all_that_wait() {
    let crew = Crew::new();
    let gate = crew.path("gate");
    let line = format!(
        "if ! test -e {}; then echo no gate >&2; exit 3; fi; exec {}",
        shell_words::quote(&gate),
        crew.worker("")
    );
    let worker = format!("sh -c {}", shell_words::quote(&line));
    let notes = Arc::new(Notes::default());
    let watcher = Arc::clone(&notes);
    let pool = Pool::builder(&worker).max_procs(2).start_limit(3).watcher(watcher);
    let pool = pool.build().expect("a pool");
    for _ in 0..2 {
        let pipeline = pool.pipeline();
        soon("room", pipeline.queue("echo", [0])).await;
        let jobs: Vec<_> = (0..20).map(|at| pool.defer("echo", [at])).collect();
        for job in jobs {
            let failure = failed("a job that can't be started", job).await;
            assert_eq!(failure.kind, Kind::Spawn, "{failure}");
            assert_has(&failure.message, &["exited with status 3", "no gate", "3 times in a row"]);
        }
        let (_, outcome) = soon("the pipeline", pipeline.next()).await.expect("one is owed");
        assert_eq!(kind(&outcome), Some(Kind::Spawn));
        soon("join", pool.join()).await;
    }
    let given_up = notes.lock().given_up;
    assert!(given_up >= 2, "{given_up}");
    assert_has(&notes.lock().stderr, &["no gate\n"]);
    crew.file("gate", "");
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
}

/// The program was there when the pool was built.
#[tokio::test]
async fn a_program_that_has_gone_is_a_start_failure() {
    for max_procs in [1, 3] {
        let crew = Crew::new();
        let code = format!("exec {}", crew.worker(""));
        let path = script(&crew, "worker", &code);
        let pool = build(Pool::builder(&path).max_procs(max_procs).start_limit(3));
        assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
        fs::remove_file(&path).expect("the script is there");
        soon("shutdown", pool.shutdown()).await;
        let jobs: Vec<_> = (0..10).map(|at| pool.defer("echo", [at])).collect();
        for job in jobs {
            let failure = failed("a job that can't be started", job).await;
            assert_eq!(failure.kind, Kind::Spawn, "{failure}");
            assert_has(&failure.message, &[&path, "No such file"]);
        }
        soon("join", pool.join()).await;
        script(&crew, "worker", &code);
        assert_eq!(ok("echo", pool.process("echo", [2])).await, json!([2]));
    }
}

#[tokio::test]
async fn args_that_are_no_json_are_invalid() {
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the ink is out"))
        }
    }
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")));
    let failure = failed("process", pool.process("echo", Unwritable)).await;
    assert_eq!(failure.kind, Kind::Invalid);
    assert_has(&failure.message, &["args", "the ink is out"]);
    let keys = HashMap::from([((1, 2), 3)]);
    assert_eq!(failed("defer", pool.defer("echo", keys)).await.kind, Kind::Invalid);
    let outcomes = soon("map", pool.map("echo", [Unwritable, Unwritable])).await;
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(Kind::Invalid)));
    let pipeline = pool.pipeline();
    for at in 0..100 {
        assert_eq!(soon("room", pipeline.queue("echo", Unwritable)).await, at);
    }
    for _ in 0..100 {
        let (_, outcome) = soon("an outcome", pipeline.next()).await.expect("one is owed");
        assert_eq!(kind(&outcome), Some(Kind::Invalid));
    }
    assert!(soon("the end", pipeline.next()).await.is_none());
    soon("join", pool.join()).await;
    assert!(crew.log().is_empty(), "{:?}", crew.log());
}

/// What a worker may print and a `Value` can't hold.
#[tokio::test]
async fn a_result_that_cannot_be_read_is_a_failure() {
    let pool = build(Pool::builder(&worker("")).max_procs(1));
    let deep = "[".repeat(300) + &"]".repeat(300);
    for text in ["1e999", &deep] {
        let failure = failed(text, pool.process("raw", [text])).await;
        assert_eq!(failure.kind, Kind::Protocol, "{failure}");
        assert_has(&failure.message, &["can't be read"]);
    }
    pid(&pool).await;
}

#[test]
fn what_cannot_be_run_is_told_at_once() {
    let crew = Crew::new();
    let plain = crew.file("plain", "#!/bin/sh\n");
    let folder = crew.path("");
    for (line, part) in [
        ("'sh", "unclosed quote"),
        ("sh -c \"exit", "unclosed quote"),
        ("", "empty"),
        (" \t ", "empty"),
        ("no-such-program-here", "no-such-program-here"),
        ("/no/such/file --flag", "/no/such/file"),
        (&plain, "not executable"),
        (&folder, "director"),
    ] {
        let error = Pool::builder(line).max_procs(2).build().expect_err(line);
        assert_has(&error.to_string(), &[part]);
        match part {
            "unclosed quote" => assert!(matches!(error, BuildError::Quotes(_)), "{error:?}"),
            "empty" => assert!(matches!(error, BuildError::Empty), "{error:?}"),
            _ => assert!(matches!(error, BuildError::Program(_)), "{error:?}"),
        }
    }
}

// Jobs for a sink.

#[tokio::test]
async fn fed_jobs_go_to_the_sink() {
    let crew = Crew::new();
    let sink = Arc::new(Collected::default());
    let pool = Pool::builder(&crew.worker("")).max_procs(2);
    let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
    for batch in 0..10 {
        let mut jobs = fed("first", batch * 20 + 1..=batch * 20 + 20);
        pool.feed(&mut jobs).expect("the pool is open");
        assert!(jobs.is_empty());
    }
    // A call among them is its caller's alone.
    assert_eq!(ok("a call", pool.process("first", ["call"])).await, json!("call"));
    pool.finish();
    assert_eq!(pool.feed(&mut fed("first", [0])), Err(Closed));
    assert_eq!(failed("a call", pool.process("first", [0])).await.kind, Kind::Cancelled);
    soon("the end", pool.ended()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    let done = sink.take();
    assert_eq!(done.len(), 200);
    let seen: BTreeMap<u64, _> = done.into_iter().collect();
    let expected: BTreeMap<_, _> = (1..=200).map(|seq| (seq, Ok(seq.to_string()))).collect();
    assert_eq!(seen, expected);
    assert_eq!(pool.left(), 0);

    // After a shutdown it takes jobs again.
    soon("shutdown", pool.shutdown()).await;
    pool.feed(&mut fed("first", [7])).expect("the pool is open");
    soon("join", pool.join()).await;
    assert_eq!(sink.take(), [(7, Ok("7".to_owned()))]);
}

/// Whatever workers do, and however many jobs they hold, each job has one outcome.
#[tokio::test]
async fn every_job_has_one_outcome() {
    const JOBS: u64 = 240;
    const MISDEEDS: [&str; 8] =
        ["die", "exit", "garbage", "twice", "unknown_id", "half", "fail", "never_answer"];
    for (depth, max_reqs) in [(Depth::Fixed(1), 0), (Depth::Fixed(8), 9), (Depth::Auto, 0)] {
        let crew = Crew::new();
        let sink = Arc::new(Collected::default());
        let pool = Pool::builder(&crew.worker(""))
            .max_procs(3)
            .depth(depth)
            .max_reqs(max_reqs)
            .timeout(Duration::from_millis(100))
            .grace(Duration::from_millis(20))
            .start_limit(0);
        let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
        let cmd = |seq: u64| match (seq % 7, usize::try_from(seq / 7)) {
            (3, Ok(at)) => MISDEEDS[at % MISDEEDS.len()],
            _ => "first",
        };
        let mut jobs = (1..=JOBS).map(|seq| job(cmd(seq), seq, &json!(["9"]))).collect();
        let pipeline = pool.pipeline();
        pool.feed(&mut jobs).expect("the pool is open");
        for at in 0..JOBS / 4 {
            soon("room", pipeline.queue(cmd(at * 4), ["9"])).await;
        }
        let mut tags = BTreeSet::new();
        while let Some((tag, _)) = soon("an outcome", pipeline.next()).await {
            assert!(tags.insert(tag), "call {tag} has two outcomes");
        }
        assert_eq!(tags.len() as u64, JOBS / 4);
        soon("join", pool.join()).await;
        let mut seen = BTreeSet::new();
        for (seq, _) in sink.take() {
            assert!(seen.insert(seq), "job {seq} has two outcomes");
        }
        assert_eq!((seen.len() as u64, pool.left()), (JOBS, 0));
        soon("shutdown", pool.shutdown()).await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
    }
}

#[tokio::test]
async fn stop_lets_running_jobs_finish() {
    let crew = Crew::new();
    let sink = Arc::new(Collected::default());
    let pool = Pool::builder(&crew.worker("")).max_procs(2).grace(PATIENCE);
    let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
    let gate = json!(crew.path("gate"));
    let jobs = (1..=10).map(|seq| job("await_file", seq, &json!([gate])));
    pool.feed(&mut jobs.collect()).expect("the pool is open");
    crew.await_logged("job", 2);
    pool.stop();
    assert_eq!(pool.left(), 8);
    crew.file("gate", "");
    soon("the end", pool.ended()).await;
    let mut done = sink.take();
    done.sort_by_key(|(seq, _)| *seq);
    assert_eq!(done, [(1, Ok("true".into())), (2, Ok("true".into()))]);
    assert!(crew.left().is_empty(), "{:?}", crew.left());
}

#[tokio::test]
async fn kill_ends_everything_at_once() {
    let crew = Crew::new();
    let sink = Arc::new(Collected::default());
    let pool = Pool::builder(&crew.worker("--ignore-term --ignore-eof")).max_procs(2);
    let pool = build(pool.sink(Arc::clone(&sink) as Arc<dyn Sink>));
    pool.feed(&mut fed("never_answer", 1..=10)).expect("the pool is open");
    crew.await_logged("job", 2);
    pool.kill();
    soon("the end", pool.ended()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    let done = sink.take();
    assert_eq!((done.len(), pool.left()), (2, 8));
    assert!(done.iter().all(|(_, outcome)| *outcome == Err(Kind::Cancelled)), "{done:?}");
    soon("shutdown", pool.shutdown()).await;
    assert_eq!(ok("echo", pool.process("echo", [1])).await, json!([1]));
}

/// More than the queue takes, from a thread that has to wait for room.
#[tokio::test]
async fn a_feeder_that_waits_is_told_of_the_end() {
    for shutdown in [false, true] {
        let crew = Crew::new();
        let worker = crew.worker("--ignore-term");
        let pool = build(Pool::builder(&worker).max_procs(1).grace(Duration::from_millis(300)));
        pool.feed(&mut fed("never_answer", 1..=10_000)).expect("the pool is open");
        let handle = pool.clone();
        let (begins, begun) = mpsc::channel();
        let feeder = thread::spawn(move || {
            let mut batch = fed("echo", 1..=10);
            begins.send(()).expect("the test listens");
            (handle.feed(&mut batch), batch.len())
        });
        crew.await_logged("job", 1);
        begun.recv_timeout(PATIENCE).expect("the feeder begins");
        match shutdown {
            true => soon("shutdown", pool.shutdown()).await,
            false => pool.stop(),
        }
        wait_for("the feeder", || feeder.is_finished());
        assert_eq!(feeder.join().expect("no panic"), (Err(Closed), 10));
        soon("the end", pool.ended()).await;
    }
}

/// Whoever feeds jobs does not wait for room in a queue that was emptied.
#[tokio::test]
async fn a_feeder_that_waits_goes_on_after_the_start_limit() {
    let crew = Crew::new();
    let pool = Pool::builder(&crew.worker("--die-at-start")).max_procs(1).start_limit(2);
    let pool = build(pool);
    pool.feed(&mut fed("echo", 1..=10_000)).expect("the pool is open");
    let handle = pool.clone();
    let feeder = thread::spawn(move || handle.feed(&mut fed("echo", 1..=10)).is_ok());
    wait_for("the feeder", || feeder.is_finished());
    soon("join", pool.join()).await;
}

#[tokio::test]
async fn a_paused_pool_counts_no_time() {
    let crew = Crew::new();
    let limit = Duration::from_millis(500);
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).timeout(limit));
    pid(&pool).await;
    let mut job = pool.defer("await_file", [crew.path("gate")]);
    crew.await_logged("job", 2);
    pool.pause();
    until("the worker stands still", || crew.states() == ['T']).await;
    assert!(timeout(limit * 2, &mut job).await.is_err());
    crew.file("gate", "");
    pool.resume();
    assert_eq!(ok("the job", job).await, true);
}

#[tokio::test]
async fn a_paused_pool_can_be_shut_down() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1));
    pid(&pool).await;
    let job = pool.defer("await_file", [crew.path("gate")]);
    crew.await_logged("job", 2);
    pool.pause();
    until("the worker stands still", || crew.states() == ['T']).await;
    timeout(PATIENCE, pool.shutdown()).await.expect("it does not wait for a resume");
    assert_eq!(failed("the job", job).await.kind, Kind::Cancelled);
    assert_eq!(ok("another", pool.process("echo", [1])).await, json!([1]));
}

/// Fails at the first job.
struct Panicking(AtomicBool);

impl Sink for Panicking {
    fn deliver(&self, _: &Done<'_>) {
        assert!(self.0.swap(true, Ordering::SeqCst), "the sink panics, as it is to");
    }
}

#[tokio::test]
async fn a_sink_that_panics_is_not_waited_for() {
    let sink = Arc::new(Panicking(AtomicBool::new(false)));
    let pool = build(Pool::builder(&worker("")).max_procs(1).sink(sink));
    pool.feed(&mut vec![job("echo", 1, &json!([1])), job("echo", 2, &json!([2]))]).expect("open");
    timeout(PATIENCE, pool.join()).await.expect("it does not wait for ever");
    pool.feed(&mut vec![job("echo", 3, &json!([3]))]).expect("open");
    timeout(PATIENCE, pool.join()).await.expect("a new slot takes the next jobs");
}

/// The groups that guardians of this process are to kill.
fn guarded() -> Vec<String> {
    let files = fs::read_dir("/proc/self/fd").expect("a /proc file system").flatten();
    let is_list = |path: &Path| path.to_string_lossy().contains("procpool-groups");
    let lists = files
        .map(|file| file.path())
        .filter(|path| fs::read_link(path).is_ok_and(|target| is_list(&target)));
    let lists: Vec<String> = lists.filter_map(|path| fs::read_to_string(path).ok()).collect();
    lists.iter().flat_map(|list| list.split_whitespace().map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_worker_of_a_slot_that_panics_is_no_group_of_ours_any_more() {
    let crew = Crew::new();
    let sink = Arc::new(Panicking(AtomicBool::new(false)));
    let pool = build(Pool::builder(&crew.worker("--ignore-eof")).max_procs(1).sink(sink));
    pool.feed(&mut vec![job("await_file", 1, &json!([crew.path("go")]))]).expect("open");
    crew.await_logged("job", 1);
    let pid = crew.logged("start")[0][1].clone();
    assert!(guarded().contains(&pid), "{pid} is not guarded");
    crew.file("go", "");
    timeout(PATIENCE, pool.join()).await.expect("it does not wait for ever");
    until("the end of the worker", || crew.left().is_empty()).await;
    until("its place to be free", || !guarded().contains(&pid)).await;
}

// Leaks.

/// In a process of its own, since the other tests open files and start threads as well.
#[test]
fn nothing_is_left_of_many_pools() {
    if !crate::common::heavy() {
        return;
    }
    if !alone("nothing_is_left_of_many_pools") {
        return;
    }
    let crew = Crew::new();
    let runtime = one_thread();
    let mut before = None;
    for round in 0..200 {
        let pool = build(Pool::builder(&crew.worker("")).max_procs(2).max_reqs(2));
        runtime.block_on(async {
            let job = pool.defer("never_answer", ());
            let outcomes = soon("map", pool.map("first", (0..3).map(|at| [at]))).await;
            assert!(outcomes.iter().all(Result::is_ok));
            match round % 4 {
                0 => soon("shutdown", pool.shutdown()).await,
                1 => drop(job),
                2 => pool.kill(),
                _ => {}
            }
        });
        drop(pool);
        if round == 4 {
            wait_for("the threads of the first pools", || entries("/proc/self/task") <= 2);
            before = Some((entries("/proc/self/fd"), entries("/proc/self/task")));
        }
    }
    let before = before.expect("there were enough rounds");
    wait_for(&format!("as few files and threads as before, {before:?}"), || {
        (entries("/proc/self/fd"), entries("/proc/self/task")) <= before
    });
    crew.assert_gone();
    assert_eq!(children(), Vec::<String>::new(), "unreaped children");
}

// Helpers.

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

/// The result of a job.
async fn ok(what: &str, job: impl Future<Output = Outcome>) -> Value {
    soon(what, job).await.unwrap_or_else(|failure| panic!("{what}: {failure}"))
}

/// The failure of a job.
async fn failed(what: &str, job: impl Future<Output = Outcome>) -> Failure {
    match soon(what, job).await {
        Ok(value) => panic!("{what} should have failed: {value}"),
        Err(failure) => failure,
    }
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
    let pid = ok("pid", pool.process("pid", ())).await;
    i32::try_from(pid.as_i64().expect("a number")).expect("a process id")
}

fn kind(outcome: &Outcome) -> Option<Kind> {
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
