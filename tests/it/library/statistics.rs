//! The statistics of a pool.

use super::*;

#[tokio::test]
async fn stats_tell_of_workers_the_queue_and_outcomes() {
    let crew = Crew::new();
    let pool = build(Pool::builder(&crew.worker("")).max_procs(2));
    let stats = pool.stats();
    assert!(stats.workers.is_empty() && stats.quantile(0.5).is_none());
    let gate = crew.path("gate");
    let running = [pool.defer::<bool>("await_file", [&gate]), pool.defer("await_file", [&gate])];
    crew.await_logged("job", 2);
    let waiting: Vec<_> = (0..3).map(|at| pool.defer::<u64>("first", [at])).collect();
    until("they are running", || pool.stats().running == 2).await;
    let stats = pool.stats();
    assert_eq!((stats.waiting, stats.running, stats.retrying, stats.started), (3, 2, 0, 2));
    let pids: BTreeSet<String> = stats.workers.iter().map(|one| one.pid.to_string()).collect();
    assert_eq!(pids, crew.logged("start").iter().map(|line| line[1].clone()).collect());
    for worker in &stats.workers {
        assert!((1..=2).contains(&worker.slot));
        assert!(worker.age > Duration::ZERO && worker.memory.is_some_and(|bytes| bytes > 0));
        assert!(matches!(worker.state, WorkerState::Busy | WorkerState::Starting));
    }
    crew.file("gate", "");
    for call in running {
        ok("a running job", call).await;
    }
    for call in waiting {
        ok("a waiting job", call).await;
    }
    failed("an error", pool.process::<Value>("fail", ["no"])).await;
    failed("a crash", pool.process::<Value>("die", [9])).await;
    soon("join", pool.join()).await;
    until("the dead worker is gone", || pool.stats().workers.len() == 1).await;
    let stats = pool.stats();
    assert_eq!((stats.succeeded, stats.waiting, stats.running), (5, 0, 0));
    assert_eq!((stats.failed(Kind::Error), stats.failed(Kind::Crash)), (1, 1));
    assert_eq!(stats.failed(Kind::Timeout), 0);
    let jobs: u64 = stats.workers.iter().map(|one| one.jobs).sum();
    assert!(jobs > 0);
    assert_eq!(stats.workers[0].state, WorkerState::Idle);
    let longest = stats.quantile(1.0).expect("jobs have run");
    assert!(stats.quantile(0.5).is_some_and(|median| median <= longest));
}
