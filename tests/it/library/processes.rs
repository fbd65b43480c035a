//! How many processes there are, what they find, and when they are replaced.

use super::*;

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
    let pair = [
        pool.defer::<Value>("await_log", ("job", 2)),
        pool.defer::<Value>("await_log", ("job", 2)),
    ];
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
    let pair = [
        pool.defer::<Value>("await_log", ("job", 2)),
        pool.defer::<Value>("await_log", ("job", 2)),
    ];
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
        assert_eq!(ok("first", pool.process::<Value>("first", [at])).await, at);
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
    let outcomes = soon("map", pool.map::<Value, _>("first", (0..150).map(|at| [at]))).await;
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
    let (closed, begun, answered) =
        (crew.path("closed"), crew.path("begun"), crew.path("answered"));
    // Each has a job, and the one in the second slot answers last.
    let wait = |file: &str| format!("until test -e {file}; do sleep 0.01; done");
    let begin = format!(
        "trap '' TERM; read -r l; : > {begun}; {}; sleep 0.1; echo '{{\"result\":2}}'; sleep 0.1",
        wait(&answered)
    );
    let good = format!(
        "read -r l; {}; echo '{{\"result\":1}}'; : > {answered}; \
         while read -r l; do echo '{{\"result\":1}}'; done",
        wait(&begun)
    );
    for end in ["echo garbage", "exec >&-; : > \"$1\""] {
        for file in [&begun, &answered] {
            let _ = fs::remove_file(file);
        }
        let bad = format!("{begin}; {end}; sleep 60");
        let code = format!("if test $PROCPOOL_SLOT = 2; then {bad}; else {good}; fi");
        let line = shell_words::join(["sh", "-c", &code, "sh", &closed]);
        let notes = Arc::new(Notes::default());
        let watcher = Arc::clone(&notes) as Arc<dyn Watcher>;
        let pool = Pool::builder(&line).max_procs(2).grace(PATIENCE * 2).watcher(watcher);
        let pool = pool.build().expect("a pool");
        // The second slot becomes idle last, and so would be the next to get a job.
        let [one, other] = [pool.defer::<Value>("", 1), pool.defer::<Value>("", 2)];
        let slots = [ok("a first job", one).await, ok("another", other).await];
        assert!(slots.contains(&json!(1)) && slots.contains(&json!(2)), "{slots:?}");
        until("the end of a worker", || {
            !notes.lock().notes.is_empty() || Path::new(&closed).exists()
        })
        .await;
        assert_eq!(ok("the next job", pool.process::<Value>("", 3)).await, 1);
    }
}

/// Workers that don't end when their stdin does linger for the grace period. Their number has a limit.
#[tokio::test]
async fn replaced_workers_do_not_pile_up() {
    if !crate::common::heavy() {
        return;
    }
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
            assert_eq!(ok(name, pool.process::<Value>("env", [name])).await, expected, "{name}");
        }
    }
}

/// In a process of its own, where the variable is not set.
#[test]
fn what_the_builder_sets_is_left_alone() {
    if alone("processes::what_the_builder_sets_is_left_alone") {
        let name = "PYTHONUNBUFFERED";
        for (builder, expected) in [
            (Pool::builder(&worker("")), "1"),
            (Pool::builder(&worker("")).env(name, "mine"), "mine"),
        ] {
            let pool = build(builder);
            let seen = one_thread()
                .block_on(async { ok(name, pool.process::<Value>("env", [name])).await });
            assert_eq!(seen, expected);
        }
    }
}
