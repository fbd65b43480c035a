//! Calls and pools that are dropped.

use super::*;

#[tokio::test]
async fn a_queued_job_that_is_dropped_never_runs() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1));
    let running = pool.defer::<Value>("await_file", [crew.path("gate")]);
    crew.await_logged("job", 1);
    let queued = pool.defer::<Value>("echo", ["dropped"]);
    let mut process = Box::pin(pool.process::<Value>("echo", ["dropped"]));
    begin(&mut process.as_mut()).await;
    drop((queued, process));
    crew.file("gate", "");
    assert_eq!(ok("the running job", running).await, true);
    soon("join", pool.join()).await;
    assert_eq!(ok("the next job", pool.process::<Value>("first", [1])).await, json!(1));
    assert_eq!(crew.logged("job").len(), 2);
}

/// A pool whose jobs have all been dropped starts no process for them.
#[tokio::test]
async fn thousands_of_dropped_jobs_hold_nobody_up() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let gate = crew.path("gate");
    let running =
        [pool.defer::<Value>("await_file", [&gate]), pool.defer::<Value>("await_file", [&gate])];
    crew.await_logged("job", 2);
    for round in 0..3 {
        let jobs: Vec<_> = (0..1000).map(|at| pool.defer::<Value>("echo", [at])).collect();
        let kept = pool.defer::<Value>("first", [round]);
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
    assert_eq!(ok("the next job", pool.process::<Value>("first", [1])).await, json!(1));
}

/// To drop a call costs about the same however many workers there are.
#[tokio::test]
async fn dropping_many_calls_of_many_workers_is_quick() {
    let pool = build(Pool::builder(&worker("")).max_procs(150));
    let jobs: Vec<_> = (0..4000).map(|_| pool.defer::<Value>("never_answer", ())).collect();
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
    let other = pool.defer::<Value>("await_file", [crew.path("gate")]);
    crew.await_logged("job", 1);
    let running = pool.defer::<Value>("never_answer", ());
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
    let job = pool.defer::<Value>("echo", ["dropped"]);
    until("the worker starts", || Path::new(&starts).exists()).await;
    drop(job);
    soon("join", pool.join()).await;
    crew.file("gate", "");
    assert_eq!(ok("the next job", pool.process::<Value>("first", [1])).await, json!(1));
    assert_eq!(crew.logged("job").len(), 1);
}

/// A dropped job that waits at a gate, or for one, is gone at once: the next one has its turn.
#[tokio::test]
async fn jobs_that_are_dropped_take_no_turn_at_a_gate() {
    let crew = Crew::new();
    let hour = Duration::from_secs(3600);
    let limits = Limits { interval: Some(hour), ..Limits::default() };
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2).limits(limits));
    assert_eq!(ok("the first", pool.process::<Value>("first", [1])).await, 1);
    // Two wait at the gate, and others after them.
    let waiting: Vec<_> = (0..5).map(|at| pool.defer::<Value>("first", [at])).collect();
    assert!(timeout(Duration::from_millis(100), pool.join()).await.is_err());
    drop(waiting);
    soon("join", pool.join()).await;
    assert_eq!(crew.logged("job").len(), 1);
    assert_eq!(crew.logged("start").len(), 1, "no process is started for those");
}

/// Each waits for its turn, and those after one that is dropped come one turn earlier.
#[tokio::test]
async fn the_turns_of_dropped_jobs_are_those_of_others() {
    let crew = Crew::new();
    let limits = Limits { interval: Some(Duration::from_millis(900)), ..Limits::default() };
    let pool = build(Pool::builder(&crew.worker("")).max_procs(6).limits(limits));
    assert_eq!(ok("the first", pool.process::<Value>("first", [1])).await, 1);
    let start = Instant::now();
    let dropped: Vec<_> = (0..4).map(|at| pool.defer::<Value>("first", [at])).collect();
    let kept = pool.defer::<Value>("first", [7]);
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
    let jobs: Vec<_> = (0..50).map(|_| pool.defer::<Value>("fail", ["no"])).collect();
    crew.await_logged("done", 50);
    let mut pipeline_jobs = 0;
    let pipeline = pool.pipeline::<Value>();
    for _ in 0..4 {
        queued(pipeline.queue("fail", ["no"])).await;
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

/// With several jobs at a worker, the dropped one may come after the one that the worker is on.
#[tokio::test]
async fn a_job_that_is_dropped_while_it_waits_at_a_worker_holds_nobody_up() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(1).depth(4));
    let gates = [crew.path("0"), crew.path("1")];
    let [first, second] = [0, 1].map(|at| pool.defer::<Value>("await_file", [&gates[at]]));
    let dropped = pool.defer::<Value>("never_answer", ());
    let last = pool.defer::<Value>("first", [7]);
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
    if !crate::common::heavy() {
        return;
    }
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    for round in 1..=5 {
        if round % 2 == 0 {
            let mut map = Box::pin(pool.map::<Value, _>("never_answer", 0..10));
            begin(&mut map.as_mut()).await;
            crew.await_logged("job", 2 * round);
        } else {
            let pipeline = pool.pipeline::<Value>();
            for at in 0..4 {
                queued(pipeline.queue("never_answer", [at])).await;
            }
            crew.await_logged("job", 2 * round);
        }
        soon("join", pool.join()).await;
        assert_eq!(crew.logged("job").len(), 2 * round);
    }
    assert_eq!(ok("the next job", pool.process::<Value>("first", [1])).await, json!(1));
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
        let pool = build(Pool::builder(&worker(flags)).max_procs(max_procs).depth_of(depth));
        for at in 0..100_u64 {
            let hurry = Duration::from_micros(at * 37 % 1900);
            let kept = pool.defer::<Value>("first", [at]);
            let dropped = pool.defer::<Value>("first", [at]);
            match within(hurry, pool.process::<Value>("first", [at])).await {
                Some(outcome) => assert_eq!(outcome.expect("ok"), at),
                None if at % 3 == 0 => soon("join", pool.join()).await,
                None => {}
            }
            drop(dropped);
            assert_eq!(ok("the kept job", kept).await, at);
        }
        soon("join", pool.join()).await;
        let outcomes = soon("map", pool.map::<Value, _>("first", (0..20).map(|at| [at]))).await;
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
                        if let Some(outcome) =
                            within(hurry, pool.process::<Value>("first", [at])).await
                        {
                            assert_eq!(outcome.expect("ok"), at);
                        }
                    }
                    assert_eq!(
                        ok("a kept call", pool.process::<Value>("first", [number])).await,
                        number
                    );
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
    let mut jobs: Vec<_> = (0..10).map(|_| pool.defer::<Value>("never_answer", ())).collect();
    crew.await_logged("job", 3);
    drop(clone);
    begin(&mut Pin::new(&mut jobs[0])).await;
    assert_eq!(crew.left().len(), 3);
    drop(pool);
    crew.assert_gone();
    for job in jobs {
        assert_ended(&failed("a lost job", job).await);
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
        let job = pool.defer::<Value>("first", [at]);
        let mut other = pool.defer::<Value>("never_answer", ());
        assert!(within(Duration::from_micros(at * 50), &mut other).await.is_none());
        drop(pool);
        match soon("the first job", job).await {
            Ok(value) => assert_eq!(value, at),
            Err(failure) => assert_ended(&failure),
        }
        assert_ended(&failed("the other job", other).await);
    }
    crew.assert_gone();
}
