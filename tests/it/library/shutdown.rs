//! Shutting down, and racing with it.

use super::*;

#[tokio::test]
async fn shutdown_under_load_cancels_everything() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let jobs: Vec<_> = (0..20).map(|_| pool.defer::<Value>("never_answer", ())).collect();
    crew.await_logged("job", 2);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    for job in jobs {
        assert_ended(&failed("a cancelled job", job).await);
    }
    assert_eq!(crew.logged("job").len(), 2);
    // And then it is used again.
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
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
        let job = pool.defer::<Value>(cmd, ());
        match cmd {
            "pid" => drop(ok("pid", job).await),
            _ => {
                crew.await_logged("job", 1);
                soon("shutdown", pool.shutdown()).await;
                assert_ended(&failed("a cancelled job", job).await);
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
        assert_eq!(ok("first", pool.process::<Value>("first", [at])).await, at);
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
        let jobs =
            [pool.defer::<Value>("never_answer", ()), pool.defer::<Value>("never_answer", ())];
        soon("shutdowns", async {
            tokio::join!(pool.shutdown(), pool.shutdown(), pool.shutdown(), pool.join());
        })
        .await;
        assert!(crew.left().is_empty(), "{:?}", crew.left());
        for job in jobs {
            assert_ended(&failed("a cancelled job", job).await);
        }
    }
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
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
    assert_ended(&failed("process", pool.process::<Value>("echo", ())).await);
    assert_ended(&failed("defer", pool.defer::<Value>("echo", ())).await);
    let outcomes = soon("map", pool.map::<Value, _>("echo", [1, 2, 3])).await;
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(Kind::Unstarted)));
    assert_eq!(pool.feed(&mut fed("echo", [1])), Err(Closed));
    begin(&mut shutdown).await;
    soon("shutdown", shutdown).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
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
    let busy = pool.defer::<Value>("never_answer", ());
    begin(&mut pin!(pool.shutdown())).await;
    until("the workers are gone", || crew.left().is_empty()).await;
    assert_ended(&failed("a cancelled job", busy).await);
    soon("the next shutdown", pool.shutdown()).await;
    assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
}

#[tokio::test]
async fn shutdown_while_a_worker_starts() {
    let crew = Crew::new();
    let worker = crew.worker("--sleep-at-start 60000");
    let pool = build(Pool::builder(&worker).max_procs(2));
    let jobs: Vec<_> = (0..4).map(|at| pool.defer::<Value>("first", [at])).collect();
    crew.await_logged("start", 2);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    for job in jobs {
        assert_ended(&failed("a cancelled job", job).await);
    }
}

/// However often workers may fail to start, a shutdown is the end of it.
#[tokio::test]
async fn shutdown_while_no_worker_can_be_started() {
    let crew = Crew::new();
    let worker = crew.worker("--die-at-start");
    let pool = build(Pool::builder(&worker).max_procs(2).start_limit(0));
    let jobs: Vec<_> = (0..4).map(|at| pool.defer::<Value>("first", [at])).collect();
    crew.await_logged("start", 6);
    soon("shutdown", pool.shutdown()).await;
    assert!(crew.left().is_empty(), "{:?}", crew.left());
    for job in jobs {
        assert_ended(&failed("a cancelled job", job).await);
    }

    let script = script(&crew, "worker", "exit 0");
    let pool = build(Pool::builder(&script).max_procs(1).start_limit(0));
    fs::remove_file(&script).expect("the script is there");
    for at in 0..100 {
        let mut job = pool.defer::<Value>("echo", ());
        assert!(within(Duration::from_micros(at * 10), &mut job).await.is_none());
        soon("shutdown", pool.shutdown()).await;
        assert_ended(&failed("a cancelled job", job).await);
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
                        let failure =
                            failed("a call", pool.process::<Value>("never_answer", ())).await;
                        assert_ended(&failure);
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
            begin(&mut pin!(pool.process::<Value>("never_answer", ()))).await;
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
        assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
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
                            let jobs = [
                                pool.defer::<Value>("first", [at]),
                                pool.defer::<Value>("first", [at]),
                            ];
                            for job in jobs {
                                match soon("a job", job).await {
                                    Ok(value) => {
                                        assert_eq!(value, at);
                                        done.fetch_add(1, Ordering::Relaxed);
                                    }
                                    Err(failure) => {
                                        assert_ended(&failure);
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
        assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
    });
}
