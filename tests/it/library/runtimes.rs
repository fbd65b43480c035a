//! Runtimes, and threads without one.

use super::*;

/// What many tasks do with a pool at the same time.
async fn many_tasks(pool: &Pool, count: usize) {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let pool = pool.clone();
            tokio::spawn(async move {
                match number % 4 {
                    0 => assert_eq!(
                        ok("echo", pool.process::<Value>("echo", [number])).await,
                        json!([number])
                    ),
                    1 => {
                        let jobs = [
                            pool.defer::<Value>("first", [number]),
                            pool.defer::<Value>("first", [0]),
                        ];
                        for (job, expected) in jobs.into_iter().zip([number, 0]) {
                            assert_eq!(ok("first", job).await, expected);
                        }
                    }
                    2 => {
                        let outcomes =
                            pool.map::<Value, _>("first", (0..5).map(|at| [number + at])).await;
                        for (at, outcome) in outcomes.into_iter().enumerate() {
                            assert_eq!(outcome.expect("ok"), number + at);
                        }
                    }
                    _ => {
                        let failure = failed("fail", pool.process::<Value>("fail", [number])).await;
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
    let (mine, theirs) = (pool.defer::<Value>("first", [1]), pool.defer::<Value>("first", [2]));
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
            runtime.spawn(async move { pool.process::<Value>("never_answer", ()).await });
        }
        crew.await_logged("job", 2 * round);
        runtime.shutdown_timeout(PATIENCE);
        one_thread().block_on(async { soon("join", pool.join()).await });
    }
    one_thread().block_on(async {
        assert_eq!(ok("echo", pool.process::<Value>("echo", [1])).await, json!([1]));
    });
}

/// The pool's threads are its own: it asks neither for tokio's timers nor for its IO.
#[test]
fn a_runtime_without_drivers_will_do() {
    let thread = thread::spawn(|| {
        let pool = build(Pool::builder(&worker("")).max_procs(1));
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            assert_eq!(pool.process::<Value>("first", [1]).await.expect("ok"), 1);
            pool.join().await;
            pool.shutdown().await;
        });
    });
    wait_for("the thread", || thread.is_finished());
    thread.join().expect("no panic");
}
